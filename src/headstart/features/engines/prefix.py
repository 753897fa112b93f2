"""The frozen part of a network as one function of tensors: what an engine compiles and runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headstart.models.backbone import Backbone, State

Place = tuple[str, int]
"""Where features are taken: a stage and a pooling grid."""

ROWS = "rows"
"""Which sample a row of the batch belongs to (texts read in windows): joined after the engine has run."""


class Prefix(nn.Module):
    """Begun inputs (with `begins`, inputs as they are collated) -> pooled features at places.

    Parameters
    ----------
    backbone
        Run as deep as the places need, in eval mode.
    places
        Stages and grids.
    keys
        Names of the tensors of the state, in the order in which `forward` takes them.
    """

    def __init__(self, backbone: Backbone, places: Sequence[Place], keys: Sequence[str], begins: bool = False) -> None:
        super().__init__()
        self.backbone = backbone.eval()
        self.places = tuple(places)
        self.keys = tuple(keys)
        self.begins = begins
        names = list(backbone.stages)
        self.deepest = max((stage for stage, _ in places), key=names.index)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """(B, D) float32 for each place."""
        state: State = dict(zip(self.keys, tensors, strict=True))
        if self.begins:
            state = self.backbone.begin(state)
        made: dict[Place, Tensor] = {}
        for name, state in self.backbone.walk(state, upto=self.deepest):  # noqa: B020
            for place in self.places:
                if place[0] == name:
                    made[place] = self.backbone.pool(state, place[1]).float()
        return tuple(made[place] for place in self.places)


def begun(backbone: Backbone, inputs: State) -> tuple[State, Tensor | None]:
    """The state that the first stage takes, without `rows`, and these."""
    state = backbone.begin(inputs)
    rows = state.pop(ROWS, None)
    return state, rows


def signature(state: State) -> tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]:
    """What a compiled network is made for: names, number formats and every size that batches do not vary."""
    return tuple((name, x.dtype, tuple(x.shape[2:])) for name, x in state.items())
