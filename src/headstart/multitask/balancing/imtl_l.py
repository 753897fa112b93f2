"""IMTL-L: losses scaled to be equal."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headstart.core.registry import register
from headstart.multitask.balancing.balancer import Balancer, Reduction, Seen
from headstart.multitask.balancing.learned import RATE, Learned


@register(
    "balancing",
    "imtl-l",
    summary="learned scales under which all losses become equal",
    source="Liu et al. 2021, Towards impartial multi-task learning (ICLR)",
    defaults={"any": {"rate": RATE, "reduction": "sum"}},
)
class IMTLL(Balancer):
    """Minimise sum_i L_i exp(s_i) - s_i also over s, from 0; w = exp(s).

    Published as a sum; at its optimum s_i = -log L_i every task's weighted loss is 1. It is uncertainty weighting
    with twice the weights.

    Source: L. Liu et al., "Towards impartial multi-task learning", ICLR 2021, section 3.2.

    Parameters
    ----------
    rate
        Learning rate of s.
    """

    def __init__(self, rate: float = RATE, reduction: Reduction = "sum") -> None:
        super().__init__(reduction)
        self.s = Learned(rate)

    def weigh(self, seen: Seen, at: Tensor) -> Tensor:
        return torch.exp(self.s.values(len(seen.losses))[at])

    def learn(self, seen: Seen, after: Tensor | None = None) -> None:
        gradient = torch.exp(self.s.values(len(seen.losses))) * seen.losses - 1
        self.s.step(torch.where(seen.present, gradient, 0.0))

    def state(self) -> dict[str, Any]:
        return self.s.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.s.load_state(state)


def objective(losses: Tensor, s: Tensor) -> Tensor:
    """What IMTL-L minimises, of (T,) losses and logarithms of scales.

    >>> objective(torch.tensor([2.0, 0.5]), torch.tensor([0.0, 0.0])).item()
    2.5
    """
    return (losses * torch.exp(s) - s).sum()
