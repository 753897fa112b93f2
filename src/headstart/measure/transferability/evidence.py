"""LogME: the evidence of a Bayesian linear model on the features."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from headstart.measure.transferability.arrays import Array, Labels, classes, matrix, one_hot


def logme(x: Array, y: Array | Labels) -> float:
    """Logarithm of the maximum evidence per sample of a Bayesian linear model from features to labels.

    Each column of the targets (classes are written as zeros and ones) has its own prior precision alpha of the
    weights and noise precision beta, set to the values that make the evidence largest; at the optimum N times the
    result is the log density of the targets under N(0, I / beta + X X' / alpha).

    Parameters
    ----------
    x
        (N, D) features.
    y
        (N,) class numbers (integers), or (N,) or (N, K) numbers to regress (floating).

    Returns
    -------
    float
        In nats per sample, mean over columns.

    Notes
    -----
    Source: K. You et al., ICML 2021 (arXiv 2102.11005), fixed point of arXiv 2110.10545. Correct for N < D too: the
    D - N directions that no sample shows belong to the determinant, which the authors' code leaves out
    (thuml/LogME issue 24). The iteration runs to convergence in log(alpha / beta). Where features explain nothing of
    a column, the evidence grows as the weights go to 0, and the limit alpha = infinity is used.
    """
    x = matrix(x)
    targets = one_hot(classes(y)) if np.issubdtype(np.asarray(y).dtype, np.integer) else matrix(y)
    if len(targets) != len(x):
        raise ValueError(f"{len(x)} rows of features and {len(targets)} labels")
    sigma, squares = _spectrum(x, targets)
    values = [
        _evidence(sigma, of_column, float(column @ column), x.shape)
        for of_column, column in zip(squares.T, targets.T, strict=True)
    ]
    return float(np.mean(values))


def _spectrum(x: Array, targets: Array) -> tuple[Array, Array]:
    """Squared singular values (R,) of x, and (R, K) squares of the targets in its left singular vectors.

    By the eigenvectors of the smaller Gram matrix: several times as fast as singular vectors, and directions whose
    variance is lost in rounding carry no evidence.
    """
    n, d = x.shape
    if n >= d:
        values, vectors = linalg.eigh(x.T @ x, overwrite_a=True, driver="evd")
        sigma = np.maximum(values, 0.0)
        along = vectors.T @ (x.T @ targets)
        floor = sigma.max() * max(n, d) * np.finfo(float).eps
        kept = sigma > floor
        return sigma[kept], along[kept] ** 2 / sigma[kept, None]
    values, vectors = linalg.eigh(x @ x.T, overwrite_a=True, driver="evd")
    sigma = np.maximum(values, 0.0)
    kept = sigma > sigma.max() * max(n, d) * np.finfo(float).eps
    return sigma[kept], (vectors.T @ targets)[kept] ** 2


def _evidence(sigma: Array, squares: Array, total: float, shape: tuple[int, int]) -> float:
    """Largest log evidence per sample of one column; `total` is the column's squared norm."""
    n, d = shape
    outside = max(total - float(squares.sum()), 0.0)
    if total == 0.0:
        raise ValueError("a column of the labels is zero everywhere: a class without samples, or a constant")
    t = 1.0
    for _ in range(1000):
        gamma = float((sigma / (sigma + t)).sum())
        weights = float((sigma * squares / (sigma + t) ** 2).sum())
        residual = float((squares / (1 + sigma / t) ** 2).sum()) + outside
        if gamma <= 0 or weights <= 0 or t > 1e12 * max(float(sigma.max(initial=0.0)), 1e-300):
            t = np.inf
            break
        residual = max(residual, 1e-12 * total)  # an exact fit has no noise: the evidence would be infinite
        new = gamma * residual / (weights * max(n - gamma, 1e-12))
        moved, t = abs(np.log(new / t)), new
        if moved < 1e-10:
            break
    if np.isinf(t):
        return 0.5 * (np.log(n / total) - 1.0 - np.log(2 * np.pi))
    gamma = float((sigma / (sigma + t)).sum())
    weights = float((sigma * squares / (sigma + t) ** 2).sum())
    residual = max(float((squares / (1 + sigma / t) ** 2).sum()) + outside, 1e-12 * total)
    # With alpha = t beta, beta has a closed form at the optimum: N / (residual + t weights).
    beta = n / (residual + t * weights)
    unseen = d - len(sigma)
    determinant = float(np.log(t + sigma).sum()) + unseen * np.log(t) + d * np.log(beta)
    evidence = d * np.log(t * beta) + n * np.log(beta) - determinant - n - n * np.log(2 * np.pi)
    return float(evidence / (2 * n))
