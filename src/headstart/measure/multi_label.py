"""Metrics where each sample has any of K labels.

Every function takes labels (N, K), zeros and ones, NaN where missing; outputs (N, K), probabilities
(predicted where at least 0.5); and, for bootstraps, weights (B, N). Single missing labels are left out, not
their whole sample.
"""

from __future__ import annotations

import numpy as np

from headstart.measure.ranking import average_precision
from headstart.measure.weighting import Array, mean_of_defined, over_samples, ratio

THRESHOLD = 0.5


def _counts(labels: Array, outputs: Array, weights: Array) -> tuple[Array, Array]:
    """Weight of true positives, and of labelled plus predicted positives, per label: each (B, K)."""
    present = ~np.isnan(labels)
    positive, predicted = labels > 0.5, (outputs >= THRESHOLD) & present
    return weights @ (positive & predicted), weights @ positive.astype(float) + weights @ predicted


@over_samples
def mean_average_precision(labels: Array, outputs: Array, weights: Array) -> Array:
    """Mean over labels of average precision; labels without a positive sample are left out.

    >>> mean_average_precision([[1, 0], [0, 0], [1, 0]], [[0.9, 0.1], [0.2, 0.3], [0.8, 0.1]])
    1.0
    """
    per_label = []
    for label in range(labels.shape[1]):
        use = ~np.isnan(labels[:, label])
        if (labels[use, label] > 0.5).any():
            scores, positive = outputs[use, label], labels[use, label] > 0.5
            per_label.append(average_precision(scores, positive, weights[:, use]))
    if not per_label:
        return np.full(len(weights), np.nan)
    return mean_of_defined(np.stack(per_label, axis=1))


@over_samples
def micro_f1(labels: Array, outputs: Array, weights: Array) -> Array:
    """F1 over all decisions together; undefined where nothing is labelled or predicted positive.

    >>> micro_f1([[1, 0], [1, 1]], [[0.9, 0.8], [0.9, 0.1]])
    0.6666666666666666
    """
    correct, both = _counts(labels, outputs, weights)
    return ratio(2 * correct.sum(axis=1), both.sum(axis=1))


@over_samples
def macro_f1(labels: Array, outputs: Array, weights: Array) -> Array:
    """Mean F1 of the labels that are positive or predicted somewhere; other labels are left out.

    >>> macro_f1([[1, 0], [1, 1]], [[0.9, 0.8], [0.9, 0.1]])
    0.5
    """
    correct, both = _counts(labels, outputs, weights)
    return mean_of_defined(ratio(2 * correct, both))


@over_samples
def subset_accuracy(labels: Array, outputs: Array, weights: Array) -> Array:
    """Share of samples with every label right, of those labels that are not missing.

    >>> subset_accuracy([[1, 0], [1, 1]], [[0.9, 0.2], [0.9, 0.1]])
    0.5
    """
    right = (labels > 0.5) == (outputs >= THRESHOLD)
    return ratio(weights @ (right | np.isnan(labels)).all(axis=1), weights.sum(axis=1))


@over_samples
def log_loss(labels: Array, outputs: Array, weights: Array) -> Array:
    """Mean binary log loss of the labels that are not missing; probabilities as in `single_label.log_loss`.

    >>> round(log_loss([[1.0, np.nan]], [[0.5, 0.1]]), 4)
    0.6931
    """
    losses = label_log_loss(labels, outputs)
    present = ~np.isnan(losses)
    return ratio(weights @ np.nan_to_num(losses).sum(axis=1), weights @ present.sum(axis=1))


def label_log_loss(labels: Array, outputs: Array) -> Array:
    """Log loss (N, K) of each label, NaN where it is missing."""
    p = np.where(labels > 0.5, outputs, 1 - outputs)
    losses = -np.log(np.clip(p, np.finfo(outputs.dtype).eps, None).astype(float))
    return np.where(np.isnan(labels), np.nan, losses)
