"""Weights that somebody chose."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from headstart.core.errors import ConfigError
from headstart.core.registry import register
from headstart.multitask.balancing.balancer import Balancer, Reduction, Seen


@register(
    "balancing",
    "fixed",
    summary="weights as given, one per task",
    source="scalarisation; Xin et al. 2022, arXiv 2209.11379",
    defaults={"any": {"reduction": "sum"}},
)
class Fixed(Balancer):
    """w as given, as weights of a sum.

    Source: D. Xin et al., "Do current multi-task optimization methods in deep learning even help?", NeurIPS 2022,
    arXiv 2209.11379: well chosen fixed weights reach the trade-offs of the special optimisers.

    Parameters
    ----------
    weights
        One per task, in the tasks' order; none negative, not all zero.

    Raises
    ------
    ConfigError
        If the weights are no such numbers.

    >>> Fixed([1.0, 3.0])(Seen(torch.tensor([2.0, 0.5]))).tolist()
    [1.0, 3.0]
    """

    def __init__(self, weights: Sequence[float], reduction: Reduction = "sum") -> None:
        super().__init__(reduction)
        self.weights = torch.tensor([float(w) for w in weights], dtype=torch.float64)
        if not all(math.isfinite(w) and w >= 0 for w in self.weights.tolist()) or not self.weights.any():
            raise ConfigError(
                f"Weights of tasks must be finite, not negative, and not all zero; these are {list(weights)}.",
                "Give one positive number per task, or 0 for a task that is not to be learned.",
            )

    def __call__(self, seen: Seen) -> Tensor:
        if len(self.weights) != len(seen.losses):
            raise ConfigError(
                f"There are {len(self.weights)} weights for {len(seen.losses)} tasks.", "Give one weight per task."
            )
        return super().__call__(seen)

    def weigh(self, seen: Seen, at: Tensor) -> Tensor:
        return self.weights[at]
