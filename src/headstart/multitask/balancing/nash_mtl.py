"""Nash-MTL: the gradients' bargain."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from headstart.core.errors import ConfigError
from headstart.core.registry import register
from headstart.multitask.balancing.balancer import GradientBalancer, Reduction
from headstart.multitask.balancing.cone import Array

_RIDGE = 1e-9
"""Added to a diagonal of mean 1, so that there is a solution also where gradients cancel out."""


@register(
    "balancing",
    "nash-mtl",
    summary="the Nash bargain between tasks, whatever the scale of their gradients",
    source="Navon et al. 2022, arXiv 2202.01017",
    defaults={"any": {"max_norm": 1.0, "reduction": "sum"}},
    needs=("gramian",),
)
class NashMTL(GradientBalancer):
    """w > 0 with G w = 1 / w; then shortened where |wᵀJ| exceeds `max_norm`. Published as a sum.

    The direction does not depend on the scale of any task's gradient, and its norm before shortening is √T, so the
    scale of the losses has no influence on the size of a step.

    w is where wᵀGw / 2 - sum_i log w_i is smallest, which is strictly convex: Newton's method with steps of
    1 / (1 + decrement) finds it from anywhere (S. Boyd, L. Vandenberghe, "Convex optimization" (2004), section 9.6).
    The authors' code and TorchJD solve a sequence of approximations and may stop before the optimum.

    Source: A. Navon et al., "Multi-task learning as a bargaining game", ICML 2022, arXiv 2202.01017, algorithm 1, with
    the `max_norm` of the authors' code.

    Parameters
    ----------
    max_norm
        Largest norm of wᵀJ; 0 is no limit.

    Raises
    ------
    ConfigError
        If `max_norm` is negative.
    """

    def __init__(self, max_norm: float = 1.0, reduction: Reduction = "sum") -> None:
        super().__init__(reduction)
        if max_norm < 0:
            raise ConfigError(f"Nash-MTL's largest norm must not be negative; it is {max_norm:g}.", "0 is no limit.")
        self.max_norm = max_norm

    def from_gramian(self, gramian: Tensor, at: Tensor, seed: int) -> Tensor:
        g = gramian.numpy()
        w = bargain(g)
        norm = float(np.sqrt(max(w @ g @ w, 0.0)))
        if self.max_norm and norm > self.max_norm:
            w = w * (self.max_norm / norm)
        return torch.from_numpy(w)


def bargain(gramian: Array) -> Array:
    """(n,) w > 0 with G w = 1 / w.

    >>> bargain(np.array([[18.0, -22.0], [-22.0, 38.0]])).round(6).tolist()
    [0.591461, 0.407071]
    """
    n = len(gramian)
    scale = float(np.trace(gramian)) / n
    g = gramian / scale + _RIDGE * np.eye(n)
    w = 1 / np.sqrt(g.diagonal())
    for _ in range(200):
        gradient = g @ w - 1 / w
        # In units of w, the barrier's curvature is 1: well conditioned however far apart the weights are.
        curvature = w[:, None] * g * w + np.eye(n)
        direction = np.linalg.solve(curvature, w * gradient)
        decrement = float(np.sqrt(direction @ (w * gradient)))
        w = w * (1 - direction / (1 + decrement if decrement > 0.25 else 1.0))
        if decrement < 1e-12:
            break
    return np.asarray(w / np.sqrt(scale))
