"""A shared backbone of which every task replaces some tensors by its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from headstart.models.backbone import Backbone, State
from headstart.multitask.architectures.architecture import Architecture, Routed


class _Run(nn.Module):
    """A network's fold as a module's forward, which is what `functional_call` can call with other tensors."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, s: State) -> State:
        return self.backbone.run(s)


class Edited(Architecture):
    """One network; a pass per task with the tensors that the task has of its own.

    The backbone is meant to stay frozen (no phase gives its stages a rate); then tasks cannot harm each other.
    """

    freezes = True
    pace = 10.0  # few weights stand in for all of them: LoRA and BitFit are trained at about ten times the usual rate

    @abstractmethod
    def edits(self, task: int) -> Mapping[str, Tensor]:
        """Tensor name within the backbone -> what it is for a task."""

    def route(self, s: State, after: str | None) -> Routed:
        run = _Run(self.backbone)
        run.training = self.training
        ends = []
        for task in range(len(self.tasks)):
            tensors = {f"backbone.{name}": tensor for name, tensor in self.edits(task).items()}
            ends.append(torch.func.functional_call(run, tensors, (s,)))
        pooled = [self.backbone.pool(end, self.grid) for end in ends]
        return Routed(dict(zip(self.tasks, pooled, strict=True)), ends[0], None)


def stage_tensors(backbone: Backbone) -> dict[str, tuple[nn.Module, Tensor]]:
    """Name -> (owning module, tensor) of every parameter and buffer of the stages, each tensor once."""
    inside = {id(t) for stage in backbone.stages.values() for t in (*stage.parameters(), *stage.buffers())}
    found: dict[str, tuple[nn.Module, Tensor]] = {}
    seen: set[int] = set()
    for prefix, module in backbone.named_modules():
        own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        for name, tensor in own:
            if id(tensor) in inside and id(tensor) not in seen:
                seen.add(id(tensor))
                found[f"{prefix}.{name}" if prefix else name] = module, tensor
    return found
