"""How much marginal and class distributions differ: the weight between them in BDA and MEDA."""

from __future__ import annotations

import numpy as np

from headstart.adapt.shallow.method import Array, Domains
from headstart.measure.discrepancy import proxy_a_distance

LEAST = 4
"""Samples of a class in either domain, below which it says nothing."""


def estimated_balance(d: Domains, said: Array) -> float:
    """μ = Σ A_c / (A + Σ A_c) with A the proxy A-distance of the domains and A_c those of each class (pseudo-labels).

    Distances come from held-out errors (two halves, each judged by a ridge classifier of the other).

    Sources
    -------
    J. Wang et al., MEDA, ACM MM 2018 (arXiv 1807.07258), equation 12, with training errors replaced.
    """
    whole = held_out_distance(d.source, d.target)
    classes = [
        held_out_distance(d.source[d.labels == c], d.target[said == c])
        for c in range(d.classes)
        if min((d.labels == c).sum(), (said == c).sum()) >= LEAST
    ]
    if not classes:
        return 0.5
    inner = float(np.mean(classes))
    return 0.5 if whole + inner == 0 else inner / (whole + inner)


def held_out_distance(x: Array, y: Array, seed: int = 0) -> float:
    """Proxy A-distance from the balanced held-out error of a ridge classifier."""
    z = np.concatenate([x, y])
    member = np.r_[-np.ones(len(x)), np.ones(len(y))]
    z = (z - z.mean(0)) / np.maximum(z.std(0), 1e-12)
    half = np.random.default_rng(seed).permutation(len(z)) % 2 == 0
    wrong = np.zeros(len(z))
    for fit in (half, ~half):
        if len(np.unique(member[fit])) < 2:
            return 0.0
        wrong[~fit] = np.sign(_ridge(z[fit], member[fit], z[~fit])) != member[~fit]
    error = (wrong[member < 0].mean() + wrong[member > 0].mean()) / 2
    return proxy_a_distance(float(error))


def _ridge(x: Array, y: Array, new: Array) -> Array:
    """Outputs of ridge regression on new rows, penalty one per sample, each side counting the same."""
    weight = np.where(y > 0, len(y) / (2 * (y > 0).sum()), len(y) / (2 * (y < 0).sum()))
    middle = np.average(x, axis=0, weights=weight)
    a = (x - middle) * np.sqrt(weight)[:, None]
    b = y * np.sqrt(weight)
    if len(x) <= x.shape[1]:
        solved = a.T @ np.linalg.solve(a @ a.T + len(x) * np.eye(len(x)), b)
    else:
        solved = np.linalg.solve(a.T @ a + len(x) * np.eye(x.shape[1]), a.T @ b)
    return (new - middle) @ solved
