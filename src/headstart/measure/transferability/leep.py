"""Scores by conditional probabilities: of labels given the source's classes, or given clusters of features."""

from __future__ import annotations

import numpy as np

from headstart.measure.transferability.arrays import Array, Labels, classes, in_components, matrix, one_hot

VARIANCE_KEPT = 0.8
MIXTURE_PER_CLASS = 5


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
    p, y = matrix(p), classes(y)
    p = p[:, p.sum(axis=0) > 0]
    joint = one_hot(y).T @ p
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
    z, y = classes(z), classes(y)
    joint = one_hot(y).T @ one_hot(z) / len(y)
    seen = joint > 0
    return float((joint * np.log(np.where(seen, joint, 1.0) / joint.sum(axis=0))).sum())


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

    x, y = matrix(x), classes(y)
    x = x[:, x.std(axis=0) > 0]
    if not x.shape[1]:
        return leep(np.ones((len(y), 1)), y)
    reduced = PCA(VARIANCE_KEPT, svd_solver="full").fit_transform(_in_span(x))
    count = min(MIXTURE_PER_CLASS * len(np.unique(y)), max(1, len(y) // 2))
    mixture = GaussianMixture(count, covariance_type="diag", reg_covar=1e-6 * float(reduced.var()), random_state=seed)
    return leep(mixture.fit(reduced).predict_proba(reduced), y)


def _in_span(x: Array) -> Array:
    """The same points in as many dimensions as there are samples, where there are more."""
    return x if x.shape[1] <= len(x) else in_components(x, len(x))
