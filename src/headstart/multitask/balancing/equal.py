"""Equal weighting."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.core.registry import register
from headstart.multitask.balancing.balancer import Balancer, Seen


@register(
    "balancing",
    "equal",
    summary="every task counts the same",
    source="Kurin et al. 2022, arXiv 2201.04122",
    defaults={"any": {"reduction": "sum"}},
)
class Equal(Balancer):
    """w = 1. Published as a sum.

    Source: V. Kurin et al., "In defense of the unitary scalarization for deep multi-task learning", NeurIPS 2022,
    arXiv 2201.04122.

    >>> Equal(reduction="mean")(Seen(torch.tensor([2.0, 0.5]))).tolist()
    [0.5, 0.5]
    """

    def weigh(self, seen: Seen, at: Tensor) -> Tensor:
        return torch.ones_like(seen.losses[at])
