"""Geometric loss strategy."""

from __future__ import annotations

from torch import Tensor

from headstart.core.registry import register
from headstart.multitask.balancing.balancer import Balancer, Seen

LEAST = 1e-8
"""Losses below it count as it, where a logarithm or a quotient is taken."""


@register(
    "balancing",
    "gls",
    summary="the geometric mean of the losses",
    source="Chennupati et al. 2019, arXiv 1904.08492",
    defaults={"any": {"reduction": "sum"}},
)
class GLS(Balancer):
    """Minimise (prod_i L_i)^(1/T), whose gradient weighs task i by w_i = (prod_j L_j)^(1/T) / (T L_i).

    Published as a mean: equal losses give weights of 1 / T. Losses must be positive.

    Source: S. Chennupati et al., "MultiNet++: multi-stream feature aggregation and geometric loss strategy", CVPR
    workshops 2019, arXiv 1904.08492.

    >>> import torch
    >>> GLS("mean")(Seen(torch.tensor([2.0, 0.5]))).tolist()
    [0.25, 1.0]
    """

    published = "mean"

    def weigh(self, seen: Seen, at: Tensor) -> Tensor:
        losses = seen.losses[at].clamp(min=LEAST)
        return losses.log().mean().exp() / (len(at) * losses)
