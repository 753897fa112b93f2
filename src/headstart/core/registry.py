"""One registry for every method: strategies, regularizers, adaptation, balancing, schedules, augmentations.

A method is registered where it is written, with its source, its defaults per family of networks and what it
needs; `headstart methods` prints this table and `tests/contract` runs one shared check suite over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headstart.core.errors import ConfigError, did_you_mean

FAMILIES = ("cnn", "transformer", "rnn")


@dataclass(frozen=True)
class Method:
    """What is known about a method without running it."""

    kind: str
    name: str
    summary: str
    source: str
    build: Callable[..., Any]
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()

    def defaults_for(self, family: str) -> dict[str, Any]:
        """Defaults of one family: those given for `any`, overridden by the family's own."""
        return {**self.defaults.get("any", {}), **self.defaults.get(family, {})}


_methods: dict[tuple[str, str], Method] = {}


def register(
    kind: str,
    name: str,
    *,
    summary: str,
    source: str,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
    needs: Iterable[str] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that enters a class or function into the registry.

    Parameters
    ----------
    kind
        "strategy", "objective", "update", "schedule", "augmentation", "pretraining", "regularizer", "adaptation",
        "balancing", "architecture" or "engine".
    name
        The name users type; unique within its kind.
    summary, source
        One line of what it does; the paper or code that it comes from.
    defaults
        `{family: {option: value}}`, with family one of cnn, transformer, rnn or any.
    needs
        What a run must provide, such as "teacher" or "source_head".
    """
    defaults = defaults or {}
    unknown = set(defaults) - {*FAMILIES, "any"}
    if unknown:
        raise ValueError(f"{kind} {name!r}: unknown families {sorted(unknown)}")
    if not summary or not source:
        raise ValueError(f"{kind} {name!r} needs a summary and a source")

    def enter(build: Callable[..., Any]) -> Callable[..., Any]:
        key = (kind, name)
        if key in _methods and _methods[key].build.__qualname__ != build.__qualname__:
            raise ValueError(f"{kind} {name!r} is registered twice")
        _methods[key] = Method(kind, name, summary, source, build, defaults, frozenset(needs))
        return build

    return enter


def get(kind: str, name: str) -> Method:
    """The method `name` of a kind; an unknown name is a `ConfigError` that lists near names."""
    try:
        return _methods[kind, name]
    except KeyError:
        known = [n for k, n in _methods if k == kind]
        raise ConfigError(f"Unknown {kind} {name!r}.", did_you_mean(name, known)) from None


def methods(kind: str | None = None) -> list[Method]:
    """Every registered method, ordered by kind and registration."""
    kinds = list(dict.fromkeys(m.kind for m in _methods.values()))
    return sorted((m for m in _methods.values() if kind in (None, m.kind)), key=lambda m: kinds.index(m.kind))


def names(kind: str) -> list[str]:
    """Names of the methods of a kind, in order of registration."""
    return [name for k, name in _methods if k == kind]
