"""Task-specific low-rank adapters (LoRA) on a shared, frozen backbone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from headstart.core.errors import ConfigError
from headstart.core.registry import register
from headstart.models.backbone import Backbone
from headstart.multitask.architectures.edited import Edited, stage_tensors


class LowRank(nn.Module):
    """The change (scale / r) B A of a weight, its dimensions after the first flattened; B is zero at the start."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        rank = min(rank, rows, columns)
        self.factor = scale / rank
        self.a = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
        self.b = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.factor * self.b @ self.a).reshape(weight.shape)


@register(
    "architecture",
    "adapters",
    summary="a shared frozen backbone; every task adds low-rank changes to its weights",
    source="Hu et al. 2021, LoRA (arXiv 2106.09685); one per task as in Houlsby et al. 2019 (arXiv 1902.00751)",
    defaults={"any": {"rank": 8, "scale": 8.0}},
)
class Adapters(Edited):
    """W_t = W + (scale / r) B_t A_t for every weight matrix and convolution of the stages, word tables excepted.

    B is zero at the start, so every task starts from the backbone as it is. A pass per task. A convolution's kernel
    counts as a matrix of its outputs by everything else.

    Parameters
    ----------
    rank, scale
        r (at most what the weight has), and the numerator of its factor; 8 and 8 as PEFT has them.
    """

    def __init__(
        self, backbone: Backbone, heads: Mapping[str, nn.Module], grid: int = 1, rank: int = 8, scale: float = 8.0
    ) -> None:
        if rank < 1:
            raise ConfigError(f"Adapters cannot have rank {rank}.", "Use 1 or more.")
        super().__init__(backbone, heads, grid)
        weights = {
            name: tensor
            for name, (module, tensor) in stage_tensors(backbone).items()
            if isinstance(tensor, nn.Parameter) and tensor.dim() > 1 and not isinstance(module, nn.Embedding)
        }
        self.names = tuple(weights)
        self.parts["sharing"] = nn.ModuleList(
            nn.ModuleList(LowRank(weight, rank, scale) for weight in weights.values()) for _ in self.tasks
        )

    def edits(self, task: int) -> Mapping[str, Tensor]:
        named = dict(self.backbone.named_parameters())
        changes = self.parts["sharing"][task]  # type: ignore[index]
        return {name: change(named[name]) for name, change in zip(self.names, changes, strict=True)}
