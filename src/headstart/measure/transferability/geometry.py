"""Scores by where classes lie: the volume they fill, their overlap, and distances between pairs of samples."""

from __future__ import annotations

from typing import Literal

import numpy as np

from headstart.measure.transferability.arrays import Array, Labels, classes, matrix

PAIRED = 1_500
"""Samples that `parc` compares in pairs; more are thinned out evenly."""


def transrate(x: Array, y: Labels, eps: float = 1e-4) -> float:
    """TransRate: coding rate of all features minus the mean coding rate within classes.

    Parameters
    ----------
    x
        (N, D) features.
    y
        (N,) class numbers.
    eps
        Distortion of the coding rate R(Z) = 1/2 log det(I + Z'Z / (n eps)).

    Notes
    -----
    Source: L.-K. Huang et al., ICML 2022 (arXiv 2106.09362). Classes count the same, as in the authors' listing. The
    value depends on the features' scale.
    """
    y = classes(y)
    x = matrix(x) - np.mean(x, axis=0)
    return _rate(x, eps) - float(np.mean([_rate(x[y == c], eps) for c in np.unique(y)]))


def _rate(z: Array, eps: float) -> float:
    n, d = z.shape
    gram = z.T @ z if d <= n else z @ z.T
    gram /= n * eps
    gram[np.diag_indices_from(gram)] += 1
    return 0.5 * float(np.linalg.slogdet(gram)[1])


def gbc(x: Array, y: Labels, kind: Literal["diagonal", "spherical"] = "diagonal") -> float:
    """Gaussian Bhattacharyya coefficient: minus the overlap of the classes, summed over ordered pairs.

    Parameters
    ----------
    x
        (N, D) features.
    y
        (N,) class numbers.
    kind
        Covariances of the Gaussians: a variance for every dimension, or one for all.

    Returns
    -------
    float
        From -C (C - 1), classes that lie on each other, to 0.

    Notes
    -----
    Source: M. Pándy et al., CVPR 2022 (arXiv 2111.12780); features are reduced to 64 principal components there, for
    which `in_components` is at hand. Variances are at least 1e-4. A known reference code leaves the factor D out of
    the spherical form's second term.
    """
    x, y = matrix(x), classes(y)
    means = np.stack([x[y == c].mean(axis=0) for c in np.unique(y)])
    variances = np.maximum([x[y == c].var(axis=0) for c in np.unique(y)], 1e-4)
    if kind == "spherical":
        variances = np.repeat(variances.mean(axis=1, keepdims=True), x.shape[1], axis=1)
    total = 0.0
    for i in range(len(means)):
        between = (variances[i] + variances) / 2
        distance = (np.square(means[i] - means) / between).sum(axis=1) / 8
        distance += (np.log(between) - (np.log(variances[i]) + np.log(variances)) / 2).sum(axis=1) / 2
        total += float(np.exp(-np.delete(distance, i)).sum())
    return -total


def parc(x: Array, y: Labels) -> float:
    """PARC: rank correlation (times 100) between the dissimilarities of features and those of labels, over pairs.

    Parameters
    ----------
    x
        (N, D) features; columns are standardised.
    y
        (N,) class numbers.

    Notes
    -----
    Source: D. Bolya et al., NeurIPS 2021 (arXiv 2111.06977). Dissimilarity is one minus Pearson's correlation of two
    rows, of standardised features and of labels as zeros and ones; Spearman's correlation of the upper triangles. All
    pairs of at most 1,500 samples are looked at.
    """
    from scipy import stats  # 0.3 s to import

    x, y = matrix(x), classes(y)
    rows = np.linspace(0, len(y) - 1, min(len(y), PAIRED)).round().astype(int)
    x, y = x[rows], classes(y[rows])
    deviation = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    upper = np.triu_indices(len(y), 1)
    if len(np.unique(y)) < 2 or len(y) < 3:
        return 0.0
    apart = 1 - _correlations(x)[upper]
    if apart.min() == apart.max():
        return 0.0  # features that are the same for all samples
    # One minus the correlation of two one-hot rows is 0 for the same class and otherwise the same for every pair.
    return 100 * float(stats.spearmanr(apart, (y[:, None] != y)[upper]).statistic)


def _correlations(x: Array) -> Array:
    x = x - x.mean(axis=1, keepdims=True)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / np.where(length > 0, length, 1.0)
    return x @ x.T
