"""Metrics of numbers.

Every function takes labels (N,), NaN where missing; outputs (N,) or (N, 1); and, for bootstraps, weights (B,
N).
"""

from __future__ import annotations

import numpy as np

from headstart.measure.weighting import Array, over_samples, ratio


def _errors(labels: Array, outputs: Array) -> Array:
    return outputs.reshape(len(labels)).astype(float) - labels.reshape(len(labels)).astype(float)


@over_samples
def mae(labels: Array, outputs: Array, weights: Array) -> Array:
    """Mean absolute error, in the units of the label.

    >>> mae([1.0, 2.0, np.nan], [1.5, 2.0, 0.0])
    0.25
    """
    return ratio(weights @ np.abs(_errors(labels, outputs)), weights.sum(axis=1))


@over_samples
def rmse(labels: Array, outputs: Array, weights: Array) -> Array:
    """Root of the mean squared error, in the units of the label.

    >>> rmse([0.0, 0.0], [3.0, 4.0])
    3.5355339059327378
    """
    return np.sqrt(ratio(weights @ _errors(labels, outputs) ** 2, weights.sum(axis=1)))


@over_samples
def r2(labels: Array, outputs: Array, weights: Array) -> Array:
    """Share of the variance of the labels that is explained; undefined where all labels are equal.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5
    """
    centred = labels.reshape(len(labels)).astype(float)
    centred = centred - centred.mean()
    squares, total = weights @ centred**2, weights.sum(axis=1)
    variation = squares - np.nan_to_num(ratio((weights @ centred) ** 2, total))
    # A resample of equal labels leaves only rounding.
    variation = np.where(variation > 1e-12 * squares, variation, 0.0)
    return 1 - ratio(weights @ _errors(labels, outputs) ** 2, variation)
