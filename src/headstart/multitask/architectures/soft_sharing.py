"""Soft sharing: a network per task, drawn towards each other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from headstart.core.errors import ConfigError
from headstart.core.registry import register
from headstart.models.backbone import Backbone, State
from headstart.multitask.architectures.architecture import Architecture, Routed, copy_after


@register(
    "architecture",
    "soft-sharing",
    summary="a network per task; the squared distance between their weights is penalised",
    source="Duong et al. 2015, Low resource dependency parsing (ACL short papers, P15-2139)",
    defaults={"any": {"strength": 0.01}},
)
class SoftSharing(Architecture):
    """loss = sum of the tasks' losses + strength · sum over pairs s < t of ||theta_s - theta_t||².

    Over all weights of the stages, not over heads. With strength 0 these are separate networks. The default strength
    is ours.

    Parameters
    ----------
    strength
        Of the penalty, not negative.
    """

    def __init__(
        self, backbone: Backbone, heads: Mapping[str, nn.Module], grid: int = 1, strength: float = 0.01
    ) -> None:
        if not strength >= 0:
            raise ConfigError(f"The strength of soft sharing cannot be {strength}.", "Use 0 or more.")
        super().__init__(backbone, heads, grid)
        self.strength = strength
        self.copies.extend(copy_after(backbone, None) for _ in self.tasks[1:])

    def route(self, s: State, after: str | None) -> Routed:
        ends = [network.run(s) for network in self.networks()]
        pooled = [network.pool(end, self.grid) for network, end in zip(self.networks(), ends, strict=True)]
        return Routed(dict(zip(self.tasks, pooled, strict=True)), ends[0], None)

    def penalties(self) -> dict[str, Tensor]:
        if self.strength == 0 or not self.copies:
            return {}
        weights = [_stage_weights(network) for network in self.networks()]
        # What is frozen is equal in all of them and costs nothing.
        squares = [
            (p - q).square().sum()
            for mine, its in combinations(weights, 2)
            for p, q in zip(mine, its, strict=True)
            if p.requires_grad
        ]
        return {"soft_sharing": self.strength * torch.stack(squares).sum()} if squares else {}


def _stage_weights(network: Backbone) -> list[nn.Parameter]:
    return [p for parameters in network.stage_parameters().values() for p in parameters]
