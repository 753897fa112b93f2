"""Fast adaptive multitask optimization."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headstart.core.registry import register
from headstart.multitask.balancing.balancer import Balancer, Reduction, Seen
from headstart.multitask.balancing.gls import LEAST
from headstart.multitask.balancing.learned import RATE, Learned


@register(
    "balancing",
    "famo",
    summary="losses fall at equal rates; looks at the batch again after the step",
    source="Liu et al. 2023, arXiv 2306.03792",
    defaults={"any": {"rate": RATE, "weight_decay": 1e-3, "reduction": "sum"}},
)
class FAMO(Balancer):
    """w_i = c z_i / L_i with z = softmax(v) and c = 1 / sum_j (z_j / L_j). Published as a mean.

    After the step, v takes one of Adam's along the gradient z_i (d_i - sum_j z_j d_j), with d_i = log L_i before
    minus log L_i after: tasks that fell less than others gain weight. Losses must be positive.

    Source: B. Liu et al., "FAMO: fast adaptive multitask optimization", NeurIPS 2023, arXiv 2306.03792, algorithm 2,
    with the paper's weight decay (the authors' code has 1e-5).

    Parameters
    ----------
    rate, weight_decay
        Of v.
    """

    published = "mean"
    looks_back = True

    def __init__(self, rate: float = RATE, weight_decay: float = 1e-3, reduction: Reduction = "sum") -> None:
        super().__init__(reduction)
        self.v = Learned(rate, weight_decay=weight_decay)

    def weigh(self, seen: Seen, at: Tensor) -> Tensor:
        z = torch.softmax(self.v.values(len(seen.losses))[at], 0)
        shares = z / seen.losses[at].clamp(min=LEAST)
        return shares / shares.sum()

    def learn(self, seen: Seen, after: Tensor | None = None) -> None:
        if after is None:
            raise ValueError("FAMO needs the losses after the step")
        v = self.v.values(len(seen.losses))
        # The softmax over the tasks that take part; the others have no weight and no gradient.
        z = torch.softmax(torch.where(seen.present, v, -torch.inf), 0)
        fell = seen.losses.clamp(min=LEAST).log() - after.clamp(min=LEAST).log()
        fell = torch.where(seen.present, fell, 0.0)
        self.v.step(z * (fell - (z * fell).sum()))

    def state(self) -> dict[str, Any]:
        return self.v.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.v.load_state(state)
