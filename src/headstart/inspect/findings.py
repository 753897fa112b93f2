"""What an examination of data found, in words, with the samples and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["serious", "worth a look", "note"]
LEVELS: tuple[Level, ...] = ("serious", "worth a look", "note")

MOST_NAMED = 200
"""Samples that a finding names; it always tells how many there are."""


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes
    ----------
    topic
        What was looked at: "classes", "leakage", "labels", "outliers", "shift", "inputs", "distance".
    level
        How much it matters.
    text
        What was found, with numbers.
    todo
        What to do about it; empty where nothing is to be done.
    samples
        Ids of the samples it is about, the most telling first.
    count
        How many there are.
    """

    topic: str
    level: Level
    text: str
    todo: str = ""
    samples: tuple[str, ...] = ()
    count: int = 0

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "samples": list(self.samples)}


def finding(
    topic: str, level: Level, text: str, todo: str = "", samples: Sequence[str] = (), count: int | None = None
) -> Finding:
    """A finding about these samples, as many of them named as is useful; `count` where there are more than these."""
    return Finding(topic, level, text, todo, tuple(samples[:MOST_NAMED]), len(samples) if count is None else count)


def ranked(found: Sequence[Finding]) -> list[Finding]:
    """Most important first; within a level, what concerns more samples.

    >>> a, b = Finding("x", "note", "a"), Finding("x", "serious", "b")
    >>> [f.text for f in ranked([a, b])]
    ['b', 'a']
    """
    return sorted(found, key=lambda f: (LEVELS.index(f.level), -f.count))
