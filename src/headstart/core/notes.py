"""Notes: what Headstart decided or noticed by itself and the user should be able to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

MOST_NAMED = 200
"""Samples that a note names."""


@dataclass(frozen=True)
class Note:
    """One statement for the report: `level`, the `topic` it belongs to, and the text itself.

    `todo` says what to do about it, `samples` names those it is about, and `count` says how many there are.
    """

    level: Literal["info", "warning"]
    topic: str
    text: str
    todo: str = ""
    samples: tuple[str, ...] = ()
    count: int = 0


@dataclass
class Notes:
    """An ordered list of notes without repetitions."""

    items: list[Note] = field(default_factory=list)

    def info(self, topic: str, text: str) -> None:
        self._add(Note("info", topic, text))

    def warn(self, topic: str, text: str, todo: str = "", samples: Sequence[str] = ()) -> None:
        self._add(Note("warning", topic, text, todo, tuple(samples[:MOST_NAMED]), len(samples)))

    def extend(self, other: Notes, of: str = "") -> None:
        """Take over notes; with `of`, each says of which data set it is."""
        for note in other.items:
            self._add(replace(note, text=f"{of}: {note.text}") if of else note)

    def _add(self, note: Note) -> None:
        if note not in self.items:
            self.items.append(note)

    def as_json(self) -> list[dict[str, Any]]:
        """`level`, `topic` and `text` of each; `todo`, `samples` and `count` where there are any."""
        return [{name: value for name, value in asdict(note).items() if value} for note in self.items]

    @classmethod
    def from_json(cls, rows: Sequence[Mapping[str, Any]]) -> Notes:
        return cls([Note(**{**row, "samples": tuple(row.get("samples", ()))}) for row in rows])
