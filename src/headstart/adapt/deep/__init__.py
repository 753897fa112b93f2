"""Deep adaptation: objectives on both domains' batches, on the one loop. Importing this registers them.

Names joined by "+" are trained together, as in "cdan-e+mcc+pseudo-labels": one pass of each batch serves all.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from headstart.adapt.deep import adversarial, answers, moments, statistics
from headstart.adapt.deep.method import Alignment, Setting
from headstart.core.errors import ConfigError, did_you_mean
from headstart.core.registry import get, methods
from headstart.train.update import OneBackward, Update

__all__ = [
    "Alignment",
    "Recipe",
    "Setting",
    "adversarial",
    "answers",
    "build",
    "moments",
    "names",
    "statistics",
    "without_source",
]


@dataclass(frozen=True)
class Recipe:
    """How a method is trained.

    Attributes
    ----------
    objectives
        What it minimises; beside the source's cross-entropy unless `alone`.
    update
        How a step is made of them.
    alone
        Whether the source's cross-entropy has no place beside it.
    after_source
        Whether the network must have learned the source before.
    frozen_head
        Whether the head is left as it is.
    passes
        What a step costs: how many times both batches might go through the network and back in that time.
    """

    objectives: list[Alignment]
    update: Update
    alone: bool
    after_source: bool
    frozen_head: bool
    passes: int


def names(training: bool = True) -> list[str]:
    """Every method that moves the network; with `training` only those that train it."""
    found = [m for m in methods("adaptation") if "network" in m.needs]
    return [m.name for m in found if not training or "no training" not in m.needs]


def without_source() -> list[str]:
    """Every method that goes on from a trained network with inputs of the target alone."""
    return [m.name for m in methods("adaptation") if {"no source", "source if there is one"} & m.needs]


def build(name: str, setting: Setting, source: bool = True, **options: Any) -> Recipe:
    """The recipe of a method, or of several joined by "+".

    Parameters
    ----------
    name
        As `headstart methods --kind adaptation` lists them.
    source
        Whether there are source data; if not, only `without_source` methods can be built, each by itself.
    options
        What differs from the defaults; of several methods, each takes those that it has.

    Raises
    ------
    ConfigError
        If there is no such method or option, or methods are joined that cannot be.
    """
    parts = [p.strip() for p in name.split("+")]
    found = [get("adaptation", part) for part in parts]
    for method in found:
        if "network" not in method.needs or "no training" in method.needs:
            raise ConfigError(f"{method.name!r} trains no network.", f"Those that do: {', '.join(names())}.")
        if not source and method.name not in without_source():
            raise ConfigError(f"{method.name!r} needs source data.", f"Without: {', '.join(without_source())}.")
    known = {method.name: set(inspect.signature(method.build).parameters) - {"setting"} for method in found}
    for option in options:
        if not any(option in own for own in known.values()):
            raise ConfigError(f"{name!r} has no option {option!r}.", did_you_mean(option, set().union(*known.values())))
    objectives = [m.build(setting, **{k: v for k, v in options.items() if k in known[m.name]}) for m in found]
    alone = [p for p, o in zip(parts, objectives, strict=True) if not source or getattr(o, "alone", False)]
    if alone and len(parts) > 1:
        raise ConfigError(f"{alone[0]!r} has steps of its own and cannot be joined with others.", "Name it by itself.")
    if not source:
        objectives[0].feeds = (setting.target_alone,)
    if len(set(parts)) < len(parts):
        raise ConfigError(f"{name!r} names a method twice.", "Name each once.")
    first = objectives[0]
    return Recipe(
        objectives=objectives,
        update=first.update() if hasattr(first, "update") else OneBackward(),
        alone=bool(alone),
        after_source="source model" in found[0].needs,
        frozen_head=getattr(first, "frozen_head", False),
        passes=max(o.passes for o in objectives),
    )
