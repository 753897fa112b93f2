"""Branching: tasks share the stages up to one of them, and have copies of the later ones."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from headstart.core.errors import ConfigError, did_you_mean
from headstart.core.registry import register
from headstart.models.backbone import Backbone, State
from headstart.multitask.architectures.architecture import Architecture, Routed, copy_after

INPUT = "input"
MIDDLE = "middle"


@register(
    "architecture",
    "branching",
    summary="shared stages up to one of them, then a copy of the later stages per task",
    source="Vandenhende et al. 2020, Branched multi-task networks (arXiv 1904.02920)",
    defaults={"any": {"after": MIDDLE}},
)
class Branching(Architecture):
    """y_t = head_t(pool(later_t(earlier(x)))).

    After the last stage this is hard sharing, after "input" the tasks have networks of their own. The paper chooses
    the branches by how alike the tasks' features are; here every task has its own, from one chosen stage on.

    Parameters
    ----------
    after
        The last shared stage, one that the network can resume from; "middle" is the one nearest to half of the
        stages.

    Raises
    ------
    ConfigError
        When the network cannot resume after that stage.
    """

    def __init__(self, backbone: Backbone, heads: Mapping[str, nn.Module], grid: int = 1, after: str = MIDDLE) -> None:
        super().__init__(backbone, heads, grid)
        self.common = _chosen(backbone, after)
        if self.common != list(backbone.stages)[-1]:
            self.copies.extend(copy_after(backbone, self.common) for _ in self.tasks[1:])

    def route(self, s: State, after: str | None) -> Routed:
        trunk = s if self.common is None else self.backbone.run(s, after=after, upto=self.common)
        if not self.copies:
            features = self.backbone.pool(self.backbone.run(trunk, after=self.common), self.grid)
            return Routed(dict.fromkeys(self.tasks, features), trunk, features)
        ends = [network.run(trunk, after=self.common) for network in self.networks()]
        pooled = [network.pool(end, self.grid) for network, end in zip(self.networks(), ends, strict=True)]
        shared = None if self.common is None else trunk["x"]
        return Routed(dict(zip(self.tasks, pooled, strict=True)), ends[0], shared)


def _chosen(backbone: Backbone, after: str) -> str | None:
    names = list(backbone.stages)
    if after in backbone.cuts:
        return after
    if after == INPUT:
        return None
    if after == MIDDLE:
        return min(backbone.cuts, key=lambda cut: abs(names.index(cut) + 1 - len(names) / 2))
    raise ConfigError(
        f"The network cannot branch after {after!r}.", did_you_mean(after, [INPUT, MIDDLE, *backbone.cuts])
    )
