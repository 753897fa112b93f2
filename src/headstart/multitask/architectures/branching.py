"""Branching: tasks share the stages up to one of them, and have copies of the later ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    own
        The tasks that have a copy; the others go on together with the network's own stages. None: all but the first.

    Raises
    ------
    ConfigError
        When the network cannot resume after that stage, or there is no such task.
    """

    def __init__(
        self,
        backbone: Backbone,
        heads: Mapping[str, nn.Module],
        grid: int = 1,
        after: str = MIDDLE,
        own: Sequence[str] | None = None,
    ) -> None:
        super().__init__(backbone, heads, grid)
        self.common = chosen_cut(backbone, after)
        self.own = tuple(self.tasks[1:] if own is None else own)
        for task in self.own:
            if task not in self.tasks:
                raise ConfigError(f"There is no task {task!r} to branch off.", did_you_mean(task, self.tasks))
        if self.common == list(backbone.stages)[-1]:
            self.own = ()
        self.copies.extend(copy_after(backbone, self.common) for _ in self.own)

    def network_of(self, task: str) -> Backbone:
        """The network that a task's features come from."""
        return self.networks()[self.own.index(task) + 1 if task in self.own else 0]

    def route(self, s: State, after: str | None) -> Routed:
        trunk = s if self.common is None else self.backbone.run(s, after=after, upto=self.common)
        ends = [network.run(trunk, after=self.common) for network in self.networks()]
        pooled = [network.pool(end, self.grid) for network, end in zip(self.networks(), ends, strict=True)]
        features = {t: pooled[self.own.index(t) + 1 if t in self.own else 0] for t in self.tasks}
        if not self.own:
            return Routed(features, ends[0], pooled[0])
        return Routed(features, ends[0], None if self.common is None else trunk["x"])


def chosen_cut(backbone: Backbone, after: str) -> str | None:
    """The last stage of a trunk by its name, "middle" or "input" (None).

    Raises
    ------
    ConfigError
        When the network cannot resume after that stage.
    """
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
