"""A model: one backbone, a head per task, and whatever parts a method adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headstart.models.backbone import Backbone, State

if TYPE_CHECKING:
    from headstart.train.batch import Batch


class Head(nn.Module):
    """Standardise, a linear map, and the scale of the labels: (B, D) -> (B, outputs).

    logits = spread · (W ((x - mean) / scale) + b) + shift. The four constants are buffers, so a probe's solution is
    a head as it is, and training continues from it with inputs (and, for regression, outputs) of unit scale.
    `folded()` gives the plain linear layer with the same outputs.
    """

    mean: Tensor
    scale: Tensor
    shift: Tensor
    spread: Tensor

    def __init__(self, width: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("shift", torch.zeros(outputs))
        self.register_buffer("spread", torch.ones(outputs))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, outputs)

    def forward(self, features: Tensor) -> Tensor:
        z = (features - self.mean) / self.scale
        return self.linear(self.dropout(z)) * self.spread + self.shift

    @torch.no_grad()
    def load_probe(self, weight: Tensor, bias: Tensor, mean: Tensor, scale: Tensor) -> None:
        """Take over a linear model of standardised features: weight (K, D), bias (K,), mean and scale (D,)."""
        self.linear.weight.copy_(weight / self.spread[:, None])
        self.linear.bias.copy_((bias - self.shift) / self.spread)
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    @torch.no_grad()
    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the equivalent linear layer on features as they come; folded in float64."""
        spread = self.spread.double()
        weight = spread[:, None] * self.linear.weight.double() / self.scale.double()
        bias = spread * self.linear.bias.double() + self.shift.double() - weight @ self.mean.double()
        return weight.float(), bias.float()


@dataclass
class Output:
    """What a forward pass gives.

    Attributes
    ----------
    features
        (B, D), pooled from the last state.
    logits
        Task -> (B, outputs).
    states
        Stage -> state after it, for the stages asked for.
    final
        The last state.
    shared
        The last representation that all tasks read; None where there is none.
    """

    features: Tensor
    logits: dict[str, Tensor]
    states: dict[str, State]
    final: State
    shared: Tensor | None = None


def width_of(head: nn.Module) -> int:
    """How many features a head reads."""
    return next(m.in_features for m in head.modules() if isinstance(m, nn.Linear))


class Model(nn.Module):
    """Backbone, heads and parts.

    Parameters
    ----------
    backbone
        The network.
    heads
        Task name -> module on the pooled features.
    grid
        Raster that pictures are pooled to: features have backbone width × grid².

    Attributes
    ----------
    recipe
        How several tasks share the backbone, as it can be made again: `architecture` and `options`; None where all
        read the same features.
    """

    def __init__(self, backbone: Backbone, heads: Mapping[str, nn.Module], grid: int = 1) -> None:
        super().__init__()
        self.backbone = backbone
        self.grid = grid
        self.tasks = tuple(heads)
        self.heads = nn.ModuleList(heads.values())
        self.parts = nn.ModuleDict()
        self.recipe: Mapping[str, Any] | None = None
        self.calls = 0
        self._shared: dict[object, Output] | None = None
        self._keep_states = False

    def head(self, task: str | None = None) -> nn.Module:
        """The head of a task; of the first without a name."""
        return self.heads[0 if task is None else self.tasks.index(task)]

    def forward(self, batch: Batch, view: str | None = None, keep: Sequence[str] = (), fresh: bool = False) -> Output:
        """One pass over a batch's view.

        Parameters
        ----------
        view
            Which view; the only one if not named.
        keep
            Stages whose states are wanted.
        fresh
            Compute anew even where objectives share one pass (R-Drop wants two different ones).
        """
        view = view or next(iter(batch.views))
        key = (id(batch), view, torch.is_grad_enabled(), self.training)
        share = self._shared is not None and not fresh
        if share and key in self._shared:  # type: ignore[operator]
            return self._shared[key]  # type: ignore[index]
        output = self._compute(batch, view, tuple(self.backbone.stages) if share and self._keep_states else keep)
        if share:
            self._shared[key] = output  # type: ignore[index]
        return output

    def _compute(self, batch: Batch, view: str, keep: Sequence[str]) -> Output:
        self.calls += 1
        state = batch.views[view]
        if batch.after is None and not batch.begun:
            state = self.backbone.begin(state)
        states: dict[str, State] = {}
        for name, state in self.backbone.walk(state, after=batch.after):  # noqa: B020
            if name in keep:
                states[name] = state
        features = self.backbone.pool(state, self.grid)
        logits = {task: head(features) for task, head in zip(self.tasks, self.heads, strict=True)}
        return Output(features, logits, states, state, features)

    @contextmanager
    def sharing(self, keep_states: bool = False) -> Iterator[None]:
        """Within the block, passes over the same batch and view are computed once (one step, many objectives)."""
        self._shared, self._keep_states = {}, keep_states
        try:
            yield
        finally:
            self._shared, self._keep_states = None, False

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Stage name, "head", or part name -> parameters: what a phase's `rates` refer to."""
        groups = self.backbone.stage_parameters()
        groups["head"] = list(self.heads.parameters())
        for name, part in self.parts.items():
            groups[name] = list(part.parameters())
        return groups

    def stage_modules(self) -> dict[str, list[nn.Module]]:
        """Stage name -> its module, and copies of it where tasks have their own."""
        return {name: [stage] for name, stage in self.backbone.stages.items()}

    def penalties(self) -> dict[str, Tensor]:
        """Losses that the way in which tasks share adds to theirs."""
        return {}
