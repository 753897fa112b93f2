"""Phases and strategies: what is trained, at which rates, by what. Plain data; a strategy is a list of phases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Phase:
    """One stretch of training with fixed parameter groups.

    Attributes
    ----------
    name
        For logs.
    rates
        Stage name, "head" or part name -> learning rate. What is absent is frozen: no gradients, and the whole
        stage (norms, dropout, drop-path) in eval mode. "*" gives the rate of parts that are not named.
    epochs
        Length of the schedule.
    stop_after
        Epochs after which to stop although the schedule would go on; None runs it to its end.
    schedule, warmup
        Name of a schedule, and its share of warm-up (None: the schedule's own).
    batch_size, accumulate
        Samples per micro-batch, and micro-batches per step.
    weight_decay
        On weights of two or more dimensions only; norms and biases are spared.
    clip
        Largest gradient norm.
    bn
        "freeze" keeps the statistics of trained batch norms, "adapt" updates them.
    average
        Decay of an exponential moving average of the weights; None keeps none.
    patience
        Epochs without a better validation before stopping; None never stops early.
    validate_every
        Epochs from one validation to the next; the last epoch is always validated. None never validates.
    keep
        "best" ends with the weights that validated best (raw or averaged), "last" with the last raw weights,
        "average" with the averaged ones.
    cut
        The stage after which activations are kept and training resumes; None keeps nothing. The stages up to it
        must be frozen.
    views
        With a cut: how many views of each sample are kept, where they are drawn at random. Epoch e trains on view
        e modulo this; one or more for every epoch are the views that would be drawn without a cut.
    objective
        What is minimised: the labels' loss, or that of the family's pretraining on the inputs alone.
    label_smoothing
        Share of a supervised target that is spread over all classes.
    """

    name: str
    rates: Mapping[str, float]
    epochs: int
    stop_after: int | None = None
    schedule: str = "cosine"
    warmup: float | None = None
    batch_size: int = 32
    accumulate: int = 1
    weight_decay: float = 0.01
    clip: float | None = 1.0
    bn: Literal["freeze", "adapt"] = "freeze"
    average: float | None = None
    patience: int | None = None
    validate_every: int | None = 1
    keep: Literal["best", "last", "average"] = "best"
    cut: str | None = None
    views: int = 1
    objective: Literal["supervised", "pretraining"] = "supervised"
    label_smoothing: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "rates": dict(self.rates)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Phase:
        return cls(**values)


@dataclass(frozen=True)
class Strategy:
    """A named list of phases, with what `headstart fit` needs to know around them.

    Attributes
    ----------
    name
        "partial", "lp-ft", ...
    phases
        In order; each starts from the weights the one before kept.
    head
        "probe" starts the head from the exact probe's solution, "random" does not.
    notes
        Why rates and lengths are what they are.
    """

    name: str
    phases: tuple[Phase, ...]
    head: Literal["probe", "random"] = "probe"
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "phases": [p.as_json() for p in self.phases],
            "head": self.head,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Strategy:
        phases = tuple(Phase.from_json(p) for p in values["phases"])
        return cls(values["name"], phases, values["head"], tuple(values["notes"]))
