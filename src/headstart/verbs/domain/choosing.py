"""Which methods are tried, which is taken, and when adaptation is refused; all without the target's labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart.adapt.deep import names as deep_names
from headstart.adapt.deep import without_source
from headstart.adapt.shallow import names as shallow_names
from headstart.adapt.validators import names as validators
from headstart.core.errors import ConfigError, did_you_mean
from headstart.core.words import counted
from headstart.measure import find_metric, paired_difference
from headstart.verbs.domain.attempt import Attempt, see
from headstart.verbs.domain.deep import SOURCE_MODEL, SOURCE_NETWORK, STATISTICS
from headstart.verbs.domain.pair import LABELLED, Pair
from headstart.verbs.domain.scoring import DEFAULT
from headstart.verbs.domain.shallow import SOURCE_ONLY
from headstart.verbs.evaluation import calibrated

AUTO = ("standardize", "coral", "self-training", "meda", "mcc")
"""The two floors' neighbours, and of each kind what did best between kinds of digits (docs/adaptation.md)."""

AUTO_WITHOUT_SOURCE = ("shot", "pseudo-labels", "tent")
FLOORS = (SOURCE_ONLY, SOURCE_NETWORK, SOURCE_MODEL)
"""What knows nothing of the target."""


@dataclass
class Choice:
    """What was taken.

    Attributes
    ----------
    taken
        The attempt that is handed back.
    best
        The best one that adapts, which is `taken` unless adaptation was refused.
    by
        The validator's name, or "target labels".
    values
        Attempt -> what decided.
    reasons
        In words.
    """

    taken: Attempt
    best: Attempt
    by: str
    values: dict[str, float]
    refused: str | None = None
    reasons: list[str] = field(default_factory=list)


def methods_to_try(asked: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """(shallow, deep) methods in the order they are run; the floors and the target's statistics always come first.

    Raises
    ------
    ConfigError
        For an unknown name, or one that cannot be trained with a source.
    """
    wanted = list(dict.fromkeys(m for name in asked for m in (AUTO if name == "auto" else (name,))))
    shallow, deep = shallow_names(), deep_names()
    for name in wanted:
        if name == "tent":
            raise ConfigError("TENT adapts while it predicts.", "Use `headstart predict RUN DATA --test-time tent`.")
        unknown = [part for part in name.split("+") if part not in (*shallow, *deep, STATISTICS)]
        if unknown:
            raise ConfigError(f"There is no method {unknown[0]!r}.", did_you_mean(unknown[0], [*shallow, *deep]))
    flat = [m for m in wanted if m in shallow]
    moving = [m for m in wanted if m not in shallow and m != STATISTICS]
    first = [SOURCE_ONLY, "standardize"]
    return list(dict.fromkeys([*first, *flat])), [SOURCE_NETWORK, STATISTICS, *moving] if moving else []


def methods_without_source(asked: tuple[str, ...]) -> list[str]:
    """The methods that were asked for, where a model stands for the source's data.

    Raises
    ------
    ConfigError
        For an unknown name, or one that needs source data.
    """
    wanted = list(dict.fromkeys(m for name in asked for m in (AUTO_WITHOUT_SOURCE if name == "auto" else (name,))))
    able, every = without_source(), [*shallow_names(), *deep_names(training=False)]
    for name in wanted:
        unknown = [part for part in name.split("+") if part not in every]
        if unknown:
            raise ConfigError(f"There is no method {unknown[0]!r}.", did_you_mean(unknown[0], able))
    unable = [name for name in wanted if name not in able]
    if unable:
        raise ConfigError(
            f"{', '.join(unable)} cannot be used without source data.",
            f"Give them with --source, or use {', '.join(able)}: these need a model and the target only.",
        )
    return [name for name in wanted if name != STATISTICS]


def validator_of(asked: str, source: bool = True) -> str:
    """The validator; "auto" is the default of the house.

    Raises
    ------
    ConfigError
        If there is none of that name, or it needs source data and there are none.
    """
    name = DEFAULT if asked == "auto" else asked
    if name not in validators():
        raise ConfigError(f"There is no validator {name!r}.", did_you_mean(name, validators(source)))
    if name not in validators(source):
        raise ConfigError(
            f"The validator {name!r} needs source data, and there are none.",
            f"Give them with --source, or use {', '.join(validators(source))}.",
        )
    return name


def choose(
    pair: Pair, attempts: list[Attempt], scores: dict[str, dict[str, float]], validator: str, models: Any
) -> Choice:
    """Take the best by the validator, or by the labels that were given of the target; refuse what is not better.

    `models` gives the model of an attempt.
    """
    if LABELLED in pair.job.parts:
        return _by_labels(pair, attempts, models)
    values = {a.name: scores[a.name][validator] for a in attempts}
    floor = max((a for a in attempts if a.name in FLOORS), key=lambda a: values[a.name])
    best = max((a for a in attempts if a.name not in FLOORS), key=lambda a: values[a.name])
    text = f"{best.name} has the best {validator} of {counted(len(attempts), 'attempt')}: {values[best.name]:.3f}, "
    text += f"{floor.name} {values[floor.name]:.3f}."
    if values[best.name] > values[floor.name]:
        return Choice(best, best, validator, values, reasons=[text])
    refused = (
        f"No adaptation is handed back: by {validator} none looks better on the target than {floor.name} "
        f"({values[floor.name]:.3f}; {best.name} {values[best.name]:.3f})."
    )
    return Choice(floor, best, validator, values, refused, [refused])


def _by_labels(pair: Pair, attempts: list[Attempt], models: Any) -> Choice:
    """By accuracy on a few labelled target samples; the best must be right more often than the best floor is.

    How sure that is, is said and decides nothing: a few labels show hardly any difference beyond doubt, and a
    validator, which would choose without them, knows less.
    """
    job = pair.job
    data = job.parts[LABELLED]
    named = data.schema.tasks[0].classes
    labels = np.array([job.task.classes.index(named[i]) for i in data.labels()])
    out = {a.name: calibrated(job.task, see(pair, models(a), LABELLED).logits, 1.0) for a in attempts}
    values = {name: float((p.argmax(1) == labels).mean()) for name, p in out.items()}
    floor = max((a for a in attempts if a.name in FLOORS), key=lambda a: values[a.name])
    best = max((a for a in attempts if a.name not in FLOORS), key=lambda a: values[a.name])
    gap = paired_difference(find_metric("single-label", "accuracy"), labels, out[best.name], out[floor.name])
    text = (
        f"On {len(labels)} labelled target samples {best.name} is right in {values[best.name]:.1%}, {floor.name} in "
        f"{values[floor.name]:.1%}"
    )
    if gap.low is not None:
        text += f" (difference {gap.value:+.3f}, 95% {gap.low:+.3f} to {gap.high:+.3f})"
    if values[best.name] > values[floor.name]:
        return Choice(best, best, "target labels", values, reasons=[text + "."])
    refused = f"No adaptation is handed back: {text[0].lower()}{text[1:]}."
    return Choice(floor, best, "target labels", values, refused, [refused])
