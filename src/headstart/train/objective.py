"""The objective contract, and how several objectives share one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headstart.models.model import Model
from headstart.train.batch import Batch, Feed, Terms

if TYPE_CHECKING:
    from headstart.train.reader import Reader


@dataclass
class Clock:
    """Where training stands. `progress` runs from 0 to 1 over the phase."""

    epoch: int = 0
    step: int = 0
    steps_per_epoch: int = 1
    epochs: int = 1

    @property
    def progress(self) -> float:
        return min(1.0, self.step / max(1, self.steps_per_epoch * self.epochs))


@dataclass
class Context:
    """What an objective may look at besides its batches.

    Attributes
    ----------
    model, teacher
        The model being trained; a frozen copy of it from before the phase, for objectives that need one.
    reader
        Makes batches of any part.
    seed
        Of the run.
    carry
        Recurrent state from one batch of a stream to the next; emptied at every epoch.
    """

    model: Model
    reader: Reader
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    clock: Clock = field(default_factory=Clock)
    teacher: Model | None = None
    carry: dict[str, Tensor] = field(default_factory=dict)
    feeds: dict[str, Feed] = field(default_factory=dict)

    def sweep(self, feed: str, batch_size: int = 128) -> Iterator[Batch]:
        """Every sample of a feed once, in order, in its plain view; labels only where the feed has them."""
        wanted = self.feeds[feed]
        for batch in self.reader.sweep(wanted.part, batch_size, labels=wanted.labels):
            yield batch.to(self.device)


class Objective:
    """What a method minimises. Subclass and override what is needed; `losses` always is.

    Attributes
    ----------
    feeds
        The batches wanted at every step.
    needs
        "teacher" (a frozen copy of the model at the start), "source_head", "states" (outputs of all stages).
    """

    feeds: tuple[Feed, ...] = (Feed(paces=True),)
    needs: frozenset[str] = frozenset()

    def build(self, ctx: Context) -> dict[str, nn.Module]:
        """Modules that the method adds (a discriminator, a second head). Called once, before anything else."""
        return {}

    def prepare(self, ctx: Context) -> None:
        """Called once before the first step, with the model in eval mode (Fisher information, class relations)."""

    def epoch(self, ctx: Context) -> None:
        """Called before every epoch, with the model in eval mode (pseudo-labels)."""

    def losses(
        self, model: Model, batches: Mapping[str, Batch], ctx: Context, only: frozenset[str] | None = None
    ) -> Terms:
        """Named losses of one step; `only` names those that the update will read (others may be left out)."""
        raise NotImplementedError

    def after_step(self, ctx: Context, logs: Mapping[str, float]) -> None:
        """Called after the weights have moved."""

    def state(self) -> dict[str, Any]:
        """Everything learned by `prepare`, `epoch` or `after_step`, as tensors and JSON; goes into checkpoints."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""


def all_feeds(objectives: Sequence[Objective]) -> dict[str, Feed]:
    """Feeds of all objectives by name; the same name must mean the same feed.

    Raises
    ------
    ValueError
        When two objectives disagree about a feed, or not exactly one feed paces.
    """
    feeds: dict[str, Feed] = {}
    for objective in objectives:
        for feed in objective.feeds:
            if feeds.setdefault(feed.name, feed) != feed:
                raise ValueError(f"objectives disagree about feed {feed.name!r}: {feeds[feed.name]} and {feed}")
    if sum(f.paces for f in feeds.values()) != 1:
        raise ValueError(f"exactly one feed must define the epoch; got {[f.name for f in feeds.values() if f.paces]}")
    return feeds


def joint_losses(
    objectives: Sequence[Objective],
    model: Model,
    batches: Mapping[str, Batch],
    ctx: Context,
    only: frozenset[str] | None = None,
) -> Terms:
    """Terms of all objectives together, with one forward pass per (feed, view) however many there are.

    The tasks of the first objective stay tasks; what the others return as tasks is only added, unless they return
    their own `shared`.
    """
    joint = Terms()
    with model.sharing(keep_states=any("states" in o.needs for o in objectives)):
        for i, objective in enumerate(objectives):
            terms = objective.losses(model, batches, ctx, only)
            clash = set(joint.flat()) & set(terms.flat())
            if clash:
                raise ValueError(f"two objectives return a loss named {sorted(clash)[0]!r}")
            if i == 0 or terms.shared is not None:
                joint.tasks.update(terms.tasks)
            else:
                joint.extra.update(terms.tasks)
            joint.extra.update(terms.extra)
            joint.shared = terms.shared if terms.shared is not None else joint.shared
    return joint
