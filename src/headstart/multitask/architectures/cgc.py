"""CGC: shared experts and experts of a task's own, under a gate per task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from headstart.core.errors import ConfigError
from headstart.core.registry import register
from headstart.models.backbone import Backbone, State
from headstart.models.model import width_of
from headstart.multitask.architectures.architecture import Architecture, Routed
from headstart.multitask.architectures.experts import Gate, make_experts, mixture


@register(
    "architecture",
    "cgc",
    summary="shared experts and own experts per task on the backbone's features, under a gate per task",
    source="Tang et al. 2020, Progressive layered extraction (RecSys, doi 10.1145/3383313.3412236), section 4.1",
    defaults={"any": {"shared": 2, "own": 2, "hidden": None}},
)
class CGC(Architecture):
    """f_t = sum over e in own(t) and shared of softmax(W_t x)_e · E_e(x), x the pooled features; y_t = head_t(f_t).

    A task never sees another's own experts. Gates and experts read the backbone's features; experts add to them
    (`Expert`), so that at the start this is hard sharing.

    Parameters
    ----------
    shared, own
        Experts that all tasks use, and of each task.
    hidden
        Width inside an expert; None is a quarter of the features' width.
    """

    pace = 3.0  # as strategies give new heads

    def __init__(
        self,
        backbone: Backbone,
        heads: Mapping[str, nn.Module],
        grid: int = 1,
        shared: int = 2,
        own: int = 2,
        hidden: int | None = None,
    ) -> None:
        if shared < 0 or own < 0 or shared + own < 1:
            raise ConfigError(f"A mixture of {shared} shared and {own} own experts is none.", "Use 1 or more.")
        super().__init__(backbone, heads, grid)
        width = width_of(self.heads[0])
        self.common = list(backbone.stages)[-1]
        self.parts["sharing"] = nn.ModuleDict(
            {
                "shared": make_experts(shared, width, hidden),
                "own": nn.ModuleList(make_experts(own, width, hidden) for _ in self.tasks),
                "gates": nn.ModuleList(Gate(width, shared + own) for _ in self.tasks),
            }
        )

    def route(self, s: State, after: str | None) -> Routed:
        final = self.backbone.run(s, after=after)
        x = self.backbone.pool(final, self.grid)
        parts: Any = self.parts["sharing"]
        said = [expert(x) for expert in parts["shared"]]
        rows = zip(self.tasks, parts["gates"], parts["own"], strict=True)
        features = {t: mixture(gate(x), [*(expert(x) for expert in own), *said]) for t, gate, own in rows}
        return Routed(features, final, x)
