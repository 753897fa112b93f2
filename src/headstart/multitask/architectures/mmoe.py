"""MMoE: experts that all tasks use, and a gate per task."""

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
    "mmoe",
    summary="shared experts on the backbone's features; every task weighs them by its own gate",
    source="Ma et al. 2018, Multi-gate mixture-of-experts (KDD, doi 10.1145/3219819.3220007), equation 6",
    defaults={"any": {"experts": 4, "hidden": None}},
)
class MMoE(Architecture):
    """f_t = sum over e of softmax(W_t x)_e · E_e(x), with x the pooled features; y_t = head_t(f_t).

    Gates and experts read the backbone's features, not raw inputs, so that they fit any backbone. Experts add to the
    features (`Expert`), so that at the start this is hard sharing.

    Parameters
    ----------
    experts
        How many.
    hidden
        Width inside an expert; None is a quarter of the features' width.
    """

    pace = 3.0  # as strategies give new heads

    def __init__(
        self,
        backbone: Backbone,
        heads: Mapping[str, nn.Module],
        grid: int = 1,
        experts: int = 4,
        hidden: int | None = None,
    ) -> None:
        if experts < 1:
            raise ConfigError(f"A mixture of {experts} experts is none.", "Use 1 or more.")
        super().__init__(backbone, heads, grid)
        width = width_of(self.heads[0])
        self.common = list(backbone.stages)[-1]
        gates = nn.ModuleList(Gate(width, experts) for _ in self.tasks)
        self.parts["sharing"] = nn.ModuleDict({"experts": make_experts(experts, width, hidden), "gates": gates})

    def route(self, s: State, after: str | None) -> Routed:
        final = self.backbone.run(s, after=after)
        x = self.backbone.pool(final, self.grid)
        parts: Any = self.parts["sharing"]
        said = [expert(x) for expert in parts["experts"]]
        gates = zip(self.tasks, parts["gates"], strict=True)
        return Routed({task: mixture(gate(x), said) for task, gate in gates}, final, x)
