"""Long tables of series: a row per time step; and recordings that are cut into windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from headstart.core.errors import ConfigError, DataError, did_you_mean
from headstart.core.notes import Notes
from headstart.data.label_columns import label_columns
from headstart.data.raw import Raw
from headstart.data.series import SeriesSource, as_float32, refuse_empty_channels
from headstart.data.series_windows import Piece, cut_windows, majority, sampling_period
from headstart.data.tables import LABEL_COLUMNS, Table

READING = ("id", "time", "window", "stride")
_LOOKED_AT = 50
"""Rows by which the columns of numbers are told."""


@dataclass(frozen=True)
class SeriesColumns:
    """What of a long table is what; see `LoadOptions`."""

    channels: tuple[str, ...] = ()
    id: str | None = None
    time: str | None = None
    labels: tuple[str, ...] = ()
    group: str | None = None
    window: str | None = None
    stride: str | None = None


def read_series_table(table: Table, name: str, columns: SeriesColumns, labelled: bool = True) -> Raw:
    """Series out of a table with a row per time step.

    Without a window, the rows of one id are one series. With one, the rows of an id are a recording (without an id,
    the rows of a group are one, and without a group the table) that is cut into windows of equal length; a window's
    label is that of most of its rows, the last incomplete window of a piece is left out, and windows never reach over a
    gap in time. Windows of one recording stay on one side of every split, unless a group is named that says otherwise.

    Raises
    ------
    DataError
        For columns that are not there or not numbers, rows without an id, times that do not grow, labels or groups that
        differ within a series.
    ConfigError
        For lengths that cannot be read, or a stride without a window.
    """
    notes = Notes()
    asked = (*columns.channels, columns.id, columns.time, columns.group)
    for column in asked:
        if column is not None and column not in table.names:
            hint = did_you_mean(column, table.names) or f"It has: {', '.join(table.names[:20])}."
            raise DataError(f"{name} has no column {column!r}.", hint)
    if not len(table):
        raise DataError(f"{name} is empty.", "Give a table with a row per time step.")
    if columns.window is None and columns.stride is not None:
        raise ConfigError("A stride is the way from window to window, and there is no window.", "Add --window.")
    if columns.window is None and columns.id is None:
        raise DataError(
            f"Which rows of {name} belong to one series?",
            "Name the column with --id, or cut the recording into windows: --window 2s (or 128, for steps).",
        )
    if columns.id is None:
        # Two people are two recordings, each with a clock of its own.
        columns = replace(columns, id=columns.group)
    named = label_columns(columns.labels, table.names, name) if labelled else []
    if joined := next((one.name for one in named if len(one.columns) > 1), None):
        raise DataError(f"Series have no joined label columns: {joined}.", "Name one column per task.")
    labels = tuple(one.name for one in named) or (_guessed_label(table, columns, name, notes) if labelled else ())
    channels = columns.channels or _numeric(table, {columns.id, columns.time, columns.group, *labels}, name, notes)
    values = np.column_stack([_numbers(table, c, name) for c in channels])
    recordings = _recordings(table, name, columns, labels, as_float32(values))
    period = sampling_period(recordings)
    if columns.window is None:
        ids = [r.recording for r in recordings]
        samples = recordings
        found = [[_constant(r, r.labels[i], label) for i, label in enumerate(labels)] for r in recordings]
        groups = [None if r.group is None else _constant(r, r.group, columns.group) for r in recordings]
    else:
        made = cut_windows(recordings, columns.window, columns.stride, period, notes)
        if not made:
            raise DataError(
                f"{name} gives no series: every recording is shorter than the window.", "Use a shorter --window."
            )
        ids, samples = [identity for identity, _ in made], [piece for _, piece in made]
        found = [[majority(v) for v in piece.labels] for piece in samples]
        groups = [piece.recording if piece.group is None else piece.group[0] for piece in samples]
    series = [piece.values for piece in samples]
    refuse_empty_channels(series, channels, name)
    raw = Raw(name, SeriesSource(series, ids), ids, inputs=tuple(channels), period=period, notes=notes)
    raw.reading = {k: v for k in READING if (v := getattr(columns, k)) is not None}
    raw.columns = {label: [row[i] for row in found] for i, label in enumerate(labels)}
    raw.kinds = {one.name: one.kind for one in named}
    if columns.group is not None or (columns.window is not None and len(set(groups)) > 1):
        raw.groups = groups
    if labelled and columns.window is not None and columns.group is None:
        _note_recordings(notes, len(set(groups)))
    return raw


def _note_recordings(notes: Notes, count: int) -> None:
    if count > 1:
        notes.info("recordings", "Windows of one recording stay on one side of every split.")
    else:
        notes.warn(
            "recordings",
            "All windows come from one recording: neighbours stand on both sides of the split, which flatters. "
            "Name --id or --group.",
        )


def _guessed_label(table: Table, columns: SeriesColumns, name: str, notes: Notes) -> tuple[str, ...]:
    taken = {columns.id, columns.time, columns.group, *columns.channels}
    known = [c for c in table.names if c not in taken and c.lower() in LABEL_COLUMNS]
    rest = [c for c in table.names if c not in taken] if columns.channels else []
    found = (known or (rest if len(rest) == 1 else []))[:1]
    if not found:
        raise DataError(
            f"Which column of {name} is the label? It has: {', '.join(table.names[:20])}.", "Name it: --label."
        )
    notes.info("columns", f"Labels are taken from the column {found[0]!r}.")
    return (found[0],)


def _numeric(table: Table, taken: set[str | None], name: str, notes: Notes) -> tuple[str, ...]:
    found = tuple(c for c in table.names if c not in taken and _is_numeric(table, c))
    if not found:
        raise DataError(f"{name} has no column of numbers besides those named.", "Name the channels: --series x,y,z.")
    notes.info("columns", f"Channels of the series: {', '.join(found)}.")
    empty = [c for c in table.names if c not in taken and c not in found and _is_empty(table, c)]
    if empty:
        notes.warn("columns", f"Columns without a value in their first rows are left out: {', '.join(empty)}.")
    return found


def _is_empty(table: Table, column: str) -> bool:
    cells = table.lazy(column)
    return all(pd.isna(cells[i]) for i in range(min(_LOOKED_AT, len(table))))


def _is_numeric(table: Table, column: str) -> bool:
    cells = table.lazy(column)
    some = [cells[i] for i in range(min(_LOOKED_AT, len(table)))]
    return any(_number(c) and not pd.isna(c) for c in some) and all(_number(c) or c is None or pd.isna(c) for c in some)


def _number(cell: Any) -> bool:
    return isinstance(cell, int | float | np.number) and not isinstance(cell, bool | np.bool_)


def _numbers(table: Table, column: str, name: str) -> np.ndarray:
    values = pd.Series(table.values(column), dtype=object)
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = numbers.isna() & values.notna()
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"{name}, row {row}: {column!r} is {values[row]!r}, not a number.", "Channels hold numbers.")
    return numbers.to_numpy(dtype=np.float64)


def _times(table: Table, column: str, name: str) -> np.ndarray:
    """Times in seconds: numbers as they are, dates since 1970."""
    series = pd.Series(table.values(column))
    if pd.api.types.is_timedelta64_dtype(series):
        series = series.dt.total_seconds()
    numbers = pd.to_numeric(series, errors="coerce") if not pd.api.types.is_datetime64_any_dtype(series) else None
    if numbers is None or numbers.isna().any():
        try:
            dates = pd.to_datetime(series, utc=True, format="mixed")
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{name}: the times in {column!r} cannot be read: {error}.", "Use seconds or dates."
            ) from None
        if dates.isna().any():
            row = int(np.flatnonzero(dates.isna())[0])
            raise DataError(f"{name}, row {row}: there is no time in {column!r}.", "Every row needs one.")
        numbers = (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return numbers.to_numpy(dtype=np.float64)


def _recordings(
    table: Table, name: str, columns: SeriesColumns, labels: Sequence[str], values: np.ndarray
) -> list[Piece]:
    """The rows of each id, in the order of the table; times within one must grow."""
    keys = ["recording"] * len(table) if columns.id is None else _identities(table, columns.id, name)
    numbers, names = pd.factorize(pd.Series(keys))
    times = None if columns.time is None else _times(table, columns.time, name)
    label_values = [np.array(table.values(label), dtype=object) for label in labels]
    groups = None if columns.group is None else np.array(table.values(columns.group), dtype=object)
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(len(names) + 1))
    recordings = []
    for i, key in enumerate(names):
        rows = order[bounds[i] : bounds[i + 1]]
        t = None if times is None else times[rows]
        if t is not None and (back := np.flatnonzero(np.diff(t) <= 0)).size:
            row, after = int(rows[back[0] + 1]), "repeats" if t[back[0] + 1] == t[back[0]] else "lies before"
            of = f" of {columns.id} {key!r}" if columns.id else ""
            raise DataError(
                f"{name}, row {row}: the time{of} {after} the one above it.",
                "Sort the rows by time and give every time step once; where several recordings follow one another, "
                "name the column that tells them apart with --id.",
            )
        group = None if groups is None else groups[rows]
        recordings.append(Piece(key, values[rows], t, [v[rows] for v in label_values], group))
    return recordings


def _identities(table: Table, column: str, name: str) -> list[str]:
    values = table.values(column)
    for row, value in enumerate(values):
        if value is None or pd.isna(value) or not str(value).strip():
            raise DataError(
                f"{name}, row {row}: there is no value in {column!r}, so it belongs to no series.",
                "Every row needs one.",
            )
    return [str(value) for value in values]


def _constant(recording: Piece, values: np.ndarray, column: str | None) -> Any:
    known = [v for v in values if not pd.isna(v)]
    different = next((v for v in known if v != known[0]), None)
    if different is not None:
        raise DataError(
            f"The series {recording.recording!r} has several values of {column!r}: {known[0]!r} and {different!r}.",
            "A series has one; cut recordings where it changes with --window.",
        )
    return known[0] if known else None
