"""Updates turn the losses of a step into a step of the weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from headstart.models.model import Model
from headstart.train.batch import Terms
from headstart.train.objective import Clock


@dataclass
class Step:
    """One step in the making, handed to an update.

    Attributes
    ----------
    model
        Being trained.
    terms
        `terms(i, only)` computes the losses of micro-batch i.
    shares
        Weight of each micro-batch (gradient accumulation); they sum to 1.
    optimizer
        Over every parameter group of the phase.
    clip
        Largest norm of the gradient; None is no clipping.
    clock
        Where training stands.
    """

    model: Model
    terms: Callable[[int, frozenset[str] | None], Terms]
    shares: Sequence[float]
    optimizer: torch.optim.Optimizer
    clip: float | None = None
    clock: Clock = field(default_factory=Clock)
    logs: dict[str, float] = field(default_factory=dict)

    def parameters(self) -> list[nn.Parameter]:
        """Every parameter that the phase trains."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def note(self, terms: Terms, share: float = 1.0) -> None:
        """Log the values of terms."""
        for name, value in terms.flat().items():
            self.logs[name] = self.logs.get(name, 0.0) + share * float(value.detach())

    def apply(self) -> None:
        """Clip, move the weights, clear the gradients. A gradient that is not finite moves nothing and is logged."""
        parameters = [p for p in self.parameters() if p.grad is not None]
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())
        self.logs["gradient_norm"] = float(norm)
        if not torch.isfinite(norm):
            self.logs["skipped"] = 1.0
        else:
            if self.clip is not None:
                torch.nn.utils.clip_grads_with_norm_(parameters, self.clip, norm)
                self.logs["clipped"] = float(norm > self.clip)
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class Update(Protocol):
    """Makes one step. May keep state of its own (task weights), which goes into checkpoints."""

    def __call__(self, step: Step) -> dict[str, float]: ...

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: dict[str, Any]) -> None: ...


class _Stateless:
    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        pass


class OneBackward(_Stateless):
    """The sum of all losses, one backward pass per micro-batch."""

    def __call__(self, step: Step) -> dict[str, float]:
        for i, share in enumerate(step.shares):
            terms = step.terms(i, None)
            (terms.total() * share).backward()
            step.note(terms, share)
        step.apply()
        return step.logs


@dataclass(frozen=True)
class Turn:
    """One part of an alternating step: minimise the signed sum of `losses` over `groups`, `times` times.

    A loss is named with a leading "-" to be maximised. Groups are "backbone", "heads" or a part's name.
    """

    groups: tuple[str, ...]
    losses: tuple[str, ...]
    times: int = 1


class Alternate(_Stateless):
    """Several backward passes in one step, each over its own parameters (MCD, ADDA).

    What is logged of a loss is its mean over the turns that read it, each of them over its repetitions.

    Source of the pattern: Saito et al. 2018, "Maximum classifier discrepancy", arXiv 1712.02560, steps A, B, C.
    """

    def __init__(self, *turns: Turn) -> None:
        self.turns = turns
        self._read = Counter(name.lstrip("-") for turn in turns for name in turn.losses)

    def __call__(self, step: Step) -> dict[str, float]:
        trained = {id(p) for p in step.parameters()}
        for turn in self.turns:
            wanted = [p for g in turn.groups for p in _group(step.model, g) if id(p) in trained]
            names = frozenset(name.lstrip("-") for name in turn.losses)
            for _ in range(turn.times):
                for i, share in enumerate(step.shares):
                    terms = step.terms(i, names)
                    losses = terms.flat()
                    total = torch.stack([-losses[n[1:]] if n.startswith("-") else losses[n] for n in turn.losses]).sum()
                    (total * share).backward(inputs=wanted)
                    step.note(Terms({n: losses[n] / self._read[n] for n in names}), share / turn.times)
                step.apply()
        return step.logs


def _group(model: Model, name: str) -> list[nn.Parameter]:
    if name == "backbone":
        return list(model.backbone.parameters())
    if name == "heads":
        return list(model.heads.parameters())
    return list(model.parts[name].parameters())
