"""The contract of balancing methods: losses, and what else a method asks for, become one weight per task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from headstart.core.errors import ConfigError

Reduction = Literal["sum", "mean"]


@dataclass(frozen=True)
class Seen:
    """What a balancing method may look at in one step; made float64, on the CPU, without a graph.

    Attributes
    ----------
    losses
        (T,) of each task; 0 for a task of which the batch has no label.
    gramian
        (T, T) inner products of the tasks' gradients; None where none were measured.
    epoch
        Number of the epoch.
    seed
        Of the step, for methods that draw.
    """

    losses: Tensor
    gramian: Tensor | None = None
    epoch: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("losses", "gramian"):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, values.detach().to("cpu", torch.float64))

    @cached_property
    def present(self) -> Tensor:
        """(T,) bool: tasks that take part. One without a label in the batch has neither loss nor gradient."""
        there = self.losses != 0
        return there if self.gramian is None else there & (self.gramian.diagonal() > 0)


class Balancer:
    """Weighs tasks. Subclass, override `weigh`, and `learn`, `state` and `load_state` where something is learned.

    Libraries differ by a factor T in the weights of one and the same method, and a learning rate holds for one of
    them only. So every method here says with which scale it was published, and gives the scale that is asked for.

    Parameters
    ----------
    reduction
        "sum": weights of a sum of losses, of which equal weighting gives each a 1, so that a rate holds for all
        methods alike; "mean": of their mean, of which it gives each a 1 / T. T counts the tasks that take part.

    Attributes
    ----------
    needs
        "losses": one backward pass; or "gramian", inner products of the tasks' gradients.
    applies
        "losses": weights count for the whole network; "gradients": for what is shared, and every task's own
        parameters get the gradient of its own loss.
    published
        The scale of the weights that `weigh` gives.
    looks_back
        Whether `learn` needs the losses of the same batch after the step, which takes a second forward pass.
    """

    needs: ClassVar[Literal["losses", "gramian"]] = "losses"
    applies: ClassVar[Literal["losses", "gradients"]] = "losses"
    published: ClassVar[Reduction] = "sum"
    looks_back: ClassVar[bool] = False

    def __init__(self, reduction: Reduction = "sum") -> None:
        if reduction not in ("sum", "mean"):
            raise ConfigError(f"There is no reduction {reduction!r}.", "Choose sum or mean.")
        self.reduction = reduction

    def __call__(self, seen: Seen) -> Tensor:
        """(T,) weights; 0 for tasks that take no part."""
        at = seen.present.nonzero()[:, 0]
        weights = torch.zeros_like(seen.losses)
        if len(at):
            factor = 1.0
            if self.reduction != self.published:
                factor = len(at) if self.reduction == "sum" else 1 / len(at)
            weights[at] = self.weigh(seen, at) * factor
        return weights

    def weigh(self, seen: Seen, at: Tensor) -> Tensor:
        """(n,) weights, in the published scale, of the n tasks that take part.

        Parameters
        ----------
        seen
            Of all T tasks.
        at
            (n,) positions of those that take part.
        """
        raise NotImplementedError

    def learn(self, seen: Seen, after: Tensor | None = None) -> None:
        """Called once after every step.

        Parameters
        ----------
        seen
            As weighed; where gradients are accumulated, the mean over micro-batches.
        after
            (T,) losses of the same batch after the step, for methods that look back.
        """

    def state(self) -> dict[str, Any]:
        """Everything learned, as tensors and JSON; goes into checkpoints."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""


class GradientBalancer(Balancer):
    """Weighs by the Gramian of the tasks' gradients."""

    needs = "gramian"
    applies = "gradients"

    def weigh(self, seen: Seen, at: Tensor) -> Tensor:
        if seen.gramian is None:
            raise ValueError("this method weighs by the Gramian of the tasks' gradients")
        return self.from_gramian(seen.gramian[at][:, at], at, seen.seed)

    def from_gramian(self, gramian: Tensor, at: Tensor, seed: int) -> Tensor:
        """(n,) weights in the published scale from an (n, n) Gramian with a positive diagonal."""
        raise NotImplementedError
