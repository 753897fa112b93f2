"""A bundle's models as one module, from raw inputs to probabilities: what `export` makes a graph of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from headstart.data.schema import Task
from headstart.models.backbone import State
from headstart.models.model import Model
from headstart.multitask.architectures import Architecture


class Whole(nn.Module):
    """Inputs as they are read -> probabilities (values of a regression), of every task in turn.

    Parameters
    ----------
    models
        Task -> the model that answers for it: one for all, or those that tasks have of their own; all take the same
        inputs.
    tasks, temperatures
        What they answer, and what logits are divided by.
    keys
        Names of the inputs.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        tasks: Sequence[Task],
        temperatures: Mapping[str, float],
        keys: tuple[str, ...],
    ) -> None:
        super().__init__()
        distinct = list({id(model): model for model in models.values()}.values())
        self.which = {task: distinct.index(model) for task, model in models.items()}
        self.models = nn.ModuleList(distinct)  # each once: PyTorch's exporter stumbles over a module by two names
        self.tasks, self.temperatures, self.keys = tuple(tasks), dict(temperatures), keys

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """(B, K) for each task."""
        first: Any = self.models[0]
        # Once for all of them: OpenVINO cannot convert two readings of one input.
        begun = first.backbone.begin(dict(zip(self.keys, tensors, strict=True)))
        features: dict[int, Mapping[str, Tensor]] = {}
        found = []
        for task in self.tasks:
            model: Any = self.models[self.which[task.name]]
            if id(model) not in features:
                features[id(model)] = features_of(model, begun)
            logits = model.head(task.name)(features[id(model)][task.name]).float()
            found.append(_answers(task, logits, self.temperatures.get(task.name, 1.0)))
        return tuple(found)


def features_of(model: Model, state: State) -> Mapping[str, Tensor]:
    """Task -> (B, D), of the state that the first stage takes."""
    if isinstance(model, Architecture):
        return model.route(state, None).features
    return dict.fromkeys(model.tasks, model.backbone.pool(model.backbone.run(state), model.grid))


def _answers(task: Task, logits: Tensor, temperature: float) -> Tensor:
    if task.kind == "single-label":
        return (logits / temperature).softmax(1)
    if task.kind == "multi-label":
        return (logits / temperature).sigmoid()
    return logits
