"""Series out of arrays: one of equal lengths, or a list of unequal ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.core.errors import DataError
from headstart.data.raw import Raw
from headstart.data.series import SeriesSource, refuse_empty_channels


def read_series_arrays(x: Any, y: Any = None, name: str = "arrays") -> Raw:
    """Series and labels of the same length.

    Parameters
    ----------
    x
        (N, T, C) or (N, T) array or tensor; or a list of (T, C) or (T,) arrays of any lengths.
    y
        (N,) labels; None for prediction.

    Raises
    ------
    DataError
        If the shapes are no series' shapes, or the lengths differ.
    """
    series = as_series(x)
    if y is not None and len(y) != len(series):
        raise DataError(f"There are {len(series)} series, but {len(y)} labels.", "Give one label per series.")
    channels = [str(c) for c in range(series[0].shape[1])] if len(series) else []
    refuse_empty_channels(series, channels, name)
    labels = y.detach().cpu().numpy() if hasattr(y, "detach") else y
    columns = {} if y is None else {"label": labels.tolist() if hasattr(labels, "tolist") else list(labels)}
    ids = [str(i) for i in range(len(series))]
    return Raw(name, SeriesSource(series), ids, columns, inputs=channels)


def as_series(x: Any) -> list[np.ndarray]:
    """A list of (T, C) float32 arrays.

    Raises
    ------
    DataError
        If an entry is neither (T,) nor (T, C).
    """
    rows = x.detach().cpu().numpy() if hasattr(x, "detach") else x
    made = []
    for i, row in enumerate(rows):
        try:
            values = np.asarray(row.detach().cpu() if hasattr(row, "detach") else row, dtype=np.float32)
        except (ValueError, TypeError):
            raise DataError(f"Series {i} is no array of numbers.", "Give (T, C) or (T,) arrays.") from None
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2:
            raise DataError(f"Series {i} has the shape {values.shape}.", "Give (T, C) or (T,) arrays.")
        made.append(values)
    return made
