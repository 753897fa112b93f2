"""Conflict-averse gradient descent."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from headstart.core.errors import ConfigError
from headstart.core.registry import register
from headstart.multitask.balancing.balancer import GradientBalancer, Reduction
from headstart.multitask.balancing.cone import Array, shortest

_FAR = 1e6
"""Where the gradients' shortest combination is zero, the limit is taken here."""


@register(
    "balancing",
    "cagrad",
    summary="near the mean gradient, the direction that is best for the worst task",
    source="Liu et al. 2021, arXiv 2110.14048",
    defaults={"any": {"c": 0.5, "reduction": "sum"}},
    needs=("gramian",),
)
class CAGrad(GradientBalancer):
    """Direction g0 + c |g0| g_w / |g_w|, with w in the simplex minimising g_wᵀg0 + c |g0| |g_w|. Published as a mean.

    g0 is the mean gradient and g_w = wᵀJ. LibMTL divides by 1 + c², the authors' code can, the paper does not.

    Source: B. Liu et al., "Conflict-averse gradient descent for multi-task learning", NeurIPS 2021, arXiv 2110.14048,
    algorithm 1.

    Parameters
    ----------
    c
        How far from the mean gradient, as a share of its length: 0 is the mean; from 1 on no task is harmed.

    Raises
    ------
    ConfigError
        If c is negative.
    """

    published = "mean"

    def __init__(self, c: float = 0.5, reduction: Reduction = "sum") -> None:
        super().__init__(reduction)
        if c < 0:
            raise ConfigError(f"CAGrad's c must not be negative; it is {c:g}.", "The paper's is 0.5.")
        self.c = c

    def from_gramian(self, gramian: Tensor, at: Tensor, seed: int) -> Tensor:
        return torch.from_numpy(solve(gramian.numpy(), self.c))


def solve(gramian: Array, c: float) -> Array:
    """(n,) weights of CAGrad.

    At the optimum the direction is g0 + m g_w with m |g_w| = c |g0|, and g_w + g0 / m is the shortest of all convex
    combinations of g_i + g0 / m. So there is one number to be searched for, m, and |g_w| m grows with it.

    >>> solve(np.array([[18.0, -22.0], [-22.0, 38.0]]), 0.5).round(6).tolist()
    [0.704124, 0.5]
    """
    n = len(gramian)
    g = gramian / (np.trace(gramian) / n)
    with_mean, radius = g.mean(axis=1), c * np.sqrt(max(float(g.mean()), 0.0))
    if radius <= 1e-12:
        return np.full(n, 1 / n)

    def weights(m: float) -> Array:
        return shortest(g + (with_mean[:, None] + with_mean[None]) / m + g.mean() / m**2)

    def beyond(log_m: float) -> float:
        w = weights(np.exp(log_m))
        return float(np.exp(log_m) * np.sqrt(max(w @ g @ w, 0.0)) - radius)

    w = shortest(g)
    low, high = radius / np.sqrt(g.diagonal().max()), radius / max(np.sqrt(max(w @ g @ w, 0.0)), radius / _FAR)
    edges = np.log(low) - 1e-9, np.log(high) + 1e-9
    if beyond(edges[1]) <= 0:
        found = edges[1]
    else:
        found = brentq(beyond, *edges, xtol=1e-13) if beyond(edges[0]) < 0 else edges[0]
    m = float(np.exp(found))
    return np.asarray(1 / n + m * weights(m))
