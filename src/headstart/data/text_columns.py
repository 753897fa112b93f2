"""Which columns of a table hold texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.data.scripts import unspaced_share

if TYPE_CHECKING:
    from headstart.data.tables import Table

TEXT_COLUMNS = (
    "text",
    "sentence",
    "review",
    "body",
    "content",
    "tweet",
    "message",
    "comment",
    "question",
    "document",
    "abstract",
    "description",
    "title",
)
PAIRS = (
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "answer"),
    ("query", "passage"),
)
"""Names of two columns that together are one sample."""

_LOOKED_AT = 50
_LEAST_LENGTH = 15
_UNSPACED_WEIGHT = 3
"""A character of a script without spaces says as much as about three letters."""


def guess_text(table: Table, names: list[str]) -> tuple[str, ...]:
    """The column (or the pair of columns) of texts among `names`; empty where none looks like texts.

    By name first; else the column of the longest texts, if they have 15 characters in the mean.
    """
    lower = {name.lower(): name for name in names}
    for pair in PAIRS:
        if all(part in lower and mean_length(table, lower[part]) for part in pair):
            return lower[pair[0]], lower[pair[1]]
    for known in TEXT_COLUMNS:
        if known in lower and mean_length(table, lower[known]):
            return (lower[known],)
    lengths = {name: mean_length(table, name) for name in names}
    best = max(lengths, key=lambda name: lengths[name], default=None)
    return (best,) if best is not None and lengths[best] >= _LEAST_LENGTH else ()


def mean_length(table: Table, name: str) -> float:
    """Mean length of the first texts of a column, in letters; 0 where it does not hold texts."""
    cells = table.lazy(name)
    some = [cell for cell in (cells[row] for row in range(min(_LOOKED_AT, len(table)))) if cell is not None]
    texts = [cell for cell in some if isinstance(cell, str)]
    if not texts or len(texts) < 0.5 * len(some):
        return 0.0
    return (1 + (_UNSPACED_WEIGHT - 1) * unspaced_share(texts)) * sum(map(len, texts)) / len(texts)
