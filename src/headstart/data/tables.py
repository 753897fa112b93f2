"""Tables: which column holds pictures or texts, which labels; pandas frames and Arrow tables alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from headstart.core.errors import DataError, did_you_mean
from headstart.core.notes import Notes
from headstart.data.folders import check_names
from headstart.data.label_columns import LabelColumn, label_columns
from headstart.data.picture_sources import CellSource, FileSource, PictureSource
from headstart.data.pictures import PICTURE_SUFFIXES
from headstart.data.raw import Raw
from headstart.data.schema import Modality
from headstart.data.source import Source
from headstart.data.tasks import TaskOption, looks_binary
from headstart.data.text_columns import guess_text
from headstart.data.texts import TextSource

if TYPE_CHECKING:
    import datasets

PICTURE_COLUMNS = [
    "image",
    "img",
    "picture",
    "photo",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "path",
    "image_path",
]
LABEL_COLUMNS = [
    "label",
    "labels",
    "class",
    "target",
    "category",
    "y",
    "sentiment",
    "stars",
    "rating",
    "topic",
    "intent",
    "score",
    "activity",
]

_LOOKED_AT = 20


@dataclass(frozen=True)
class Columns:
    """Which columns the user named; None or empty where a guess is wanted."""

    modality: Modality | None = None
    image: str | None = None
    text: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    task: TaskOption = "auto"


class Table(Protocol):
    """What is asked of a table."""

    names: list[str]

    def __len__(self) -> int: ...

    def cells(self, name: str) -> Any:
        """Something with a length and `[row]`; pictures are not read before they are asked for."""

    def lazy(self, name: str) -> Any:
        """A column of which nothing is read before its cells are asked for."""

    def values(self, name: str) -> list[Any]:
        """A whole column, for labels, groups and times."""

    def holds_pictures(self, name: str) -> bool:
        """Whether the table itself says that this column holds pictures."""

    def classes(self, name: str) -> Sequence[str] | None:
        """Class names in index order, where the table defines them."""


class FrameTable:
    """A pandas frame."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self.names = [str(name) for name in frame.columns]

    def __len__(self) -> int:
        return len(self.frame)

    def cells(self, name: str) -> Any:
        return self.frame.iloc[:, self.names.index(name)].tolist()

    def lazy(self, name: str) -> Any:
        return self.frame.iloc[:, self.names.index(name)].array

    def values(self, name: str) -> list[Any]:
        return self.frame.iloc[:, self.names.index(name)].tolist()

    def holds_pictures(self, name: str) -> bool:
        return False

    def classes(self, name: str) -> Sequence[str] | None:
        return None


class ArrowTable:
    """A `datasets.Dataset`: memory-mapped, so it may be larger than memory."""

    def __init__(self, table: datasets.Dataset) -> None:
        import datasets

        self.names = list(table.column_names)
        self._features = table.features
        self._pictures = {n for n, feature in table.features.items() if isinstance(feature, datasets.Image)}
        for name in self._pictures:
            # Decoded here and not by the library, so that every source follows the same rules.
            table = table.cast_column(name, datasets.Image(decode=False))
        self._table = table.with_format(None)

    def __len__(self) -> int:
        return len(self._table)

    def to_pandas(self) -> pd.DataFrame:
        """The whole table in memory."""
        return self._table.to_pandas()

    def cells(self, name: str) -> Any:
        if getattr(self._features[name], "dtype", "") in ("string", "large_string"):
            return self.values(name)
        return self._table[name]

    def lazy(self, name: str) -> Any:
        return self._table[name]

    def values(self, name: str) -> list[Any]:
        found = list(self._table[name])
        inner = getattr(self._features[name], "feature", None)
        names = getattr(inner, "names", None)
        if names is None:
            return found
        return [None if row is None else [names[i] for i in row] for row in found]

    def holds_pictures(self, name: str) -> bool:
        return name in self._pictures

    def classes(self, name: str) -> Sequence[str] | None:
        return getattr(self._features[name], "names", None)


def read_table(table: Table, name: str, columns: Columns, root: Path) -> Raw:
    """Pictures or texts of a table, and labels.

    Parameters
    ----------
    table
        The table.
    name
        What the user called it.
    columns
        Which columns the user named.
    root
        Folder that relative picture paths start at.

    Raises
    ------
    DataError
        If a named column is not there, or a column has to be named.
    """
    notes = Notes()
    for asked in (columns.image, columns.group, columns.time, *columns.text):
        if asked is not None and asked not in table.names:
            hint = did_you_mean(asked, table.names) or f"It has: {', '.join(table.names[:20])}."
            raise DataError(f"{name} has no column {asked!r}.", hint)
    named = label_columns(columns.labels, table.names, name)
    taken = {columns.group, columns.time, *(column for one in named for column in one.columns)}
    inputs = _inputs(table, name, columns, taken, notes)
    for one in named:
        if both := set(one.columns) & set(inputs.names):
            raise DataError(f"The column {both.pop()!r} of {name} is named as input and as label.", "Name two columns.")
    if not named:
        guessed = _guess_label(table, name, {*taken, *inputs.names}, notes)
        named = [LabelColumn(guessed, (guessed,))]
    source, ids = _source(table, inputs, root)
    raw = Raw(name, source, ids, inputs=inputs.names, notes=notes)
    _fill_labels(raw, table, named, columns.task)
    used = {*inputs.names, *(column for one in named for column in one.columns), columns.time}
    raw.metadata = {c: table.lazy(c) for c in table.names if c not in used and not table.holds_pictures(c)}
    if columns.group is not None:
        raw.groups = table.values(columns.group)
    if columns.time is not None:
        raw.times = table.values(columns.time)
    return raw


def read_unlabelled(table: Table, name: str, columns: Columns, root: Path) -> Raw:
    """The pictures or texts of a table, whatever else it holds; for prediction."""
    notes = Notes()
    for asked in (columns.image, *columns.text):
        if asked is not None and asked not in table.names:
            hint = did_you_mean(asked, table.names) or f"It has: {', '.join(table.names[:20])}."
            raise DataError(f"{name} has no column {asked!r}, where the inputs should be.", hint)
    inputs = _inputs(table, name, columns, set(), notes)
    source, ids = _source(table, inputs, root)
    return Raw(name, source, ids, inputs=inputs.names, notes=notes)


@dataclass(frozen=True)
class _Inputs:
    modality: Modality
    names: tuple[str, ...]


def _inputs(table: Table, name: str, columns: Columns, taken: set[str | None], notes: Notes) -> _Inputs:
    """Which columns are the inputs: as named, else pictures where a column looks like it, else texts."""
    if columns.text or columns.modality == "text":
        return _Inputs("text", columns.text or _guess_texts(table, name, taken, notes))
    if columns.image or columns.modality == "image":
        return _Inputs("image", (columns.image or _guess_image(table, name, notes),))
    if image := _picture_column(table, notes):
        return _Inputs("image", (image,))
    return _Inputs("text", _guess_texts(table, name, taken, notes))


def _source(table: Table, inputs: _Inputs, root: Path) -> tuple[Source, list[str]]:
    if inputs.modality == "image":
        return _pictures(table, inputs.names[0], root)
    return TextSource([table.lazy(column) for column in inputs.names]), [str(row) for row in range(len(table))]


def _guess_texts(table: Table, name: str, taken: set[str | None], notes: Notes) -> tuple[str, ...]:
    # The label may hold words too: a column that is called like one is taken for texts only if nothing else is.
    free = [column for column in table.names if column not in taken]
    unlike = [column for column in free if column.lower() not in LABEL_COLUMNS]
    found = guess_text(table, unlike) or guess_text(table, free)
    if not found:
        raise DataError(
            f"No column of {name} looks like pictures or texts; it has: {', '.join(table.names[:20])}.",
            "Name it: image= (--image) for paths of pictures, text= (--text) for texts, series= (--series) for the "
            "channels of time series.",
        )
    columns = " and ".join(map(repr, found))
    notes.info("columns", f"Texts are taken from the column{'s' if len(found) > 1 else ''} {columns}.")
    return found


def _pictures(table: Table, image: str, root: Path) -> tuple[PictureSource, list[str]]:
    cells = table.cells(image)
    numbered = [str(row) for row in range(len(table))]
    if not (isinstance(cells, list) and cells and all(_is_path_or_missing(cell) for cell in cells)):
        return CellSource(cells, root), numbered
    named: list[str | None] = [None if pd.isna(cell) else str(cell) for cell in cells]
    paths = [root / (f"(row {row} names no picture)" if cell is None else cell) for row, cell in enumerate(named)]
    check_names([root.absolute(), *paths])
    # Two ways to write a path (a.png, ./a.png) are one name.
    names = [Path(cell).as_posix() for cell in named if cell is not None]
    return FileSource(paths), names if len(set(names)) == len(cells) else numbered


def _fill_labels(raw: Raw, table: Table, named: Sequence[LabelColumn], task: TaskOption) -> None:
    """Raw labels of every task. Several columns that are all 0 and 1, of no said kind, are one multi-label task."""
    plain = [one.columns[0] for one in named if len(one.columns) == 1 and one.kind == "auto"]
    binary = task == "multi-label" or (task == "auto" and all(looks_binary(table.values(column)) for column in plain))
    if len(named) > 1 and len(plain) == len(named) and binary:
        named = [LabelColumn("labels", tuple(plain), "multi-label")]
    columns: dict[str, Any] = {}
    for one in named:
        columns[one.name] = _indicators(table, one) if len(one.columns) > 1 else table.values(one.columns[0])
    raw.columns = columns
    raw.kinds = {one.name: one.kind for one in named}
    found = {one.name: one.columns if len(one.columns) > 1 else table.classes(one.columns[0]) for one in named}
    raw.classes = {name: classes for name, classes in found.items() if classes is not None}


def _indicators(table: Table, one: LabelColumn) -> np.ndarray:
    """(n, columns) of 0, 1 and NaN."""
    try:
        return np.array([pd.to_numeric(pd.Series(table.values(c))) for c in one.columns], dtype=np.float32).T
    except (ValueError, TypeError):
        raise DataError(
            f"The columns {', '.join(one.columns)} are not 0 and 1.", "Multi-label columns hold 0 or 1."
        ) from None


def _picture_column(table: Table, notes: Notes) -> str | None:
    """The column that looks like pictures, or None."""
    known = [column for column in table.names if table.holds_pictures(column)]
    if known:
        return known[0]
    by_name = [column for column in table.names if column.lower() in PICTURE_COLUMNS]
    for column in by_name + [column for column in table.names if column not in by_name]:
        if _looks_like_pictures(table, column):
            notes.info("columns", f"Pictures are taken from the column {column!r}.")
            return column
    return None


def _guess_image(table: Table, name: str, notes: Notes) -> str:
    if found := _picture_column(table, notes):
        return found
    by_name = [column for column in table.names if column.lower() in PICTURE_COLUMNS]
    if by_name:
        notes.info("columns", f"Pictures are taken from the column {by_name[0]!r}.")
        return by_name[0]
    raise DataError(
        f"No column of {name} looks like pictures; it has: {', '.join(table.names[:20])}.",
        "Name the column of picture paths with image=.",
    )


def _guess_label(table: Table, name: str, taken: set[str | None], notes: Notes) -> str:
    rest = [column for column in table.names if column not in taken]
    by_name = sorted(
        (column for column in rest if column.lower() in LABEL_COLUMNS),
        key=lambda column: LABEL_COLUMNS.index(column.lower()),
    )
    if not by_name and len(rest) != 1:
        listed = f"it has: {', '.join(rest[:20])}" if rest else "it has no other columns"
        raise DataError(
            f"Which column of {name} is the label? Beside the inputs {listed}.",
            "Name it: --label (label= in Python); several: --labels.",
        )
    chosen = by_name[0] if by_name else rest[0]
    notes.info("columns", f"Labels are taken from the column {chosen!r}.")
    return chosen


def _looks_like_pictures(table: Table, column: str) -> bool:
    cells = table.cells(column)
    some = [cell for cell in (cells[row] for row in range(min(_LOOKED_AT, len(table)))) if not _is_missing(cell)]
    return bool(some) and all(_is_picture(cell) for cell in some)


def _is_picture(cell: Any) -> bool:
    if isinstance(cell, str | Path):
        return Path(cell).suffix.lower() in PICTURE_SUFFIXES
    if isinstance(cell, dict):
        return "bytes" in cell
    if isinstance(cell, np.ndarray):
        return cell.ndim in (2, 3)
    return hasattr(cell, "getbands") or isinstance(cell, bytes)


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and np.isnan(cell))


def _is_path_or_missing(cell: Any) -> bool:
    return isinstance(cell, str | Path) or _is_missing(cell)
