"""GradNorm: gradients of like size for tasks that train alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headstart.core.registry import register
from headstart.multitask.balancing.balancer import Balancer, Reduction, Seen
from headstart.multitask.balancing.learned import RATE, Learned

FLOOR = 1e-3
"""Least weight: a weight that a step makes negative would turn the task's training round."""


@register(
    "balancing",
    "gradnorm",
    summary="gradients of like norm, larger for tasks that lag behind",
    source="Chen et al. 2018, arXiv 1711.02257",
    defaults={"any": {"alpha": 1.5, "rate": RATE, "reduction": "sum"}},
    needs=("gramian",),
)
class GradNorm(Balancer):
    """Learn w so that w_i |g_i| comes near to mean_j(w_j |g_j|) r_i^alpha. Published as a sum: w sums to T.

    r_i is how much of task i's first loss is left, divided by the mean of that over tasks. The distance is
    sum_i |w_i |g_i| - target_i|, with the target held fixed; w is rescaled after every step.

    Source: Z. Chen et al., "GradNorm: gradient normalization for adaptive loss balancing in deep multitask networks",
    ICML 2018, arXiv 1711.02257, algorithm 1, with the paper's alpha of its main experiments.

    Parameters
    ----------
    alpha
        How strongly tasks that lag behind are pulled.
    rate
        Learning rate of w.
    """

    needs = "gramian"

    def __init__(self, alpha: float = 1.5, rate: float = RATE, reduction: Reduction = "sum") -> None:
        super().__init__(reduction)
        self.alpha = alpha
        self.w = Learned(rate, start=1.0)
        self._first: Tensor | None = None

    def weigh(self, seen: Seen, at: Tensor) -> Tensor:
        return self.w.values(len(seen.losses))[at].clone()

    def learn(self, seen: Seen, after: Tensor | None = None) -> None:
        if seen.gramian is None:
            raise ValueError("GradNorm weighs by the norms of the tasks' gradients")
        there = seen.present
        if self._first is None:
            self._first = torch.full_like(seen.losses, torch.nan)
        self._first = torch.where(there & self._first.isnan(), seen.losses, self._first)
        w = self.w.values(len(seen.losses))
        gradient = torch.zeros_like(w)
        if there.any():
            norms = seen.gramian.diagonal()[there].sqrt()
            wanted = targets(w[there] * norms, (seen.losses / self._first)[there], self.alpha)
            gradient[there] = norms * torch.sign(w[there] * norms - wanted)
        self.w.step(gradient)
        w.clamp_(min=FLOOR).mul_(len(w) / w.sum())

    def state(self) -> dict[str, Any]:
        return {"w": self.w.state(), "first": self._first}

    def load_state(self, state: dict[str, Any]) -> None:
        self.w.load_state(state["w"])
        self._first = state["first"]


def targets(norms: Tensor, left: Tensor, alpha: float) -> Tensor:
    """Norms that weighted gradients should have.

    Parameters
    ----------
    norms
        (n,) of the weighted gradients.
    left
        (n,) losses as shares of the first ones.
    alpha
        How strongly tasks that lag behind are pulled.

    >>> [round(t, 6) for t in targets(torch.tensor([1.0, 3.0]), torch.tensor([0.5, 1.0]), 1.5).tolist()]
    [1.088662, 3.079201]
    """
    return norms.mean() * (left / left.mean()) ** alpha
