"""What all architectures have in common: a model in which every task may have features of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from headstart.models.backbone import Backbone, State
from headstart.models.model import Model, Output

if TYPE_CHECKING:
    from headstart.multitask.update import Where
    from headstart.train.batch import Batch


@dataclass
class Routed:
    """What the tasks see of a batch.

    Attributes
    ----------
    features
        Task -> (B, D).
    final
        The last state, of the first task where each has its own.
    shared
        The last representation that all tasks read, for gradients with respect to it; None where there is none.
    """

    features: dict[str, Tensor]
    final: State
    shared: Tensor | None


class Architecture(Model):
    """A model whose tasks share a backbone in some way; subclasses say how in `route`.

    Parameters that a subclass adds to the backbone lie in `parts["sharing"]`, so that a phase gives them a rate by
    that name or by "*". Copies of stages lie in `copies` and have the rates, and the mode, of the stages they copy.

    Attributes
    ----------
    copies
        Further networks, for the tasks after the first.
    common
        The stage up to which all tasks use the backbone as it is, so that activations may be kept up to there; None
        where they part at the input.
    freezes
        Whether the backbone is meant to stay frozen.
    pace
        Rate of `parts["sharing"]` in units of the network's last stage.
    """

    common: str | None = None
    freezes = False
    pace = 1.0

    def __init__(self, backbone: Backbone, heads: Mapping[str, nn.Module], grid: int = 1) -> None:
        super().__init__(backbone, heads, grid)
        self.copies = nn.ModuleList()

    @property
    def meeting(self) -> Where | None:
        """Where the tasks' gradients meet, so that they can be balanced; None where no task moves what another reads.

        "features" is a representation that all of them read (`Routed.shared`), "parameters" are weights without one.
        """
        return None if self.common is None else "features"

    def route(self, s: State, after: str | None) -> Routed:
        """From the state after the stage `after` (None: the input's) to features of every task."""
        raise NotImplementedError

    def _compute(self, batch: Batch, view: str, keep: Sequence[str]) -> Output:
        self.calls += 1
        state, after = batch.views[view], batch.after
        names = list(self.backbone.stages)
        if after is not None and (self.common is None or names.index(after) > names.index(self.common)):
            raise ValueError(f"activations after {after!r} are kept, but tasks part after {self.common or 'the input'}")
        if keep:
            raise ValueError(f"{type(self).__name__} has no one state after a stage")
        if after is None and not batch.begun:
            state = self.backbone.begin(state)
        routed = self.route(state, after)
        logits = {task: head(routed.features[task]) for task, head in zip(self.tasks, self.heads, strict=True)}
        distinct = {id(x): x for x in routed.features.values()}
        return Output(torch.cat([*distinct.values()], dim=1), logits, {}, routed.final, routed.shared)

    def networks(self) -> list[Backbone]:
        """The network of every task, where each has its own; the first is the backbone itself."""
        return [self.backbone, *self.copies]

    def groups(self) -> dict[str, list[nn.Parameter]]:
        groups = super().groups()
        seen = {id(p) for parameters in groups.values() for p in parameters}
        for network in self.networks()[1:]:
            for name, parameters in network.stage_parameters().items():
                groups[name] += [p for p in parameters if id(p) not in seen]
        return groups

    def stage_modules(self) -> dict[str, list[nn.Module]]:
        return {name: [network.stages[name] for network in self.networks()] for name in self.backbone.stages}


def copy_after(backbone: Backbone, after: str | None) -> Backbone:
    """A copy of a network whose stages up to `after` are those of the network itself (None: nothing is shared)."""
    names = list(backbone.stages)
    kept = names[: names.index(after) + 1] if after is not None else []
    memo: dict[int, object] = {}
    for stage in (backbone.stages[name] for name in kept):
        for same in (*stage.modules(), *stage.parameters(), *stage.buffers()):
            memo[id(same)] = same
    made = copy.deepcopy(backbone, memo)
    # The classifier of the pretraining is there once.
    made.source_head = None
    return made
