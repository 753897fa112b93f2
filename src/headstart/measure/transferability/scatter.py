"""H-scores: how much of the features' variance lies between the classes."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from headstart.measure.transferability.arrays import Array, Labels, centred


def h_score(x: Array, y: Labels) -> float:
    """H-score: trace of the class means' covariance, seen through the inverse of the features' covariance.

    Parameters
    ----------
    x
        (N, D) features.
    y
        (N,) class numbers.

    Returns
    -------
    float
        From 0 to one less than the number of classes.

    Notes
    -----
    Source: Y. Bao et al., ICIP 2019. Divisor N - 1 in both covariances; pseudo-inverse. With fewer samples than
    features every labelling can be told apart and the value says nothing: see `shrunk_h_score`.
    """
    x, means = centred(x, y)
    values, vectors = linalg.eigh(x.T @ x)
    kept = values > values.max(initial=0.0) * max(x.shape) * np.finfo(float).eps
    return float((np.square(means @ vectors[:, kept]).sum(axis=0) / values[kept]).sum())


def shrunk_h_score(x: Array, y: Labels) -> float:
    """H-score with the features' covariance shrunk towards a multiple of the identity (Ledoit and Wolf).

    Parameters
    ----------
    x
        (N, D) features.
    y
        (N,) class numbers.

    Notes
    -----
    Source: S. Ibrahim et al., ECML-PKDD 2022 (arXiv 2110.06893): tr(S^-1 (1 - a) cov(E[x | y])) with
    S = (1 - a) cov(x) + a (tr cov(x) / D) I. The shrinkage a is Ledoit and Wolf's; as in TLlib's code S has divisor N
    and cov(E[x | y]) has N - 1.
    """
    x, means = centred(x, y)
    n, d = x.shape
    if not x.any():
        return 0.0
    # The smaller Gram matrix has all eigenvalues that are not zero.
    gram = x.T @ x if d <= n else x @ x.T
    values, vectors = linalg.eigh(gram / n)
    values = np.maximum(values, 0.0)
    level = float(values.sum()) / d
    squares = float((np.square(x).sum(axis=1) ** 2).sum()) / n
    delta = float(np.square(values).sum()) - d * level**2
    beta = (squares - float(np.square(values).sum())) / n
    shrinkage = 1.0 if delta <= 0 else min(max(beta, 0.0), delta) / delta
    if d <= n:
        directions = vectors
    else:
        kept = values > values.max() * max(n, d) * np.finfo(float).eps
        values, directions = values[kept], x.T @ vectors[:, kept] / np.sqrt(n * values[kept])
    inverse = 1 / ((1 - shrinkage) * values + shrinkage * level)
    # Class means lie in the span of the samples, so directions outside of it add nothing.
    return float((1 - shrinkage) * (np.square(means @ directions).sum(axis=0) * inverse).sum() / (n - 1))
