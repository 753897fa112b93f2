"""Metrics of a ranking by scores, for many rows of sample weights at once; ties as in scikit-learn."""

from __future__ import annotations

import numpy as np

from headstart.measure.weighting import Array, ratio

FEW_PAIRS = 300_000
"""Samples times those of the rarer side up to which comparing every pair is faster than sorting."""


def _ordered(scores: Array, positive: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Where groups of equal scores start, from the lowest score up; positives and weights in that order."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    return starts, positive[order].astype(bool), np.take(weights, order, axis=1)


def _groups(scores: Array, positive: Array, weights: Array) -> tuple[Array, Array]:
    """Weight (B, G) of positives and of negatives in each group of equal scores, from the lowest score up."""
    starts, positive, ordered = _ordered(scores, positive, weights)
    positives = np.add.reduceat(ordered * positive, starts, axis=1)
    return positives, np.add.reduceat(ordered, starts, axis=1) - positives


def area_under_roc(scores: Array, positive: Array, weights: Array) -> Array:
    """Probability that a positive sample scores higher than a negative one, ties counting half.

    Parameters
    ----------
    scores
        (N,), higher for positive.
    positive
        (N,) booleans.
    weights
        (B, N) sample weights.

    Returns
    -------
    Array
        (B,), NaN where positives or negatives are absent.
    """
    rarer = positive if 2 * np.count_nonzero(positive) <= len(positive) else ~np.asarray(positive, bool)
    if len(weights) > 1 and len(scores) * np.count_nonzero(rarer) <= FEW_PAIRS:
        won = _won_by(scores, rarer, weights)
        return won if rarer is positive else 1 - won
    starts, in_order, ordered = _ordered(scores, positive, weights)
    if len(starts) == len(scores):  # nothing is tied: a third of the time
        above = ordered[:, in_order]
        beaten = np.cumsum(ordered * ~in_order, axis=1)
        return ratio((above * beaten[:, in_order]).sum(axis=1), above.sum(axis=1) * beaten[:, -1])
    positives, negatives = _groups(scores, positive, weights)
    below = np.cumsum(negatives, axis=1) - 0.5 * negatives
    return ratio((positives * below).sum(axis=1), positives.sum(axis=1) * negatives.sum(axis=1))


def _won_by(scores: Array, some: Array, weights: Array) -> Array:
    """Weighted share (B,) of pairs in which one of `some` scores higher than one of the others, ties counting half.

    As a product of matrices: many rows of weights over few samples are several times faster so than sorted.
    """
    rows = np.flatnonzero(some)
    beaten = (scores[:, None] < scores[rows]) + 0.5 * (scores[:, None] == scores[rows])
    beaten[rows] = 0
    own = weights[:, rows]
    both = own.sum(axis=1) * (weights @ np.logical_not(some).astype(float))
    return ratio(((weights @ beaten) * own).sum(axis=1), both)


def average_precision(scores: Array, positive: Array, weights: Array) -> Array:
    """Sum over thresholds of precision times the step in recall, without interpolation.

    Shapes are those of `area_under_roc`; NaN where positives are absent.
    """
    positives, negatives = (np.flip(side, axis=1) for side in _groups(scores, positive, weights))
    found = np.cumsum(positives, axis=1)
    precision = np.nan_to_num(ratio(found, found + np.cumsum(negatives, axis=1)))
    return ratio((precision * positives).sum(axis=1), found[:, -1])
