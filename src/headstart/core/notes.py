"""Notes: what Headstart decided or noticed by itself and the user should be able to read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Literal


@dataclass(frozen=True)
class Note:
    """One statement for the report: `level`, the `topic` it belongs to, and the text itself."""

    level: Literal["info", "warning"]
    topic: str
    text: str


@dataclass
class Notes:
    """An ordered list of notes without repetitions."""

    items: list[Note] = field(default_factory=list)

    def info(self, topic: str, text: str) -> None:
        self._add(Note("info", topic, text))

    def warn(self, topic: str, text: str) -> None:
        self._add(Note("warning", topic, text))

    def extend(self, other: Notes, of: str = "") -> None:
        """Take over notes; with `of`, each says of which data set it is."""
        for note in other.items:
            self._add(replace(note, text=f"{of}: {note.text}") if of else note)

    def _add(self, note: Note) -> None:
        if note not in self.items:
            self.items.append(note)

    def as_json(self) -> list[dict[str, str]]:
        return [asdict(note) for note in self.items]

    @classmethod
    def from_json(cls, rows: list[dict[str, str]]) -> Notes:
        return cls([Note(**row) for row in rows])  # type: ignore[arg-type]
