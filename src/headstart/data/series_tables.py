"""Long tables of series: a row per time step; and recordings that are cut into windows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from headstart.core.errors import ConfigError, DataError, did_you_mean
from headstart.core.notes import Notes
from headstart.data.raw import Raw
from headstart.data.series import SeriesSource, refuse_empty_channels
from headstart.data.tables import LABEL_COLUMNS, Table

_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_LENGTH = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$", re.IGNORECASE)
READING = ("id", "time", "window", "stride")
_GAP = 1.5
"""Two rows further apart than this many sampling periods do not belong to one piece of a recording."""


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


@dataclass
class _Piece:
    """An unbroken stretch of one recording; `label` and `group` have an entry per row."""

    recording: str
    values: np.ndarray
    times: np.ndarray | None
    labels: list[np.ndarray]
    group: np.ndarray | None


def read_series_table(table: Table, name: str, columns: SeriesColumns, labelled: bool = True) -> Raw:
    """Series out of a table with a row per time step.

    Without a window, the rows of one id are one series. With one, the rows of an id are a recording (without an id,
    the table is one) that is cut into windows of equal length; a window's label is that of most of its rows, the last
    incomplete window of a piece is left out, and windows never reach over a gap in time. Windows of one recording stay
    on one side of every split, unless a group is named that says otherwise.

    Raises
    ------
    DataError
        For columns that are not there or not numbers, times that do not grow, labels that differ within a series.
    ConfigError
        For lengths that cannot be read.
    """
    notes = Notes()
    asked = (*columns.channels, columns.id, columns.time, columns.group, *columns.labels)
    for column in asked:
        if column is not None and column not in table.names:
            hint = did_you_mean(column, table.names) or f"It has: {', '.join(table.names[:20])}."
            raise DataError(f"{name} has no column {column!r}.", hint)
    if columns.window is None and columns.id is None:
        raise DataError(
            f"Which rows of {name} belong to one series?",
            "Name the column with --id, or cut the recording into windows: --window 2s (or 128, for steps).",
        )
    labels = _label_columns(table, columns, name, notes) if labelled else ()
    channels = columns.channels or _numeric(table, {columns.id, columns.time, columns.group, *labels}, name, notes)
    values = np.column_stack([_numbers(table, c, name) for c in channels]).astype(np.float32)
    pieces = _pieces(table, name, columns, labels, values)
    period = _period(pieces)
    if columns.window is not None:
        pieces = [part for piece in pieces for part in _unbroken(piece, period)]
        made = _windows(pieces, columns, period, notes)
    else:
        made = [(p.recording, p.values, [_constant(p, i, labels) for i in range(len(labels))], p.group) for p in pieces]
    if not made:
        raise DataError(
            f"{name} gives no series: every recording is shorter than the window.", "Use a shorter --window."
        )
    ids, series, found, groups = zip(*made, strict=True)
    refuse_empty_channels(series, channels, name)
    raw = Raw(name, SeriesSource(series, ids), list(ids), inputs=tuple(channels), period=period, notes=notes)
    raw.reading = {k: v for k in READING if (v := getattr(columns, k)) is not None}
    raw.columns = {label: [row[i] for row in found] for i, label in enumerate(labels)}
    if columns.group is not None:
        raw.groups = [None if g is None else g[0] for g in groups]
    elif columns.window is not None:
        raw.groups = [identity.rpartition("@")[0] for identity in ids]
        if len(set(raw.groups)) > 1:
            notes.info("split", "Windows of one recording stay on one side of every split.")
        else:
            raw.groups = None
            notes.warn(
                "split",
                "All windows come from one recording: neighbours stand on both sides of the split, which flatters. "
                "Name --id or --group.",
            )
    return raw


def window_steps(text: str, period: float | None, option: str) -> int:
    """How many steps a length of time is: "2s", "500 ms", "128".

    >>> window_steps("2s", 0.02, "--window"), window_steps("128", None, "--window")
    (100, 128)

    Raises
    ------
    ConfigError
        For text that is no length, or a time where the table has none.
    """
    match = _LENGTH.match(text)
    unit = match.group(2).lower() if match else ""
    if match is None or (unit and unit not in _UNITS):
        raise ConfigError(f"{option} cannot be {text!r}.", "Write 2s, 500ms, 1min, or a number of steps such as 128.")
    amount = float(match.group(1))
    if unit and period is None:
        raise ConfigError(f"{option} is a time, and no column of times is named.", "Add --time COLUMN, or give steps.")
    steps = round(amount * _UNITS[unit] / period) if unit and period else round(amount)
    if steps < 1:
        raise ConfigError(f"{option} {text} is shorter than one time step.", "Use a longer one.")
    return steps


def _label_columns(table: Table, columns: SeriesColumns, name: str, notes: Notes) -> tuple[str, ...]:
    if columns.labels:
        return columns.labels
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
    return found


def _is_numeric(table: Table, column: str) -> bool:
    cells = table.lazy(column)
    some = [cells[i] for i in range(min(50, len(table)))]
    return any(_number(c) for c in some) and all(_number(c) or c is None or pd.isna(c) for c in some)


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


def _pieces(table: Table, name: str, columns: SeriesColumns, labels: Sequence[str], values: np.ndarray) -> list[_Piece]:
    """The rows of each id, in the order of the table; times within one must grow."""
    keys = [""] * len(table) if columns.id is None else [str(v) for v in table.values(columns.id)]
    numbers, names = pd.factorize(pd.Series(keys))
    times = None if columns.time is None else _times(table, columns.time, name)
    label_values = [np.array(table.values(label), dtype=object) for label in labels]
    groups = None if columns.group is None else np.array(table.values(columns.group), dtype=object)
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(len(names) + 1))
    pieces = []
    for i, key in enumerate(names):
        rows = order[bounds[i] : bounds[i + 1]]
        t = None if times is None else times[rows]
        if t is not None and (back := np.flatnonzero(np.diff(t) <= 0)).size:
            row, after = int(rows[back[0] + 1]), "repeats" if t[back[0] + 1] == t[back[0]] else "lies before"
            of = f" of {columns.id} {key!r}" if columns.id else ""
            raise DataError(
                f"{name}, row {row}: the time{of} {after} the one above it.",
                "Sort the rows by id and time, and give every time step once.",
            )
        group = None if groups is None else groups[rows]
        pieces.append(_Piece(key or name, values[rows], t, [v[rows] for v in label_values], group))
    return pieces


def _period(pieces: Sequence[_Piece]) -> float | None:
    """Median time between two rows, in seconds; None without times."""
    steps = [np.diff(p.times) for p in pieces if p.times is not None and len(p.times) > 1]
    return float(np.median(np.concatenate(steps))) if steps else None


def _unbroken(piece: _Piece, period: float | None) -> list[_Piece]:
    """A recording cut where time jumps."""
    if piece.times is None or period is None:
        return [piece]
    breaks = np.flatnonzero(np.diff(piece.times) > _GAP * period) + 1
    bounds = [0, *breaks.tolist(), len(piece.values)]
    return [
        _Piece(
            piece.recording,
            piece.values[a:b],
            piece.times[a:b],
            [v[a:b] for v in piece.labels],
            None if piece.group is None else piece.group[a:b],
        )
        for a, b in pairwise(bounds)
    ]


def _windows(
    pieces: Sequence[_Piece], columns: SeriesColumns, period: float | None, notes: Notes
) -> list[tuple[str, np.ndarray, list[Any], np.ndarray | None]]:
    assert columns.window is not None
    length = window_steps(columns.window, period, "--window")
    stride = length if columns.stride is None else window_steps(columns.stride, period, "--stride")
    made: list[tuple[str, np.ndarray, list[Any], np.ndarray | None]] = []
    numbers: dict[str, int] = {}
    lost = total = 0
    for piece in pieces:
        count = max(0, (len(piece.values) - length) // stride + 1)
        used = (count - 1) * stride + length if count else 0
        lost, total = lost + max(0, len(piece.values) - used), total + len(piece.values)
        for k in range(count):
            part = slice(k * stride, k * stride + length)
            number = numbers.get(piece.recording, 0)
            numbers[piece.recording] = number + 1
            group = None if piece.group is None else piece.group[part]
            found = [_majority(v[part]) for v in piece.labels]
            made.append((f"{piece.recording}@{number}", piece.values[part], found, group))
    if lost:
        notes.info("windows", f"{lost} of {total} time steps fill no whole window of {length} steps and are left out.")
    return made


def _majority(values: np.ndarray) -> Any:
    """The most frequent label, the later one where two are equally frequent; None where all are missing."""
    known = [v for v in values if not pd.isna(v)]
    counts: dict[Any, int] = {}
    for value in known:
        counts[value] = counts.get(value, 0) + 1
    return max(reversed(known), key=lambda v: counts[v]) if known else None


def _constant(piece: _Piece, i: int, labels: Sequence[str]) -> Any:
    known = [v for v in piece.labels[i] if not pd.isna(v)]
    different = next((v for v in known if v != known[0]), None)
    if different is not None:
        raise DataError(
            f"The series {piece.recording!r} has several values of {labels[i]!r}: {known[0]!r} and {different!r}.",
            "A series has one label; cut recordings whose label changes with --window.",
        )
    return known[0] if known else None
