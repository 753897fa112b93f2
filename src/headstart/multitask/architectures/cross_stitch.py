"""Cross-stitch networks: a network per task, whose activations are mixed between stages by learned factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from headstart.core.errors import ConfigError
from headstart.core.registry import register
from headstart.models.backbone import Backbone, State
from headstart.multitask.architectures.architecture import Architecture, Routed, copy_after

if TYPE_CHECKING:
    from headstart.multitask.update import Where


class Stitches(nn.Module):
    """A (T, T) matrix per place: row t says how much of each task's activations task t goes on with."""

    def __init__(self, places: int, tasks: int, own: float) -> None:
        super().__init__()
        others = (1 - own) / max(1, tasks - 1)
        start = torch.full((tasks, tasks), others).fill_diagonal_(own if tasks > 1 else 1.0)
        self.units = nn.ParameterList(nn.Parameter(start.clone()) for _ in range(places))

    def forward(self, states: Sequence[State], place: int) -> list[State]:
        mixed = torch.einsum("tu,u...->t...", self.units[place], torch.stack([s["x"] for s in states]))
        return [{**s, "x": x} for s, x in zip(states, mixed, strict=True)]


@register(
    "architecture",
    "cross-stitch",
    summary="a network per task; after every stage their activations are mixed by a learned matrix",
    source="Misra et al. 2016, Cross-stitch networks (arXiv 1604.03539), equation 1: own .9, others .1",
    defaults={"any": {"own": 0.9}},
)
class CrossStitch(Architecture):
    """x_t <- sum over u of a_tu · x_u, after every stage that the networks can resume from but the last.

    One factor for each pair of tasks and place, as in equation 1 (the paper also has one per channel). With identity
    matrices these are separate networks. The paper gives the matrices a rate 100 to 1000 times that of the networks:
    they are `parts["sharing"]`.

    Parameters
    ----------
    own
        Of the matrices' diagonal at the start; the rest of 1 is spread over the other tasks.
    """

    pace = 100.0

    def __init__(self, backbone: Backbone, heads: Mapping[str, nn.Module], grid: int = 1, own: float = 0.9) -> None:
        if not 0 <= own <= 1:
            raise ConfigError(f"A cross-stitch unit cannot start with {own} of its own task.", "Use 0 to 1.")
        super().__init__(backbone, heads, grid)
        self.places = [cut for cut in backbone.cuts if cut != list(backbone.stages)[-1]]
        self.copies.extend(copy_after(backbone, None) for _ in self.tasks[1:])
        self.parts["sharing"] = Stitches(len(self.places), len(self.tasks), own)

    @property
    def meeting(self) -> Where:
        return "parameters"

    def route(self, s: State, after: str | None) -> Routed:
        networks = self.networks()
        states, before = [s] * len(networks), None
        for number, place in enumerate(self.places):
            states = [n.run(state, after=before, upto=place) for n, state in zip(networks, states, strict=True)]
            states = self.parts["sharing"](states, number)
            before = place
        ends = [n.run(state, after=before) for n, state in zip(networks, states, strict=True)]
        pooled = [n.pool(end, self.grid) for n, end in zip(networks, ends, strict=True)]
        return Routed(dict(zip(self.tasks, pooled, strict=True)), ends[0], None)
