"""A convolutional network for series, after InceptionTime.

Source: Fawaz et al. 2020, arXiv 1909.04939: modules of a bottleneck, three lengths of kernel and a max-pooling
branch, a shortcut around every three modules. Series of unequal length: what lies behind the end is put to zero
after every module and does not enter the statistics of the batch norm, so that padding has no influence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headstart.models.backbone import InputSpec, Provenance, State
from headstart.models.series_backbone import SeriesBackbone

_PER_BLOCK = 3


@dataclass(frozen=True)
class InceptionTimeConfig:
    """Of an InceptionTime-style network.

    Attributes
    ----------
    blocks
        Of three modules and a shortcut each.
    filters
        Of each of a module's four branches.
    bottleneck
        Channels in front of the long kernels.
    kernel
        The longest; the others are a half and a quarter of it.
    indicators
        Whether a channel beside each says where values are missing.
    """

    blocks: int = 2
    filters: int = 32
    bottleneck: int = 32
    kernel: int = 39
    indicators: bool = False


class InceptionModule(nn.Module):
    """(B, C, T) -> (B, 4 filters, T)."""

    def __init__(self, inputs: int, config: InceptionTimeConfig) -> None:
        super().__init__()
        narrow = config.bottleneck if inputs > 1 else inputs
        self.bottleneck = nn.Conv1d(inputs, narrow, 1, bias=False) if inputs > 1 else nn.Identity()
        sizes = [max(3, config.kernel // 2**i // 2 * 2 + 1) for i in range(3)]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(narrow, config.filters, size, padding=size // 2, bias=False) for size in sizes
        )
        self.beside = nn.Conv1d(inputs, config.filters, 1, bias=False)
        self.norm = nn.BatchNorm1d(4 * config.filters)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        narrow = self.bottleneck(x)
        least = torch.finfo(x.dtype).min
        pooled = nn.functional.max_pool1d(x.masked_fill(~mask[:, None], least), 3, 1, 1).masked_fill(~mask[:, None], 0)
        joined = torch.cat([*(c(narrow) for c in self.convolutions), self.beside(pooled)], dim=1)
        return torch.relu(masked_norm(self.norm, joined, mask))


class InceptionBlock(nn.Module):
    """Three modules with a shortcut around them: a stage."""

    def __init__(self, inputs: int, config: InceptionTimeConfig) -> None:
        super().__init__()
        width = 4 * config.filters
        self.layers = nn.ModuleList(InceptionModule(inputs if i == 0 else width, config) for i in range(_PER_BLOCK))
        self.shortcut = nn.Conv1d(inputs, width, 1, bias=False)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, s: State) -> State:
        x, mask = s["x"].transpose(1, 2), s["mask"]
        y = x
        for layer in self.layers:
            y = layer(y, mask)
        y = torch.relu(y + masked_norm(self.norm, self.shortcut(x), mask))
        return {**s, "x": y.transpose(1, 2)}


class InceptionTime(SeriesBackbone):
    """InceptionTime's modules; stages block.0, block.1, ..."""

    def __init__(self, config: InceptionTimeConfig, spec: InputSpec, provenance: Provenance) -> None:
        inputs = spec.channels * (2 if config.indicators else 1)
        width = 4 * config.filters
        stages: dict[str, nn.Module] = {
            f"block.{i}": InceptionBlock(inputs if i == 0 else width, config) for i in range(config.blocks)
        }
        super().__init__(stages, spec, provenance, width, "cnn", indicators=config.indicators)


def masked_norm(norm: nn.BatchNorm1d, x: Tensor, mask: Tensor) -> Tensor:
    """Batch norm over the positions that there are: (B, C, T), (B, T) -> (B, C, T), zero elsewhere."""
    if not norm.training:  # with fixed statistics every position is on its own
        return norm(x).masked_fill(~mask[:, None], 0)
    if bool(mask.all()):
        return norm(x)
    made = torch.zeros_like(x).transpose(1, 2)
    inside = norm(x.transpose(1, 2)[mask])
    made = made.to(inside.dtype).masked_scatter(mask[..., None], inside)
    return made.transpose(1, 2)
