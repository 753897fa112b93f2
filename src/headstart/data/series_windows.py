"""Recordings of series cut into windows of equal length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from headstart.core.errors import ConfigError
from headstart.core.notes import Notes

_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_LENGTH = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$", re.IGNORECASE)
_GAP = 1.5
"""Two rows further apart than this many sampling periods do not belong to one piece of a recording."""


@dataclass
class Piece:
    """An unbroken stretch of one recording; `labels` (of each task) and `group` have an entry per row."""

    recording: str
    values: np.ndarray
    times: np.ndarray | None
    labels: list[np.ndarray]
    group: np.ndarray | None

    def rows(self, part: slice) -> Piece:
        """A stretch of it."""
        times = None if self.times is None else self.times[part]
        group = None if self.group is None else self.group[part]
        return Piece(self.recording, self.values[part], times, [v[part] for v in self.labels], group)


def sampling_period(pieces: Sequence[Piece]) -> float | None:
    """Median time between two rows, in seconds; None without times."""
    steps = [np.diff(p.times) for p in pieces if p.times is not None and len(p.times) > 1]
    return float(np.median(np.concatenate(steps))) if steps else None


def cut_windows(
    recordings: Sequence[Piece], window: str, stride: str | None, period: float | None, notes: Notes
) -> list[tuple[str, Piece]]:
    """Windows of equal length and their names, `RECORDING@NUMBER`.

    None reaches over a gap in time or from one group into another; what fills no whole window is left out, and noted.

    Raises
    ------
    ConfigError
        For lengths that cannot be read.
    """
    length = window_steps(window, period, "--window")
    step = length if stride is None else window_steps(stride, period, "--stride")
    made: list[tuple[str, Piece]] = []
    numbers: dict[str, int] = {}
    lost = total = 0
    for piece in (part for recording in recordings for part in _unbroken(recording, period)):
        count = max(0, (len(piece.values) - length) // step + 1)
        # A stride longer than the window skips rows on purpose; only the rest behind the last window is lost.
        used = min(len(piece.values), count * step) if step > length else (count - 1) * step + length if count else 0
        lost, total = lost + len(piece.values) - used, total + len(piece.values)
        for k in range(count):
            number = numbers.get(piece.recording, 0)
            numbers[piece.recording] = number + 1
            made.append((f"{piece.recording}@{number}", piece.rows(slice(k * step, k * step + length))))
    if lost:
        notes.info("windows", f"{lost} of {total} time steps fill no whole window of {length} steps and are left out.")
    return made


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
    if match is None or (unit and unit not in _UNITS) or (not unit and "." in text):
        raise ConfigError(f"{option} cannot be {text!r}.", "Write 2s, 500ms, 1min, or a number of steps such as 128.")
    amount = float(match.group(1))
    if unit and period is None:
        raise ConfigError(f"{option} is a time, and no column of times is named.", "Add --time COLUMN, or give steps.")
    steps = round(amount * _UNITS[unit] / period) if unit and period else round(amount)
    if steps < 1:
        raise ConfigError(f"{option} {text} is shorter than one time step.", "Use a longer one.")
    return steps


def majority(values: np.ndarray) -> Any:
    """The most frequent label, the later one where two are equally frequent; None where all are missing.

    >>> majority(np.array(["sit", "sit", "walk", "walk", None], dtype=object))
    'walk'
    """
    known = [v for v in values if not pd.isna(v)]
    counts: dict[Any, int] = {}
    for value in known:
        counts[value] = counts.get(value, 0) + 1
    return max(reversed(known), key=lambda v: counts[v]) if known else None


def _unbroken(recording: Piece, period: float | None) -> list[Piece]:
    """A recording cut where time jumps, and where the group changes."""
    apart = np.zeros(max(0, len(recording.values) - 1), bool)
    if recording.times is not None and period is not None:
        apart |= np.diff(recording.times) > _GAP * period
    if recording.group is not None:
        numbers = pd.factorize(pd.Series(recording.group))[0]
        apart |= np.diff(numbers) != 0
    bounds = [0, *(np.flatnonzero(apart) + 1).tolist(), len(recording.values)]
    return [recording.rows(slice(a, b)) for a, b in pairwise(bounds)]
