"""One number per task that a balancing method learns by itself, beside the network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

RATE = 0.025
"""Learning rate of what balancing methods learn: that of GradNorm's and of FAMO's authors."""


class Learned:
    """(T,) numbers and the Adam that moves them.

    The numbers do not join the network's optimizer: schedules, weight decay and clipping are made for the network.

    Parameters
    ----------
    rate, weight_decay
        Of Adam.
    start
        First value of every number.
    """

    def __init__(self, rate: float, start: float = 0.0, weight_decay: float = 0.0) -> None:
        self.rate, self.start, self.weight_decay = rate, start, weight_decay
        self._values: Tensor | None = None
        self._optimizer: torch.optim.Adam | None = None

    def values(self, count: int) -> Tensor:
        """The (count,) numbers as they are."""
        if self._values is None:
            self._values = torch.full((count,), self.start, dtype=torch.float64)
        if len(self._values) != count:
            raise ValueError(f"{count} tasks, {len(self._values)} before")
        return self._values

    def step(self, gradient: Tensor) -> None:
        """Move the numbers against a (T,) gradient."""
        values = self.values(len(gradient))
        optimizer = self._made(values)
        values.grad = gradient.to(values.dtype)
        optimizer.step()
        values.grad = None

    def _made(self, values: Tensor) -> torch.optim.Adam:
        if self._optimizer is None:
            self._optimizer = torch.optim.Adam([values], self.rate, weight_decay=self.weight_decay, foreach=False)
        return self._optimizer

    def state(self) -> dict[str, Any]:
        if self._values is None:
            return {}
        return {"values": self._values.clone(), "optimizer": self._made(self._values).state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        self._values = self._optimizer = None
        if state:
            self._values = state["values"].clone()
            self._made(self._values).load_state_dict(state["optimizer"])
