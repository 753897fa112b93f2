"""Weighting by learned uncertainty."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headstart.core.registry import register
from headstart.multitask.balancing.balancer import Balancer, Reduction, Seen
from headstart.multitask.balancing.learned import RATE, Learned


@register(
    "balancing",
    "uncertainty",
    summary="weights by a learned uncertainty of each task",
    source="Kendall et al. 2018, arXiv 1705.07115",
    defaults={"any": {"start": 0.0, "rate": RATE, "reduction": "sum"}},
)
class Uncertainty(Balancer):
    """UW: minimise sum_i L_i exp(-s_i) / 2 + s_i / 2 also over s, the logarithm of a variance; w = exp(-s) / 2.

    Published as a sum; at its optimum s_i = log L_i every task's weighted loss is 1/2.

    Source: A. Kendall, Y. Gal, R. Cipolla, "Multi-task learning using uncertainty to weigh losses", CVPR 2018, arXiv
    1705.07115.

    Parameters
    ----------
    start
        First value of every s: 0 in the paper and in TorchJD, -0.5 in LibMTL.
    rate
        Learning rate of s.
    """

    def __init__(self, start: float = 0.0, rate: float = RATE, reduction: Reduction = "sum") -> None:
        super().__init__(reduction)
        self.s = Learned(rate, start)

    def weigh(self, seen: Seen, at: Tensor) -> Tensor:
        return torch.exp(-self.s.values(len(seen.losses))[at]) / 2

    def learn(self, seen: Seen, after: Tensor | None = None) -> None:
        gradient = (1 - torch.exp(-self.s.values(len(seen.losses))) * seen.losses) / 2
        self.s.step(torch.where(seen.present, gradient, 0.0))

    def state(self) -> dict[str, Any]:
        return self.s.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.s.load_state(state)


def objective(losses: Tensor, s: Tensor) -> Tensor:
    """What uncertainty weighting minimises, of (T,) losses and logarithms of variances.

    >>> round(objective(torch.tensor([2.0, 0.5]), torch.tensor([-0.5, -0.5])).item(), 6)
    1.560902
    """
    return (losses * torch.exp(-s) / 2 + s / 2).sum()
