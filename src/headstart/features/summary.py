"""Summary statistics of series: what can be said of one without a network."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from headstart.data.dataset import Dataset


def summary(series: np.ndarray) -> np.ndarray:
    """Mean, deviation, least and largest value of each channel, missing values left out.

    Parameters
    ----------
    series
        (T, C).

    Returns
    -------
    np.ndarray
        (4C,): all means, then all deviations, minima, maxima; 0 for a channel without values.

    >>> summary(np.array([[1.0, 5.0], [3.0, np.nan]])).tolist()
    [2.0, 5.0, 1.0, 0.0, 1.0, 5.0, 3.0, 5.0]
    """
    known = ~np.isnan(series)
    count = np.maximum(known.sum(0), 1)
    filled = np.where(known, series, 0.0)
    mean = filled.sum(0) / count
    deviation = np.sqrt((np.where(known, series - mean, 0.0) ** 2).sum(0) / count)
    low = np.where(known.any(0), np.where(known, series, np.inf).min(0), 0.0)
    high = np.where(known.any(0), np.where(known, series, -np.inf).max(0), 0.0)
    return np.concatenate([mean, deviation, low, high])


def summaries(data: Dataset) -> Tensor:
    """(N, 4C) float32 summaries of a data set of series."""
    return torch.from_numpy(np.stack([summary(data.read(i).inputs) for i in range(len(data))]).astype(np.float32))
