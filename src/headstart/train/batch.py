"""Batches and the feeds that make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from headstart.models.backbone import State

Order = Literal["shuffle", "balanced", "length", "stream"]


@dataclass
class Batch:
    """Some samples of one feed.

    Attributes
    ----------
    ids
        Of the samples, in order.
    views
        View name -> collated state.
    labels
        Task -> (B,) long, (B,) float or (B, C) float. Empty where the feed masks labels.
    present
        Task -> (B,) bool, which samples have that label.
    after
        The cut that the views are states of; None before the first stage.
    index
        (B,) positions in the data set.
    begun
        Whether the views are what `Backbone.begin` gives (inputs that a method has mixed).
    """

    ids: Sequence[str]
    views: dict[str, State]
    labels: dict[str, Tensor] = field(default_factory=dict)
    present: dict[str, Tensor] = field(default_factory=dict)
    after: str | None = None
    index: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    begun: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        move = {k: {n: t.to(device, non_blocking=True) for n, t in s.items()} for k, s in self.views.items()}
        labels = {k: v.to(device, non_blocking=True) for k, v in self.labels.items()}
        present = {k: v.to(device, non_blocking=True) for k, v in self.present.items()}
        return Batch(self.ids, move, labels, present, self.after, self.index, self.begun)


@dataclass(frozen=True)
class Feed:
    """Which samples an objective wants, and how.

    Attributes
    ----------
    name
        Key of the batch in `losses`.
    part
        Part of the data: "train", "source", "target" ...
    labels
        Whether labels are given; if not, they are masked before anything of the method sees them.
    views
        Views of each sample: "plain" (deterministic), "train", "weak", "strong".
    order
        "shuffle"; "balanced" (classes equally often); "length" (similar lengths together); "stream" (row i of a
        batch continues row i of the batch before, for language models).
    size
        Batch size; None takes the phase's.
    temperature
        Of several joined data sets: how often each is drawn from (`headstart.train.sampling`, which says what an epoch
        is). None, and any other data: every sample once in an epoch.
    paces
        Whether this feed defines the epoch. Exactly one feed of a phase does; the others start again when they end.
    """

    name: str = "train"
    part: str = "train"
    labels: bool = True
    views: tuple[str, ...] = ("train",)
    order: Order = "shuffle"
    size: int | None = None
    temperature: float | None = None
    paces: bool = False


@dataclass
class Terms:
    """Named, unsummed losses of one step.

    Attributes
    ----------
    tasks
        Losses that balancing methods weigh.
    extra
        Losses that are only added: penalties.
    shared
        The representation that all tasks read, for gradients with respect to it.
    """

    tasks: dict[str, Tensor] = field(default_factory=dict)
    extra: dict[str, Tensor] = field(default_factory=dict)
    shared: Tensor | None = None

    def flat(self) -> dict[str, Tensor]:
        return {**self.tasks, **self.extra}

    def total(self) -> Tensor:
        return torch.stack([*self.flat().values()]).sum()
