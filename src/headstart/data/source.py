"""Where samples of any modality come from: an ordered collection behind one `read`, and what is known of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from headstart.core.errors import DataError
from headstart.data.schema import Modality


class BadSample(DataError):
    """One sample cannot be read; `what` gives the reason, without the name of the file or row."""


class About(Protocol):
    """What is known about a sample without keeping it.

    Attributes
    ----------
    problem
        Why it cannot be used; empty if it can.
    size
        Pictures: (height, width); texts: (characters,); series: (time steps, channels).
    content
        A hash, equal exactly for exact copies.
    """

    @property
    def problem(self) -> str: ...

    @property
    def size(self) -> tuple[int, ...]: ...

    @property
    def content(self) -> str: ...


class Source(ABC):
    """An ordered collection of samples.

    `read(row)` gives what a sample of the modality is, or raises `BadSample`: a picture is (H, W, C), uint8 or
    float32 on the scale 0 to 1; a text is a `str`, a pair of texts a tuple of two; a series is (T, C) float32, NaN
    where a value is missing.

    Attributes
    ----------
    one, many
        What a sample is called in messages, and several of them.
    """

    modality: Modality
    one: str
    many: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, row: int, size_hint: int | None = None) -> Any: ...

    @property
    @abstractmethod
    def facts(self) -> Sequence[About]:
        """What is known of every sample; the first use reads them all once."""

    def describe(self, row: int) -> str:
        """What to call this sample in a message."""
        return f"row {row}"


class ConcatSource(Source):
    """Several sources of one modality, one after the other."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = list(sources)
        self.starts = np.cumsum([0, *(len(source) for source in self.sources)])
        self.modality, self.one, self.many = sources[0].modality, sources[0].one, sources[0].many

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, row: int, size_hint: int | None = None) -> Any:
        source, inner = self._find(row)
        return source.read(inner, size_hint)

    def describe(self, row: int) -> str:
        source, inner = self._find(row)
        return source.describe(inner)

    @cached_property
    def facts(self) -> Sequence[About]:
        return [facts for source in self.sources for facts in source.facts]

    def _find(self, row: int) -> tuple[Source, int]:
        which = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.sources[which], row - int(self.starts[which])


class RowsSource(Source):
    """Some rows of another source."""

    def __init__(self, source: Source, rows: np.ndarray) -> None:
        self.source = source
        self.rows = rows
        self.modality, self.one, self.many = source.modality, source.one, source.many

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, row: int, size_hint: int | None = None) -> Any:
        return self.source.read(int(self.rows[row]), size_hint)

    def describe(self, row: int) -> str:
        return self.source.describe(int(self.rows[row]))

    @cached_property
    def facts(self) -> Sequence[About]:
        facts = self.source.facts
        return [facts[int(row)] for row in self.rows]
