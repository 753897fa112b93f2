"""Random loss weighting."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.core.registry import register
from headstart.core.seeding import derive
from headstart.multitask.balancing.balancer import Balancer, Seen


@register(
    "balancing",
    "rlw",
    summary="weights drawn anew at every step",
    source="Lin et al. 2022, arXiv 2111.10603",
    defaults={"any": {"reduction": "sum"}},
)
class RLW(Balancer):
    """w = softmax(z) with z drawn from a standard normal distribution at every step. Published as a mean.

    Source: B. Lin et al., "Reasonable effectiveness of random weighting", TMLR 2022, arXiv 2111.10603. The draw is a
    function of the step's seed, and disturbs no other.
    """

    published = "mean"

    def weigh(self, seen: Seen, at: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(derive(seen.seed, "rlw"))
        return torch.softmax(torch.randn(len(seen.losses), generator=generator, dtype=torch.float64)[at], 0)
