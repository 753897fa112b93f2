"""What every backbone that reads series shares: padding, standardisation, missing values, pooling."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from headstart.core.errors import ModelError
from headstart.data.schema import Sample
from headstart.models.backbone import InputSpec, Provenance, StagedBackbone, State
from headstart.models.pooling import AttentionPooling, pool_positions


class SeriesBackbone(StagedBackbone):
    """Series in, one vector per series out.

    A batch has `x` (B, T, C) with NaN where a value is missing, and `mask` (B, T) bool, false behind the end of a
    series. The first stage is given standardised channels in which missing values are 0, the mean.

    Parameters
    ----------
    stages
        Name -> module, each mapping a state to a state.
    directions
        Halves of the last dimension that read the series from different ends (2: bidirectional).
    indicators
        Whether a channel that says where values are missing stands beside each channel.
    """

    by_length = True
    channel_mean: Tensor
    channel_std: Tensor

    def __init__(
        self,
        stages: Mapping[str, nn.Module],
        spec: InputSpec,
        provenance: Provenance,
        width: int,
        family: str,
        directions: int = 1,
        indicators: bool = False,
    ) -> None:
        stages = dict(stages)
        if spec.pooling == "attention":
            stages["pooling"] = PoolingStage(width)
        super().__init__(stages, family)
        self.input_spec, self.provenance = spec, provenance
        self.directions, self.indicators = directions, indicators
        mean, std = spec.mean or (0.0,) * spec.channels, spec.std or (1.0,) * spec.channels
        self.register_buffer("channel_mean", torch.tensor(mean), persistent=False)
        self.register_buffer("channel_std", torch.tensor(std), persistent=False)

    def begin(self, inputs: State) -> State:
        x = (inputs["x"] - self.channel_mean) / self.channel_std
        absent = torch.isnan(x)
        x = x.masked_fill(absent | ~inputs["mask"][..., None], 0.0)
        if self.indicators:
            x = torch.cat([x, (absent & inputs["mask"][..., None]).to(x.dtype)], dim=-1)
        return {**inputs, "x": x}

    def preprocess(self, sample: Sample, view: str, seed: int) -> State:
        return {"x": torch.from_numpy(np.ascontiguousarray(sample.inputs, dtype=np.float32))}

    def collate(self, states: list[State]) -> State:
        longest = max(len(s["x"]) for s in states)
        x = torch.stack([nn.functional.pad(s["x"], (0, 0, 0, longest - len(s["x"]))) for s in states])
        lengths = torch.tensor([len(s["x"]) for s in states])
        return {"x": x, "mask": torch.arange(longest)[None] < lengths[:, None]}

    def length(self, sample: Sample) -> int:
        return len(sample.inputs)

    def batch_size(self) -> int:
        return 128

    def pool(self, s: State, grid: int = 1) -> Tensor:
        if grid != 1:
            raise ModelError("Only pictures can be pooled to a grid.", "Use grid 1.")
        if "pooled" in s:
            return s["pooled"]
        how = self.input_spec.pooling
        return pool_positions(s["x"], s["mask"], "mean" if how == "attention" else how, self.directions)


class PoolingStage(nn.Module):
    """The last stage of networks that learn how to weigh positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = AttentionPooling(width)

    def forward(self, s: State) -> State:
        return {**s, "pooled": self.attention(s["x"], s["mask"])}
