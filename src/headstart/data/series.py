"""Time series: (T, C) float32, NaN where a value is missing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from headstart.core.errors import DataError
from headstart.data.source import BadSample, Source

if TYPE_CHECKING:
    from headstart.data.dataset import Dataset


class BadSeries(BadSample):
    """One series cannot be used; `what` gives the reason."""


@dataclass(frozen=True)
class SeriesFact:
    """See `headstart.data.source.About`."""

    problem: str
    size: tuple[int, int]
    content: str


class SeriesSource(Source):
    """Series in memory; windows of a recording are views of it.

    Parameters
    ----------
    series
        (T, C) float32 arrays.
    names
        What to call each in messages; "row N" if not given.
    """

    modality = "sequence"
    one, many = "series", "series"

    def __init__(self, series: Sequence[np.ndarray], names: Sequence[str] | None = None) -> None:
        self.series = series
        self.names = names

    def __len__(self) -> int:
        return len(self.series)

    def read(self, row: int, size_hint: int | None = None) -> np.ndarray:
        values = self.series[row]
        if problem := _problem(values):
            raise BadSeries(problem)
        return values

    def describe(self, row: int) -> str:
        return f"row {row}" if self.names is None else self.names[row]

    @cached_property
    def facts(self) -> list[SeriesFact]:
        return [_fact(values) for values in self.series]


def _fact(values: np.ndarray) -> SeriesFact:
    size = (int(values.shape[0]), int(values.shape[1]))
    digest = hashlib.blake2b(repr(size).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(values).tobytes())
    return SeriesFact(_problem(values), size, digest.hexdigest())


def _problem(values: np.ndarray) -> str:
    if not values.shape[0]:
        return "it has no time steps"
    if np.isinf(values).any():
        return "it contains infinite values"
    if np.isnan(values).all():
        return "all its values are missing"
    return ""


def as_float32(values: np.ndarray) -> np.ndarray:
    """Numbers as float32; what is too large for it becomes infinite, which `SeriesSource` refuses by name."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def refuse_empty_channels(series: Sequence[np.ndarray], channels: Sequence[str], name: str) -> None:
    """Refuse data one of whose channels has no value anywhere.

    Raises
    ------
    DataError
        Naming the channels.
    """
    known = np.zeros(len(channels), bool)
    if not any(map(len, series)):
        # Each is refused for its own sake, which says more.
        return
    for values in series:
        if values.shape[1] == len(known):
            known |= ~np.isnan(values).all(axis=0) if len(values) else False
        if known.all():
            return
    empty = ", ".join(repr(channels[int(i)]) for i in np.flatnonzero(~known))
    if len(empty):
        raise DataError(f"In {name} the channel {empty} has no value at all.", "Leave it out.")


def channel_statistics(data: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel over all time steps of the samples, missing values left out.

    A constant channel gets the deviation 1, a channel without values the mean 0.
    """
    channels = data.schema.channels or 1
    count, total, squares = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    # Shifted by the first series' mean, so that squares of large offsets do not cancel.
    with np.errstate(invalid="ignore"):
        first = data.read(0).inputs.astype(np.float64) if len(data) else np.zeros((1, channels))
        known = ~np.isnan(first)
        shift = np.where(known, first, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    for i in range(len(data)):
        values = data.read(i).inputs.astype(np.float64) - shift
        known = ~np.isnan(values)
        values = np.where(known, values, 0.0)
        count += known.sum(0)
        total += values.sum(0)
        squares += (values**2).sum(0)
    mean = total / np.maximum(count, 1)
    std = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0.0))
    std = np.where(std > 1e-8 * np.abs(mean + shift), std, 1.0)
    return tuple((mean + shift).tolist()), tuple(std.tolist())
