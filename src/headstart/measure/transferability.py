"""Transferability scores: how well will a pretrained network do on these data, judged without training it?

Every function is pure, takes what the frozen network says of N labelled samples and returns a number; higher is better
in all of them. Scores of different models are comparable only on the same samples. They rank; they do not predict an
accuracy, and a probe costs seconds more and says more (`SCORES` gives what each needs and where it comes from).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.float64]
Labels = NDArray[np.integer]

PAIRED = 1_500
"""Samples that `parc` compares in pairs; more are thinned out evenly."""

VARIANCE_KEPT = 0.8
MIXTURE_PER_CLASS = 5


# -- of probabilities over the source's classes ------------------------------------------------------------------------


def leep(p: Array, y: Labels) -> float:
    """Log expected empirical prediction: mean log-likelihood of labels predicted through the source's classes.

    Parameters
    ----------
    p
        (N, K) probabilities that the pretrained network's own head gives.
    y
        (N,) class numbers.

    Returns
    -------
    float
        At most 0, and 0 for source classes that determine the label; in nats.

    Notes
    -----
    Source: C. Nguyen et al., ICML 2020 (arXiv 2002.12462), equations 1 and 2. Source classes without any mass are
    left out (they predict nothing).

    Examples
    --------
    >>> leep(np.eye(2)[[0, 1, 0]], np.array([1, 0, 1]))
    0.0
    """
    p, y = _matrix(p), _classes(y)
    p = p[:, p.sum(axis=0) > 0]
    joint = _one_hot(y).T @ p
    given = joint / joint.sum(axis=0)
    return float(np.log(np.einsum("nk,nk->n", p, given[y])).mean())


def nce(z: Labels, y: Labels) -> float:
    """Negative conditional entropy of the labels given the source's predicted classes, -H(y | z) in nats.

    Parameters
    ----------
    z
        (N,) class that the pretrained network's own head predicts.
    y
        (N,) class numbers.

    Notes
    -----
    Source: A. Tran et al., ICCV 2019 (arXiv 1908.08142). At most 0.

    Examples
    --------
    >>> nce(np.array([3, 5, 3]), np.array([1, 0, 1]))
    0.0
    """
    z, y = _classes(z), _classes(y)
    joint = _one_hot(y).T @ _one_hot(z) / len(y)
    seen = joint > 0
    return float((joint * np.log(np.where(seen, joint, 1.0) / joint.sum(axis=0))).sum())


# -- of features -------------------------------------------------------------------------------------------------------


def nleep(x: Array, y: Labels, seed: int = 0) -> float:
    """LEEP with the clusters of a Gaussian mixture in place of the source's classes; needs no head.

    Parameters
    ----------
    x
        (N, D) features.
    y
        (N,) class numbers.
    seed
        Where the mixture starts.

    Notes
    -----
    Source: Y. Li et al., CVPR 2021 (arXiv 2011.11200): principal components (here those that hold 80% of the
    variance), then a mixture of five Gaussians per class. Covariances are diagonal: full ones of fifty Gaussians need
    more samples than there are. The logarithm of LEEP is kept, which a known reference code leaves out.
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    x, y = _matrix(x), _classes(y)
    x = x[:, x.std(axis=0) > 0]
    if not x.shape[1]:
        return leep(np.ones((len(y), 1)), y)
    reduced = PCA(VARIANCE_KEPT, svd_solver="full").fit_transform(_in_span(x))
    count = min(MIXTURE_PER_CLASS * len(np.unique(y)), max(1, len(y) // 2))
    mixture = GaussianMixture(count, covariance_type="diag", reg_covar=1e-6 * float(reduced.var()), random_state=seed)
    return leep(mixture.fit(reduced).predict_proba(reduced), y)


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
    x = _matrix(x)
    targets = _one_hot(_classes(y)) if np.issubdtype(np.asarray(y).dtype, np.integer) else _matrix(y)
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
    x, means = _centred(x, y)
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
    x, means = _centred(x, y)
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
    y = _classes(y)
    x = _matrix(x) - np.mean(x, axis=0)
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
    x, y = _matrix(x), _classes(y)
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

    x, y = _matrix(x), _classes(y)
    rows = np.linspace(0, len(y) - 1, min(len(y), PAIRED)).round().astype(int)
    x, y = x[rows], _classes(y[rows])
    deviation = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    upper = np.triu_indices(len(y), 1)
    if len(np.unique(y)) < 2 or len(y) < 3:
        return 0.0
    # One minus the correlation of two one-hot rows is 0 for the same class and otherwise the same for every pair.
    return 100 * float(stats.spearmanr(1 - _correlations(x)[upper], (y[:, None] != y)[upper]).statistic)


def _correlations(x: Array) -> Array:
    x = x - x.mean(axis=1, keepdims=True)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / np.where(length > 0, length, 1.0)
    return x @ x.T


def in_components(x: Array, count: int = 64) -> Array:
    """The first principal components (N, at most `count`) of features (N, D)."""
    x = _matrix(x) - np.mean(x, axis=0)
    values, vectors = linalg.eigh(x.T @ x if x.shape[1] <= len(x) else x @ x.T)
    if x.shape[1] <= len(x):
        return x @ vectors[:, ::-1][:, :count]
    return (vectors * np.sqrt(np.maximum(values, 0.0)))[:, ::-1][:, :count]


# -- the table ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """A transferability score.

    Attributes
    ----------
    function
        Takes what `needs` says, and labels.
    needs
        "features" (N, D), "probabilities" or "predictions" of the network's own head.
    regression
        Whether it is defined for numbers as labels.
    source
        Where it was published.
    """

    function: Callable[..., float]
    needs: Literal["features", "probabilities", "predictions"]
    regression: bool
    source: str


SCORES: dict[str, Score] = {
    "logme": Score(logme, "features", True, "You et al. 2021, arXiv 2102.11005"),
    "shrunk_h_score": Score(shrunk_h_score, "features", False, "Ibrahim et al. 2022, arXiv 2110.06893"),
    "h_score": Score(h_score, "features", False, "Bao et al. 2019, ICIP"),
    "transrate": Score(transrate, "features", False, "Huang et al. 2022, arXiv 2106.09362"),
    "gbc": Score(lambda x, y: gbc(in_components(x), y), "features", False, "Pándy et al. 2022, arXiv 2111.12780"),
    "nleep": Score(nleep, "features", False, "Li et al. 2021, arXiv 2011.11200"),
    "parc": Score(parc, "features", False, "Bolya et al. 2021, arXiv 2111.06977"),
    "leep": Score(leep, "probabilities", False, "Nguyen et al. 2020, arXiv 2002.12462"),
    "nce": Score(nce, "predictions", False, "Tran et al. 2019, arXiv 1908.08142"),
}


def _matrix(x: object) -> Array:
    made = np.asarray(x, dtype=np.float64)
    made = made[:, None] if made.ndim == 1 else made
    if made.ndim != 2 or not made.size or not np.isfinite(made).all():
        raise ValueError(f"expected a finite matrix with a row per sample, got {made.shape}")
    return made


def _classes(y: object) -> Labels:
    """Class numbers as 0, 1, … without gaps."""
    made = np.asarray(y)
    if made.ndim != 1 or not np.issubdtype(made.dtype, np.integer) or not len(made):
        raise ValueError("expected a class number per sample")
    return np.unique(made, return_inverse=True)[1].reshape(-1)


def _one_hot(y: Labels) -> Array:
    return np.eye(int(y.max()) + 1)[y]


def _centred(x: object, y: object) -> tuple[Array, Array]:
    """Features minus their mean, and for each sample the mean of its class."""
    features = _matrix(x)
    features = features - features.mean(axis=0)
    hot = _one_hot(_classes(y))
    return features, hot @ ((hot.T @ features) / hot.sum(axis=0)[:, None])


def _in_span(x: Array) -> Array:
    """The same points in as many dimensions as there are samples, where there are more."""
    return x if x.shape[1] <= len(x) else in_components(x, len(x))
