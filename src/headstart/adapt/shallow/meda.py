"""MEDA: a kernel classifier on the manifold of subspaces, aligned in means and smooth over neighbours."""

from __future__ import annotations

import numpy as np
from scipy.sparse import diags_array
from scipy.spatial.distance import cdist

from headstart.adapt.shallow.balance import estimated_balance
from headstart.adapt.shallow.method import (
    Adapted,
    Array,
    Domains,
    Shallow,
    mean_differences,
    nearest,
    onehot,
    principal_axes,
)
from headstart.adapt.shallow.neighbours import graph
from headstart.adapt.shallow.subspace import flow_root
from headstart.core.registry import register

MOST_SAMPLES = 6000
"""Of both domains: the classifier solves a system of that size at each round."""


@register(
    "adaptation",
    "meda",
    summary="GFK features, a kernel classifier that aligns class means and is smooth over neighbours",
    source="Wang et al. 2018, ACM MM, arXiv 1807.07258",
    defaults={"any": {"dimension": 20, "align": 10.0, "smooth": 1.0, "shrink": 0.1, "neighbours": 10, "rounds": 10}},
    needs=("features",),
)
class Meda(Shallow):
    """β = ((A + λ M + ρ L) K + η I)⁻¹ A Y, scores K β.

    A marks the source samples, Y are their labels, K a Gaussian kernel, M the matrix of means (marginal and class
    terms weighed by μ, of Frobenius norm 1), L the normalised Laplacian of the cosine neighbours. μ and the target's
    labels are renewed each round.

    Parameters
    ----------
    align, smooth, shrink
        λ, ρ and η.
    balance
        μ; None estimates it each round from held-out distances.
    """

    def __init__(
        self,
        dimension: int = 20,
        align: float = 10.0,
        smooth: float = 1.0,
        shrink: float = 0.1,
        neighbours: int = 10,
        rounds: int = 10,
        balance: float | None = None,
    ) -> None:
        self.dimension, self.neighbours, self.rounds, self.balance = dimension, neighbours, rounds, balance
        self.align, self.smooth, self.shrink = align, smooth, shrink

    def fit(self, domains: Domains) -> Adapted:
        d = _within_limit(domains)
        n = len(d.source)
        both = np.concatenate([d.source, d.target])
        root = flow_root(principal_axes(d.source, d.source.shape[1]), principal_axes(d.target, self.dimension))
        z = both @ root
        z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
        mapped = Domains(z[:n], d.labels, z[n:], d.classes)
        width = np.sqrt(np.linalg.norm(z, axis=1).sum() / len(z))
        kernel = np.exp(-cdist(z, z, "sqeuclidean") / (2 * width**2))
        smooth = self.smooth * laplacian(z, self.neighbours)
        marked = np.r_[np.ones(n), np.zeros(len(d.target))]
        y = np.zeros((len(z), d.classes))
        y[:n] = onehot(d.labels, d.classes)
        said = d.labels[nearest(mapped.source, mapped.target)]
        share, scores, rounds = 0.5, y, 0
        while rounds < self.rounds:
            rounds += 1
            share = estimated_balance(mapped, said) if self.balance is None else self.balance
            system = (np.diag(marked) + self.align * mean_matrix(d, said, share) + smooth) @ kernel
            system[np.diag_indices(len(z))] += self.shrink
            scores = kernel @ np.linalg.solve(system, marked[:, None] * y)
            before, said = said, scores[n:].argmax(1)
            if np.array_equal(before, said):
                break
        facts = {"rounds": rounds, "balance": share, "source_samples": n}
        return Adapted(_softened(scores[n:]), mapped.source, mapped.target, facts=facts)


def mean_matrix(d: Domains, said: Array, share: float) -> Array:
    """(N + M, N + M) of Frobenius norm 1: (1 - μ) C e e' + μ Σ e_c e_c', e the difference of the means."""
    marginal, of_classes = mean_differences(d, said)
    total = (1 - share) * len(of_classes) * np.outer(marginal, marginal)
    for column in of_classes:
        total += share * np.outer(column, column)
    return total / max(float(np.linalg.norm(total)), 1e-12)


def laplacian(z: Array, neighbours: int) -> Array:
    """(N, N) I - D^-1/2 W D^-1/2 of the graph of cosine neighbours."""
    w = graph(z, neighbours)
    degree = np.asarray(w.sum(1)).ravel()
    scale = diags_array(1 / np.sqrt(np.maximum(degree, 1e-12)))
    return np.eye(len(z)) - (scale @ w @ scale).toarray()


def _softened(scores: Array) -> Array:
    """Scores of a least-squares classifier as probabilities: negative ones are none."""
    positive = np.maximum(scores, 1e-12)
    return positive / positive.sum(1, keepdims=True)


def _within_limit(d: Domains) -> Domains:
    most = max(d.classes, MOST_SAMPLES - len(d.target))
    if len(d.source) <= most:
        return d
    kept = np.sort(np.random.default_rng(0).permutation(len(d.source))[:most])
    return Domains(d.source[kept], d.labels[kept], d.target, d.classes)
