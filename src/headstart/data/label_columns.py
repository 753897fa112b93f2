"""What a person wrote about label columns: `age:regression`, `hat+scarf`, `city`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from headstart.core.errors import DataError, did_you_mean
from headstart.data.tasks import TaskOption

ORDINAL = "ordinal"
"""Steps of a scale, written as numbers: learned as regression on these numbers, so that near misses cost less."""


@dataclass(frozen=True)
class LabelColumn:
    """One task of a table.

    Attributes
    ----------
    name
        Of the task.
    columns
        One column; or several of 0 and 1 that are one multi-label task.
    kind
        As the user said, or "auto".
    """

    name: str
    columns: tuple[str, ...]
    kind: TaskOption = "auto"


def label_columns(asked: Sequence[str], there: Sequence[str], table: str) -> list[LabelColumn]:
    """Read what was asked for, in order.

    `city` is a column; `age:regression` says its kind (single-label, multi-label, regression, or ordinal, which is
    regression on the numbers of the scale); `hat+scarf` are columns of 0 and 1 that are one multi-label task. A column
    that is really called so, with its colon or plus, wins.

    Raises
    ------
    DataError
        For a column that is not there, a kind that is none, or two tasks with the same column.
    """
    found = [_read(text, there, table) for text in asked]
    owner: dict[str, str] = {}
    for text, one in zip(asked, found, strict=True):
        for column in one.columns:
            if column in owner:
                raise DataError(
                    f"Two tasks have the same label column {column!r}: {owner[column]} and {text}.",
                    "Name each column once.",
                )
            owner[column] = text
    return found


def _read(text: str, there: Sequence[str], table: str) -> LabelColumn:
    if text in there:
        return LabelColumn(text, (text,))
    name, colon, kind = text.rpartition(":")
    if not colon:
        name, kind = text, "auto"
    elif kind not in (*get_args(TaskOption), ORDINAL):
        raise _no_column(text, there, table)
    columns = (name,) if name in there else tuple(part.strip() for part in name.split("+"))
    for column in columns:
        if column not in there:
            raise _no_column(column, there, table)
    if len(columns) > 1 and kind not in ("auto", "multi-label"):
        raise DataError(f"{text}: columns joined by + are one multi-label task.", "Name one column for other kinds.")
    chosen = "regression" if kind == ORDINAL else "multi-label" if len(columns) > 1 else kind
    return LabelColumn(name, columns, chosen)  # type: ignore[arg-type]


def _no_column(name: str, there: Sequence[str], table: str) -> DataError:
    hint = did_you_mean(name, there) or f"It has: {', '.join(there[:20])}."
    return DataError(f"{table} has no column {name!r}.", hint)
