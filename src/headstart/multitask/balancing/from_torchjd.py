"""Weightings that TorchJD has and that need nothing but the Gramian.

Source: https://github.com/SimplexLab/TorchJD (MIT).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from headstart.core.errors import ConfigError
from headstart.core.seeding import derive
from headstart.multitask.balancing.balancer import GradientBalancer, Reduction


class FromTorchJD(GradientBalancer):
    """A weighting of TorchJD; `weighting` is its name in `torchjd.aggregation`.

    Raises
    ------
    ConfigError
        Without torchjd (extra `[multitask]`).
    """

    weighting: ClassVar[str]

    def __init__(self, reduction: Reduction = "sum") -> None:
        super().__init__(reduction)
        self._from_gramian: Callable[[Tensor], Any] = _find(self.weighting)()

    def from_gramian(self, gramian: Tensor, at: Tensor, seed: int) -> Tensor:
        # What it draws is a function of the step's seed, and disturbs no other draw.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, self.weighting))
            weights: Tensor = self._from_gramian(gramian)
        return weights


def _find(name: str) -> Callable[[], Any]:
    try:
        from torchjd import aggregation
    except ModuleNotFoundError:
        raise ConfigError(
            "This balancing method needs the package torchjd, which is not installed.",
            "pip install headstart[multitask]",
        ) from None
    found: Callable[[], Any] = getattr(aggregation, name)
    return found
