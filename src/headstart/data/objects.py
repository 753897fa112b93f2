"""Python objects: pandas frames, Hugging Face data sets, torch-like collections of (picture or text, label)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headstart.core.errors import DataError
from headstart.core.notes import Notes
from headstart.core.progress import progress
from headstart.data.arrays import label_column
from headstart.data.assemble import combine
from headstart.data.facts import Facts, facts_of_array
from headstart.data.folders import PART_NAMES
from headstart.data.picture_sources import PictureSource, cell_range, read_cell, whole_range
from headstart.data.pictures import PICTURE_SUFFIXES, BadPicture, Scale
from headstart.data.raw import Raw
from headstart.data.tables import ArrowTable, Columns, FrameTable, Table, read_table
from headstart.data.texts import TextSource, as_columns, is_absent

ACCEPTED = (
    "Accepted: a folder, a table file, (x, y) arrays, a pandas frame, a datasets.Dataset or DatasetDict, "
    "a torch Dataset of (picture, label), or 'sample:NAME'."
)


def read_object(source: Any, columns: Columns) -> Raw:
    """Read an object that holds pictures or texts, and labels.

    Raises
    ------
    DataError
        If it is none of the accepted kinds.
    """
    if is_table_dict(source):
        return read_parts(source, lambda table: read_object(table, columns))
    table = as_table(source)
    if table is not None:
        return read_table(table, type(source).__name__, columns, Path())
    if hasattr(source, "__getitem__") and hasattr(source, "__len__") and not isinstance(source, Mapping | str):
        return read_items(source)
    if hasattr(source, "__iter__") and not isinstance(source, Mapping):
        raise DataError(
            f"A {type(source).__name__} can only be iterated; data are read in any order.",
            "Give a map-style Dataset, with __len__ and __getitem__.",
        )
    raise DataError(f"A {type(source).__name__} is no data that Headstart knows.", ACCEPTED)


def read_inputs(source: Any) -> Raw:
    """The pictures of a collection, without labels."""
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        return Raw(type(source).__name__, ItemSource(source), [str(i) for i in range(len(source))])
    raise DataError(f"A {type(source).__name__} holds no pictures that Headstart knows.", ACCEPTED)


def as_table(source: Any) -> Table | None:
    """A pandas frame or `datasets.Dataset` as a table; None for anything else."""
    if isinstance(source, pd.DataFrame):
        return FrameTable(source)
    if hasattr(source, "column_names") and hasattr(source, "cast_column") and not isinstance(source, Mapping):
        return ArrowTable(source)
    return None


class ItemSource(PictureSource):
    """Somebody's collection whose `items[row]` is a picture or (picture, label, ...)."""

    def __init__(self, items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def read(self, row: int, size_hint: int | None = None) -> np.ndarray:
        return read_cell(_picture_of(self._item(row)), Path(), size_hint, self.scale)

    @cached_property
    def float_range(self) -> Scale | None:
        # A collection's pictures are of one kind; opening all that are files would take as long as reading them.
        rows = iter(range(len(self)))
        first = next((span for row in rows if (span := self._kind(row)) is not None), "")
        return whole_range(map(self._range, range(len(self)))) if first == "f" else None

    def _kind(self, row: int) -> str | None:
        """NumPy's letter for what a picture's values are; "" for what is no array, None where it cannot be read."""
        try:
            picture = _picture_of(self._item(row))
        except BadPicture:
            return None
        if hasattr(picture, "detach"):
            return "f" if picture.is_floating_point() else "u"
        return picture.dtype.kind if isinstance(picture, np.ndarray) else ""

    def _range(self, row: int) -> Scale | None:
        try:
            return cell_range(_picture_of(self._item(row)))
        except BadPicture:
            return None

    def _item(self, row: int) -> Any:
        try:
            return self.items[row]
        except OSError as error:
            raise BadPicture(f"it cannot be read ({error})") from None


def read_items(items: Any) -> Raw:
    """Read a map-style collection of (picture, label) once, in order: its labels, and facts of its pictures.

    Raises
    ------
    DataError
        If its items are not pairs.
    """
    if len(items) and is_text(_input_of(items, 0)):
        return _text_items(items)
    source, notes = ItemSource(items), Notes()
    labels: list[Any] = []
    facts: list[Facts] = []
    ranges: list[Scale | None] = []
    with progress().task("Reading pictures", len(source)) as advance:
        for row in range(len(source)):
            label, found, span = _look_at(source, row)
            labels.append(label)
            facts.append(found)
            ranges.append(span)
            advance()
    # They have all been looked at now, so they need not be read again for it.
    source.__dict__.update(facts=facts, float_range=whole_range(ranges))
    first = next((row for row, found in enumerate(facts) if not found.problem), None)
    if first is not None and _look_at(source, first)[1].pixels != facts[first].pixels:
        notes.warn(
            "pictures",
            "This data set gives another picture each time it is read (augmentation?): turn that off.",
        )
    names = getattr(items, "classes", None)
    columns: dict[str, Any] = {"label": _stacked(labels)}
    classes = {"label": [str(name) for name in names or ()]} if _are_indices(columns["label"], names) else {}
    ids = [str(row) for row in range(len(source))]
    return Raw(type(items).__name__, source, ids, columns, classes, notes=notes)


def is_text(value: Any) -> bool:
    """Whether a sample is a text (or a pair of them) and not the path of a picture."""
    if isinstance(value, tuple | list):
        return len(value) == 2 and all(map(is_text, value))
    return isinstance(value, str) and Path(value[-16:]).suffix.lower() not in PICTURE_SUFFIXES


def are_texts(values: Any) -> bool:
    """Whether a collection holds texts."""
    if not isinstance(values, list | tuple | np.ndarray | pd.Series):
        return False
    return is_text(next((value for value in values if not is_absent(value)), None))


def read_texts(texts: Sequence[Any], labels: Any) -> Raw:
    """Texts (or pairs of them) and labels, as two lists, arrays or columns of frames.

    Raises
    ------
    DataError
        If the lengths differ.
    """
    source, notes = TextSource(as_columns(list(texts))), Notes()
    columns = {"label": label_column(labels, len(source), "text", notes)}
    return Raw("texts", source, [str(i) for i in range(len(source))], columns, notes=notes)


def _text_items(items: Any) -> Raw:
    pairs = [items[row] for row in range(len(items))]
    raw = read_texts([pair[0] for pair in pairs], [_plain(pair[1]) for pair in pairs])
    raw.name = type(items).__name__
    names = getattr(items, "classes", None)
    if _are_indices(raw.columns["label"], names):
        raw.classes = {"label": [str(name) for name in names or ()]}
    return raw


def _input_of(items: Any, row: int) -> Any:
    item = items[row]
    return item[0] if isinstance(item, tuple | list) and len(item) >= 2 else None


def _look_at(source: ItemSource, row: int) -> tuple[Any, Facts, Scale | None]:
    """The label of an item, what its picture is as it stands, and the range of that if it is of floating point."""
    try:
        item = source._item(row)
        if not isinstance(item, tuple | list) or len(item) < 2:
            raise DataError(
                f"Item {row} is a {type(item).__name__}, not a (picture, label).",
                "Give pairs of picture and label.",
            )
        label = _plain(item[1])
    except BadPicture as bad:
        return None, Facts(problem=bad.what), None
    try:
        return label, facts_of_array(read_cell(item[0], Path())), cell_range(item[0])
    except BadPicture as bad:
        return label, Facts(problem=bad.what), None


def _picture_of(item: Any) -> Any:
    return item[0] if isinstance(item, tuple | list) else item


def _plain(label: Any) -> Any:
    if hasattr(label, "detach"):
        label = label.detach().cpu().numpy()
    if isinstance(label, np.ndarray | np.generic):
        return label.item() if label.ndim == 0 or label.size == 1 else np.asarray(label)
    return label


def _stacked(labels: list[Any]) -> Any:
    """Labels that are all vectors of one length become a table of indicators."""
    vectors = [label for label in labels if isinstance(label, np.ndarray)]
    if not vectors or any(label is not None and not isinstance(label, np.ndarray) for label in labels):
        return labels
    if len({vector.shape for vector in vectors}) > 1 or not np.isin(np.concatenate(vectors), (0, 1)).all():
        return labels
    blank = np.full(vectors[0].shape, np.nan, np.float32)
    return np.stack([blank if label is None else label.astype(np.float32) for label in labels])


def _are_indices(labels: Any, names: Sequence[Any] | None) -> bool:
    if not isinstance(names, list | tuple) or not names:
        return False
    if isinstance(labels, np.ndarray):
        return labels.shape[1] == len(names)
    known = [label for label in labels if label is not None]
    return all(isinstance(label, int) and 0 <= label < len(names) for label in known)


def is_table_dict(source: Any) -> bool:
    """Whether this is a dictionary of tables, one for each part."""
    return isinstance(source, Mapping) and bool(source) and all(as_table(t) is not None for t in source.values())


def read_parts(tables: Mapping[str, Any], read: Callable[[Any], Raw]) -> Raw:
    """A dictionary of tables: train, validation and test, each read by `read`."""
    if len(tables) == 1:
        return read(next(iter(tables.values())))
    parts = {PART_NAMES.get(str(name).lower(), ""): table for name, table in tables.items()}
    others = [str(name) for name in tables if str(name).lower() not in PART_NAMES]
    if "train" not in parts:
        raise DataError(f"There is no train part among {', '.join(map(str, tables))}.", "Call one of them 'train'.")
    raws = {part: read(table) for part, table in parts.items() if part}
    raw = combine(raws.pop("train"), raws)
    raw.name = type(tables).__name__
    if others:
        raw.notes.warn("split", f"Left out, being neither train, validation nor test: {', '.join(others)}.")
    return raw
