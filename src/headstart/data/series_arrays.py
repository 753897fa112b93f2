"""Series out of arrays: one of equal lengths, or a list of unequal ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.core.errors import DataError
from headstart.core.notes import Notes
from headstart.data.arrays import as_numpy, label_column
from headstart.data.raw import Raw
from headstart.data.series import SeriesSource, as_float32, refuse_empty_channels

_SHAPES = "Give (N, T, C) or (N, T), or a list of (T, C) or (T,) arrays."


def read_series_arrays(x: Any, y: Any = None, name: str = "arrays") -> Raw:
    """Series and labels of the same length.

    Parameters
    ----------
    x
        (N, T, C) or (N, T) array or tensor; or a list of (T, C) or (T,) arrays of any lengths.
    y
        (N,) labels, or (N, classes) of 0 and 1; None for prediction.

    Raises
    ------
    DataError
        If the shapes are no series' shapes, or the lengths differ.
    """
    series, notes = as_series(x), Notes()
    columns = {} if y is None else {"label": label_column(y, len(series), "series", notes)}
    channels = [str(c) for c in range(series[0].shape[1])] if series else []
    refuse_empty_channels(series, channels, name)
    ids = [str(i) for i in range(len(series))]
    return Raw(name, SeriesSource(series), ids, columns, inputs=channels, notes=notes)


def as_series(x: Any) -> list[np.ndarray]:
    """A list of (T, C) float32 arrays.

    Raises
    ------
    DataError
        If an entry is neither (T,) nor (T, C).
    """
    rows = as_numpy(x)
    if isinstance(rows, np.ndarray) and rows.dtype != object and rows.ndim not in (2, 3):
        raise DataError(f"An array of shape {rows.shape} holds no series.", _SHAPES)
    if not hasattr(rows, "__len__"):
        raise DataError(f"A {type(x).__name__} holds no series.", _SHAPES)
    made = []
    for i, row in enumerate(rows):
        try:
            values = np.asarray(as_numpy(row))
            if values.dtype.kind not in "biufOUS":
                raise TypeError(values.dtype)
            values = as_float32(values if values.dtype.kind in "biuf" else values.astype(np.float64))
        except (ValueError, TypeError):
            raise DataError(f"Series {i} is no array of numbers.", _SHAPES) from None
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2:
            raise DataError(f"Series {i} has the shape {values.shape}.", _SHAPES)
        made.append(values)
    return made
