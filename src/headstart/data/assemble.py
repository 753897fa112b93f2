"""From data as found to a `Dataset`: bad samples out, labels understood, parts and columns checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from headstart.core.errors import DataError
from headstart.core.notes import Notes
from headstart.core.words import listed
from headstart.data.dataset import Content, Dataset
from headstart.data.facts import Facts
from headstart.data.raw import Raw
from headstart.data.schema import Schema, Task, missing
from headstart.data.source import About, ConcatSource
from headstart.data.tasks import TaskOption, check_variety, class_name, task_from_column, task_from_indicators

BAD_SHARE = 10
"""At most one in this many samples may be unreadable before data are refused (one always may)."""

_NAMED = 5


def assemble(raw: Raw, task: TaskOption = "auto", bad_samples: str = "skip", varied: bool = True) -> Dataset:
    """Make a data set, or say why not.

    Parameters
    ----------
    raw
        Data as found.
    task
        Kind of every task, or "auto".
    bad_samples
        "skip" or "refuse".
    varied
        Whether labels that do not differ are refused.

    Raises
    ------
    DataError
        If samples cannot be read beyond the limit, labels are missing everywhere, or nothing varies.
    """
    if not len(raw.source):
        raise DataError(
            f"{raw.name} is empty.", f"Give data with at least two classes and some {raw.source.many} of each."
        )
    notes = raw.notes
    facts = raw.source.facts
    rows = _readable(raw, facts, bad_samples)
    tasks, labels = [], {}
    for name, values in raw.columns.items():
        said: list[TaskOption] = [raw.kinds.get(name, "auto"), task, raw.usual_kind]
        kind = next((kind for kind in said if kind != "auto"), raw.usual_kind)
        found, full = _understand(raw, name, values, kind, rows)
        tasks.append(found)
        labels[found.name] = full
        if varied:
            check_variety(found, full[rows])
    _note_unlabelled(tasks, labels, rows, raw.ids, notes)
    content = Content(
        raw.source,
        raw.ids,
        labels,
        groups=None if raw.groups is None else _group_names(raw.groups, raw.ids),
        times=None if raw.times is None else _seconds(raw.times, notes),
        parts=raw.parts,
        metadata=raw.metadata,
    )
    schema = Schema(
        raw.source.modality,
        tuple(tasks),
        group=None if raw.groups is None else "group",
        time=None if raw.times is None else "time",
        channels=channels_of(raw, facts, rows),
        inputs=tuple(raw.inputs),
        period=raw.period,
        reading=raw.reading,
    )
    dataset = Dataset(raw.name, schema, content, rows, notes)
    if len(set(dataset.ids)) < len(dataset):
        raise ValueError(f"{raw.name}: ids are not unique")
    return dataset


def channels_of(raw: Raw, facts: Sequence[About], rows: np.ndarray) -> int | None:
    """How many channels the samples have; None for texts.

    Raises
    ------
    DataError
        If series differ in their channels.
    """
    if raw.source.modality == "text":
        return None
    if raw.source.modality == "image":
        found = sorted({fact.channels for row in rows if isinstance(fact := facts[row], Facts)})
        if len(found) > 1:
            raw.notes.info(
                "pictures", f"Pictures have {' and '.join(map(str, found))} channels; grey ones become colour."
            )
        return found[-1]
    counts = np.array([facts[row].size[1] for row in rows])
    if len(np.unique(counts)) > 1:
        odd = int(rows[np.argmax(counts != counts[0])])
        raise DataError(
            f"The series have different numbers of channels: {raw.source.describe(int(rows[0]))} has {counts[0]}, "
            f"{raw.source.describe(odd)} has {facts[odd].size[1]}.",
            "Give every series the same channels; write NaN where one was not recorded.",
        )
    return int(counts[0])


def combine(raw: Raw, extras: Mapping[str, Raw], tables: Collection[str] | None = None) -> Raw:
    """Data with further parts that were given apart.

    Parameters
    ----------
    tables
        The parts whose columns have names, which must be those of `raw`; all if not said.

    Raises
    ------
    DataError
        If a part is given twice, or the label columns or the columns of the inputs differ.
    """
    raws, parts = [raw], [_parts(raw, "train")]
    for part, extra in extras.items():
        if raw.parts is not None and part in raw.parts:
            raise DataError(f"{raw.name} has a part {part!r} already, and another is given.", "Give one of them.")
        if set(extra.columns) != set(raw.columns):
            raise DataError(
                f"The {part} data have the labels {sorted(extra.columns)}, the training data {sorted(raw.columns)}.",
                "Name the label columns so that both have them.",
            )
        if tables is None or part in tables:
            _check_inputs(raw, part, extra)
        raws.append(extra)
        parts.append(np.full(len(extra.source), part))
    ids = [*raw.ids]
    for part, extra in extras.items():
        ids += [f"{part}:{name}" for name in extra.ids]
    notes = Notes()
    for each in raws:
        # How a part that is given apart would be split does not matter.
        notes.extend(each.notes if each is raw else Notes([n for n in each.notes.items if n.topic != "recordings"]))
    return Raw(
        raw.name,
        ConcatSource([each.source for each in raws]),
        ids,
        columns={name: _joined([each.columns[name] for each in raws]) for name in raw.columns},
        classes=_common_classes(raws),
        kinds=raw.kinds,
        usual_kind=raw.usual_kind,
        groups=_groups(raws),
        times=_all_or_none([each.times for each in raws]),
        parts=np.concatenate(parts),
        inputs=raw.inputs,
        period=raw.period,
        reading=raw.reading,
        metadata=_common_columns(raws),
        empty_classes=raw.empty_classes,
        notes=notes,
    )


def _check_inputs(raw: Raw, part: str, extra: Raw) -> None:
    """Refuse a part out of other columns, or the same in another order: it would be taken for what it is not."""
    mine, others = tuple(raw.inputs), tuple(extra.inputs)
    if mine and others and mine != others:
        raise DataError(
            f"The {part} data have their {raw.source.many} in {', '.join(others)}, the training data in "
            f"{', '.join(mine)}.",
            "Give both the same columns in the same order, or name the columns: --image, --text or --series.",
        )


class _Chain:
    """Columns one after the other, of which nothing is read before it is asked for."""

    def __init__(self, columns: Sequence[Any], lengths: Sequence[int]) -> None:
        self.columns, self.ends = columns, np.cumsum(lengths)

    def __getitem__(self, row: int) -> Any:
        which = int(np.searchsorted(self.ends, row, side="right"))
        return self.columns[which][row - (int(self.ends[which - 1]) if which else 0)]


def _common_columns(raws: Sequence[Raw]) -> dict[str, Any]:
    """Columns that all parts have."""
    lengths = [len(raw.source) for raw in raws]
    names = [name for name in raws[0].metadata if all(name in raw.metadata for raw in raws)]
    return {name: _Chain([raw.metadata[name] for raw in raws], lengths) for name in names}


def _readable(raw: Raw, facts: Sequence[About], bad_samples: str) -> np.ndarray:
    bad = [row for row, fact in enumerate(facts) if fact.problem]
    if bad:
        named = "; ".join(f"{raw.source.describe(row)}: {facts[row].problem}" for row in bad[:_NAMED])
        more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        text = f"{len(bad)} of {len(facts)} {raw.source.many} cannot be read: {named}{more}."
        limit = max(1, len(facts) // BAD_SHARE)
        if bad_samples == "refuse":
            raise DataError(text, "Repair or remove them, or let them be skipped (--bad-samples skip).")
        if len(bad) > limit or len(bad) == len(facts):
            raise DataError(text, f"At most {limit} would be skipped (a tenth). Repair or remove the others.")
        raw.notes.warn(
            raw.source.many,
            text.removesuffix(".") + (". It is left out." if len(bad) == 1 else ". They are left out."),
            "Repair them, or delete them.",
            [raw.source.describe(row) for row in bad],
        )
    return np.array([row for row, fact in enumerate(facts) if not fact.problem], dtype=np.int64)


def _understand(raw: Raw, name: str, values: Any, kind: TaskOption, rows: np.ndarray) -> tuple[Task, np.ndarray]:
    """One task, from the readable rows only: a class of which no sample can be read is no class."""
    classes = raw.classes.get(name)
    if isinstance(values, np.ndarray) and values.ndim == 2:
        task, labels = task_from_indicators(name, classes or [str(i) for i in range(values.shape[1])], values[rows])
        if missing(labels).all():
            raise DataError(f"No row has a label in {name!r}.", "Add labels.")
    else:
        chosen = [values[row] for row in rows]

        def describe(position: int) -> str:
            return raw.source.describe(int(rows[position]))

        task, labels = task_from_column(name, chosen, kind, raw.notes, classes, describe)
    full = np.full((len(raw.source), *labels.shape[1:]), -1 if labels.dtype.kind == "i" else np.nan, labels.dtype)
    full[rows] = labels
    return task, full


def _note_unlabelled(
    tasks: list[Task], labels: Mapping[str, np.ndarray], rows: np.ndarray, ids: Sequence[str], notes: Notes
) -> None:
    for task in tasks:
        without = rows[missing(labels[task.name][rows])]
        if count := len(without):
            what = f"have no label in {task.name!r}"
            if task.kind == "multi-label":
                what = f"have no labels, or lack one of {listed(task.classes)}"
            notes.warn(
                "labels",
                f"{count} of {len(rows)} rows {what}; training leaves them out.",
                "Label them, the more the better.",
                [ids[row] for row in without],
            )


def _group_names(values: Any, ids: Any) -> np.ndarray:
    """Groups as texts; a row without one is a group of its own."""
    # A gap makes decimal numbers of a whole column: patient 1.0 of a test table is patient 1 of the training table.
    found = [f"\0{name}" if pd.isna(value) else class_name(value) for value, name in zip(values, ids, strict=True)]
    return np.array(found)


def _seconds(values: Any, notes: Notes) -> np.ndarray:
    """Times as numbers: numbers stay, dates become seconds since 1970."""
    series = pd.Series(list(values))
    # Dates that are parsed already would count as numbers of an unknown unit.
    dated = series.map(lambda value: hasattr(value, "year"))
    numbers = pd.to_numeric(series.mask(dated).astype(object), errors="coerce")
    if numbers.isna().sum() > series.isna().sum():
        try:
            dates = pd.to_datetime(series, utc=True, format="mixed")
        except (ValueError, TypeError) as error:
            raise DataError(f"The time column cannot be read: {error}.", "Use numbers or dates (2026-01-31).") from None
        numbers = (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    gaps = int(numbers.isna().sum())
    if gaps == len(numbers):
        raise DataError("No row has a time.", "Name another column of times.")
    if gaps:
        notes.warn("split", f"{gaps} rows have no time; they count as the earliest.")
    return numbers.to_numpy(dtype=np.float64)


def _parts(raw: Raw, default: str) -> np.ndarray:
    return np.full(len(raw.source), default) if raw.parts is None else raw.parts


def _joined(columns: list[Any]) -> Any:
    if all(isinstance(column, np.ndarray) and column.ndim == 2 for column in columns):
        if len({column.shape[1] for column in columns}) > 1:
            raise DataError("The parts have different numbers of label columns.", "Give all the same columns.")
        return np.concatenate(columns)
    return [value for column in columns for value in column]


def _common_classes(raws: list[Raw]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for raw in raws:
        for name, classes in raw.classes.items():
            if name in found and list(found[name]) != list(classes):
                raise DataError(
                    f"The parts define different classes for {name!r}.",
                    "Give all parts the same class names.",
                )
            found[name] = classes
    return found


def _groups(raws: list[Raw]) -> Any:
    """Groups of all parts; samples of a part without groups have none, which leaves those of the others together."""
    if all(raw.groups is None for raw in raws):
        return None
    return [group for raw in raws for group in (raw.groups if raw.groups is not None else [None] * len(raw.source))]


def _all_or_none(columns: list[Any]) -> Any:
    """A column of times counts only where every part has it."""
    return None if any(c is None for c in columns) else [value for column in columns for value in column]
