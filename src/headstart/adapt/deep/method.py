"""What a deep method is: an objective beside the source's cross-entropy, on batches of both domains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from headstart.models.model import Head, Model, Output
from headstart.train.batch import Batch, Feed, Order, Terms
from headstart.train.objective import Context, Objective

SOURCE, TARGET = "train", "target"
"""Names of the feeds: the source is what a plain fine-tuning trains on."""


@dataclass(frozen=True)
class Setting:
    """What every method needs to know.

    Attributes
    ----------
    task, classes
        Name of the task, and how many classes it has.
    view, order
        Of the batches of both domains.
    """

    task: str
    classes: int
    view: str = "train"
    order: Order = "shuffle"

    @property
    def target(self) -> Feed:
        """The target's feed: labels never enter it."""
        return Feed(TARGET, TARGET, labels=False, views=(self.view,), order=self.order)

    @property
    def target_alone(self) -> Feed:
        """The target's feed where no source is trained on: it says how long an epoch is."""
        return replace(self.target, paces=True)

    @property
    def source(self) -> Feed:
        """The source's feed, the same as plain fine-tuning has."""
        return Feed(SOURCE, SOURCE, views=(self.view,), order=self.order, paces=True)


class Alignment(Objective):
    """A loss of both domains that is added to the source's cross-entropy.

    Both domains go through the network one after the other, not as one batch: batch norms that are trained see each
    domain by itself, and gather running statistics of both.

    Parameters
    ----------
    setting
        Task, view.
    weight
        Of the loss.
    ramp
        Whether the weight grows from 0 as 2 / (1 + exp(-10 p)) - 1, with p the share of training that is done.

    Attributes
    ----------
    passes
        What a step costs: how many times both batches might go through the network and back in that time.
    """

    passes: int = 1
    name: ClassVar[str]

    def __init__(self, setting: Setting, weight: float = 1.0, ramp: bool = False) -> None:
        self.setting, self.weight, self.ramp = setting, weight, ramp
        self.feeds = (setting.source, setting.target)

    def losses(
        self, model: Model, batches: Mapping[str, Batch], ctx: Context, only: frozenset[str] | None = None
    ) -> Terms:
        source, target = batches[SOURCE], batches[TARGET]
        assert not target.labels, "labels of the target must be masked"
        s, t = model(source, self.setting.view), model(target, self.setting.view)
        y = source.labels[self.setting.task]
        weight = self.weight * (ramp(ctx.clock.progress) if self.ramp else 1.0)
        # Kernels and covariances of numbers with three digits are noise: only the network runs in a shorter format.
        with torch.autocast(s.features.device.type, enabled=False):
            return Terms(extra={self.name: weight * self.loss(model, in_float32(s), in_float32(t), y, ctx)})

    def loss(self, model: Model, source: Output, target: Output, y: Tensor, ctx: Context) -> Tensor:
        """A scalar, from the outputs of both domains and the source's labels."""
        raise NotImplementedError

    def chances(self, output: Output) -> Tensor:
        """(B, C) probabilities."""
        return output.logits[self.setting.task].float().softmax(1)


def in_float32(output: Output) -> Output:
    """Features and logits as float32; the same where they are."""
    logits = {task: z.float() for task, z in output.logits.items()}
    return replace(output, features=output.features.float(), logits=logits)


def ramp(progress: float) -> float:
    """2 / (1 + exp(-10 p)) - 1, from 0 to 1.

    Sources
    -------
    Y. Ganin et al., DANN, JMLR 17 (2016), section 5.2.

    >>> round(ramp(0.25), 6), round(ramp(0.5), 6)
    (0.848284, 0.986614)
    """
    return float(2 / (1 + np.exp(-10 * progress)) - 1)


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength  # type: ignore[attr-defined]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None  # type: ignore[attr-defined]


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """x as it is; its gradient times -strength (Ganin & Lempitsky 2015, arXiv 1409.7495)."""
    result: Tensor = _Reverse.apply(x, strength)
    return result


def discriminator(width: int, outputs: int = 1, hidden: int = 256) -> nn.Module:
    """Three layers from features to the logit of "source"."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def entropy(p: Tensor) -> Tensor:
    """(B,) entropies of (B, C) probabilities, in nats; the gradient stays finite where a probability is 0."""
    return -(p * p.clamp(min=1e-12).log()).sum(1)


def feature_width(ctx: Context) -> int:
    """Width of the features that the head reads."""
    head = ctx.model.head()
    return len(head.mean) if isinstance(head, Head) else int(next(head.parameters()).shape[1])


def standardised(model: Model, features: Tensor) -> Tensor:
    """Features in the units that the head reads them in, so that no distance depends on their scale."""
    head = model.head()
    return (features - head.mean) / head.scale if isinstance(head, Head) else features
