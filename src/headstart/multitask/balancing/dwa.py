"""Dynamic weight average."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from headstart.core.errors import ConfigError
from headstart.core.registry import register
from headstart.multitask.balancing.balancer import Balancer, Reduction, Seen


@register(
    "balancing",
    "dwa",
    summary="more weight for tasks whose loss falls slowly from epoch to epoch",
    source="Liu et al. 2019, arXiv 1803.10704",
    defaults={"any": {"temperature": 2.0, "reduction": "sum"}},
)
class DWA(Balancer):
    """w_i = T softmax(r / temperature)_i, with r_i = L_i(epoch - 1) / L_i(epoch - 2); 1 in the first two epochs.

    Published as a sum. L_i(epoch) is the mean over the epoch's steps that had labels of the task.

    Source: S. Liu, E. Johns, A. Davison, "End-to-end multi-task learning with attention", CVPR 2019, arXiv
    1803.10704, equation 7.

    Parameters
    ----------
    temperature
        The larger, the more alike the weights.

    Raises
    ------
    ConfigError
        If the temperature is not positive.
    """

    def __init__(self, temperature: float = 2.0, reduction: Reduction = "sum") -> None:
        super().__init__(reduction)
        if temperature <= 0:
            raise ConfigError(f"DWA's temperature must be positive; it is {temperature:g}.", "The paper's is 2.")
        self.temperature = temperature
        self._epoch = 0
        self._sums: Tensor | None = None
        self._counts: Tensor | None = None
        self._past: list[Tensor] = []

    def weigh(self, seen: Seen, at: Tensor) -> Tensor:
        self._turn_to(seen.epoch)
        if len(self._past) < 2:
            return torch.ones_like(seen.losses[at])
        before, last = self._past
        return ratios_to_weights((last / before)[at], self.temperature)

    def learn(self, seen: Seen, after: Tensor | None = None) -> None:
        self._turn_to(seen.epoch)
        if self._sums is None or self._counts is None:
            self._sums, self._counts = torch.zeros_like(seen.losses), torch.zeros_like(seen.losses)
        self._sums = self._sums + torch.where(seen.present, seen.losses, 0.0)
        self._counts = self._counts + seen.present

    def _turn_to(self, epoch: int) -> None:
        if epoch == self._epoch:
            return
        if self._sums is not None and self._counts is not None:
            self._past = [*self._past, self._sums / self._counts][-2:]
        self._epoch, self._sums, self._counts = epoch, None, None

    def state(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "sums": self._sums, "counts": self._counts, "past": self._past}

    def load_state(self, state: dict[str, Any]) -> None:
        self._epoch, self._past = state["epoch"], list(state["past"])
        self._sums, self._counts = state["sums"], state["counts"]


def ratios_to_weights(ratios: Tensor, temperature: float) -> Tensor:
    """n softmax(ratios / temperature); a ratio that is not known counts as 1.

    >>> [round(w, 6) for w in ratios_to_weights(torch.tensor([0.5, 1.0], dtype=torch.float64), 2.0).tolist()]
    [0.875647, 1.124353]
    """
    return len(ratios) * torch.softmax(torch.nan_to_num(ratios, nan=1.0) / temperature, 0)
