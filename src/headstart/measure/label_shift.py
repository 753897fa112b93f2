"""Label shift: how often each class occurs in the target, from a classifier of the source alone.

It assumes that a class looks the same in both domains, and only its share differs: p(x | y) is shared.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

Array = np.ndarray

ROUNDS, TOLERANCE = 1000, 1e-9


def black_box_shares(held_out: Array, labels: Array, target: Array) -> Array:
    """(C,) shares of the classes in the target, by inverting the classifier's confusion (BBSE).

    Parameters
    ----------
    held_out
        (N, C) probabilities of source samples that the classifier was not fitted to.
    labels
        (N,) their classes.
    target
        (M, C) probabilities of the target.

    Notes
    -----
    Solves C w = mean target answer for w ≥ 0, with C_ij = P(answers i, is j) on the source, in the soft form (mean
    probabilities instead of counts of answers); shares are w_j P(j), normalised. Classes absent from the source stay 0.

    Sources
    -------
    Z. Lipton, Y.-X. Wang, A. Smola, ICML 2018 (arXiv 1802.03916).
    """
    classes = held_out.shape[1]
    onehot = np.eye(classes)[labels]
    confusion = held_out.T @ onehot / len(labels)
    weights, _ = nnls(confusion, target.mean(0))
    shares = weights * onehot.mean(0)
    return shares / shares.sum() if shares.sum() > 0 else onehot.mean(0)


def expected_shares(target: Array, source_shares: Array) -> Array:
    """(C,) shares of the classes in the target, by expectation and maximisation (Saerens, Latinne, Decaestecker).

    Parameters
    ----------
    target
        (M, C) *calibrated* probabilities of the target, by a classifier that saw the source's shares.
    source_shares
        (C,) those shares.

    Sources
    -------
    M. Saerens, P. Latinne, C. Decaestecker, Neural Computation 14(1), 2002; that calibration is needed: A. Alexandari,
    A. Kundaje, A. Shrikumar, ICML 2020 (arXiv 1901.06852).
    """
    shares = source_shares.copy()
    for _ in range(ROUNDS):
        renewed = reweighted(target, source_shares, shares).mean(0)
        if np.abs(renewed - shares).max() < TOLERANCE:
            return renewed
        shares = renewed
    return shares


def reweighted(target: Array, source_shares: Array, shares: Array) -> Array:
    """(M, C) probabilities as they are where classes have other shares: p(y | x) shares_y / source_y, normalised.

    >>> reweighted(np.array([[0.5, 0.5]]), np.array([0.5, 0.5]), np.array([0.8, 0.2])).round(2).tolist()
    [[0.8, 0.2]]
    """
    ratio = np.divide(shares, source_shares, out=np.zeros_like(shares), where=source_shares > 0)
    p = target * ratio
    total = p.sum(1, keepdims=True)
    return np.where(total > 0, p / np.maximum(total, 1e-300), target)
