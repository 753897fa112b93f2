"""Metrics as functions of sample weights, so that a bootstrap is one call with a matrix of counts.

A metric is written for B rows of weights at once, (B, N) to (B,). Its value is the case of one row of ones; a
bootstrap resample is a row that says how often each sample was drawn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


class MetricFunction(Protocol):
    """What every metric looks like from outside."""

    __name__: str

    @overload
    def __call__(self, labels: ArrayLike, outputs: ArrayLike) -> float: ...
    @overload
    def __call__(self, labels: ArrayLike, outputs: ArrayLike, weights: ArrayLike) -> Array: ...


def missing_rows(labels: Array) -> Array:
    """Rows (N,) without any label: a negative class index, or nothing but NaN."""
    if labels.dtype.kind in "iu":
        return np.asarray(labels < 0 if labels.ndim == 1 else (labels < 0).all(axis=1))
    return np.asarray(np.isnan(labels) if labels.ndim == 1 else np.isnan(labels).all(axis=1))


def over_samples(function: Callable[[Array, Array, Array], Array]) -> MetricFunction:
    """Give a metric its common behaviour.

    Samples without a label are left out; without weights the result is a float; where no labelled sample is
    left or an output is not finite, the metric is undefined, which is NaN.
    """

    @functools.wraps(function)
    def metric(labels: ArrayLike, outputs: ArrayLike, weights: ArrayLike | None = None) -> float | Array:
        labels, outputs = np.asarray(labels), np.asarray(outputs)
        if len(labels) != len(outputs):
            raise ValueError(f"{len(labels)} labels and {len(outputs)} outputs")
        w = np.ones((1, len(labels))) if weights is None else np.asarray(weights, dtype=float)
        if w.ndim != 2 or w.shape[1] != len(labels):
            raise ValueError(f"weights must be (B, {len(labels)}), not {w.shape}")
        absent = missing_rows(labels)
        if absent.any():
            labels, outputs, w = labels[~absent], outputs[~absent], w[:, ~absent]
        if len(labels) == 0 or not np.isfinite(outputs).all():
            values = np.full(len(w), np.nan)
        else:
            values = function(labels, outputs, w)
        return float(values[0]) if weights is None else values

    return cast(MetricFunction, metric)


def ratio(above: Array, below: Array) -> Array:
    """above / below, NaN where nothing is below; no warnings.

    >>> ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])).tolist()
    [0.5, nan]
    """
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def mean_of_defined(values: Array) -> Array:
    """Mean over the last axis of what is not NaN; NaN where nothing is left.

    >>> mean_of_defined(np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]])).tolist()
    [2.0, nan]
    """
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))
