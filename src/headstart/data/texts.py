"""Texts: where they come from, and what is known of each without keeping them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd

from headstart.core.errors import DataError
from headstart.core.progress import progress
from headstart.data.source import BadSample, Source

TEXT_SUFFIXES = frozenset({".txt", ".md", ".text"})

_HASH_BYTES = 16
_SPACES = re.compile(r"\s+")


class BadText(BadSample):
    """One text cannot be used; `what` gives the reason, without the name of the file or row."""


class TextFacts(Sequence["TextFact"]):
    """Facts of many texts in a few arrays: about 25 bytes a text, whatever its length."""

    def __init__(self, lengths: np.ndarray, hashes: np.ndarray, problems: dict[int, str]) -> None:
        self.lengths = lengths
        self.hashes = hashes
        self.problems = problems

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, row: int) -> TextFact: ...

    @overload
    def __getitem__(self, row: slice) -> list[TextFact]: ...

    def __getitem__(self, row: int | slice) -> TextFact | list[TextFact]:
        if isinstance(row, slice):
            return [TextFact(self, i) for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        return TextFact(self, row % len(self))


class TextFact:
    """Facts of one text; see `headstart.data.source.About`."""

    __slots__ = ("facts", "row")

    def __init__(self, facts: TextFacts, row: int) -> None:
        self.facts = facts
        self.row = row

    @property
    def problem(self) -> str:
        return self.facts.problems.get(self.row, "")

    @property
    def size(self) -> tuple[int]:
        return (int(self.facts.lengths[self.row]),)

    @property
    def content(self) -> str:
        return self.facts.hashes[self.row].tobytes().hex()


class TextSource(Source):
    """One or two columns of texts.

    Parameters
    ----------
    columns
        Each gives a text by position; nothing is read before it is asked for, so a column may be larger than memory.
    """

    modality = "text"
    one, many = "text", "texts"

    def __init__(self, columns: Sequence[Any]) -> None:
        self.columns = list(columns)

    def __len__(self) -> int:
        return len(self.columns[0])

    def read(self, row: int, size_hint: int | None = None) -> str | tuple[str, str]:
        texts = [_text(column[row]) for column in self.columns]
        if not any(text.strip() for text in texts):
            raise BadText("it is empty")
        return texts[0] if len(texts) == 1 else (texts[0], texts[1])

    @cached_property
    def facts(self) -> TextFacts:
        count = len(self)
        lengths, hashes = np.zeros(count, np.int32), np.zeros((count, _HASH_BYTES), np.uint8)
        problems: dict[int, str] = {}
        with progress().task("Reading texts", count) as advance:
            for row in range(count):
                try:
                    found = self.read(row)
                except BadText as bad:
                    problems[row] = bad.what
                else:
                    texts = (found,) if isinstance(found, str) else found
                    lengths[row] = sum(map(len, texts))
                    digest = hashlib.blake2b("\0".join(map(plain, texts)).encode(), digest_size=_HASH_BYTES).digest()
                    hashes[row] = np.frombuffer(digest, np.uint8)
                if row % 1000 == 999:
                    advance(1000)
            advance(count % 1000)
        return TextFacts(lengths, hashes, problems)


class TextFiles(Sequence[str]):
    """Text files, read when asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: Any) -> Any:
        return read_text(self.paths[row])


class TextFileSource(TextSource):
    """Texts in files of their own."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__([TextFiles(paths)])
        self.paths = list(paths)

    def describe(self, row: int) -> str:
        return str(self.paths[row])


def read_text(path: Path) -> str:
    """The content of a UTF-8 file.

    Raises
    ------
    BadText
        When it is none, naming line and byte; or when it cannot be opened.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadText(f"it cannot be read ({error.strerror or error})") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadText(f"line {line} is not UTF-8 (byte 0x{content[error.start]:02x})") from None


def plain(text: str) -> str:
    """A text without what does not change its meaning: NFKC, lower case, single spaces. Copies are equal in it.

    >>> plain("  Ein  Café\\n")
    'ein café'
    """
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text)).strip().casefold()


def as_columns(texts: Sequence[Any]) -> list[Sequence[Any]]:
    """A list of texts as one column, a list of pairs as two; absent entries stay absent.

    Raises
    ------
    DataError
        If some entries are pairs and others are not.
    """
    first = next((text for text in texts if not is_absent(text)), None)
    if not isinstance(first, tuple | list | np.ndarray):
        return [texts]
    for row, pair in enumerate(texts):
        if not is_absent(pair) and (not isinstance(pair, tuple | list | np.ndarray) or len(pair) != 2):
            raise DataError(f"Entry {row} is not a pair of texts.", "Give (text, text) for every sample.")
    return [[None if is_absent(pair) else pair[side] for pair in texts] for side in (0, 1)]


def is_absent(cell: Any) -> bool:
    """Whether there is nothing: None, NaN, or what pandas has for them."""
    return cell is None or bool(pd.api.types.is_scalar(cell) and pd.isna(cell))


def _text(cell: Any) -> str:
    if isinstance(cell, str):
        return str(cell)
    if is_absent(cell):
        return ""
    raise BadText(f"{str(cell)[:40]!r} is a {type(cell).__name__} and no text")
