"""Validators: how good an adapted model is, without labels of the target. Higher is better, for every one of them.

Probabilities are (M, C) of the target. None of these knows the truth: docs/adaptation.md shows how far they follow it.
"""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

Array = np.ndarray


def entropy_score(p: Array) -> float:
    """Minus the mean entropy of the answers: sure answers are good. All answers the same is best, so use it with care.

    >>> entropy_score(np.array([[1.0, 0.0], [0.0, 1.0]]))
    0.0
    """
    return float(xlogy(p, p).sum(1).mean()) + 0.0


def infomax(p: Array) -> float:
    """Entropy of the mean answer minus mean entropy: sure answers, of all classes.

    Sources
    -------
    A. Krause, P. Perona, R. Gomes, Discriminative Clustering by Regularized Information Maximization, NeurIPS 2010; as
    a criterion for domains: Y. Shi, F. Sha, ICML 2012.
    """
    mean = p.mean(0)
    return float(-xlogy(mean, mean).sum()) + entropy_score(p)


def nuclear_norm(p: Array) -> float:
    """Sum of the singular values of P over M: sure and varied answers (BNM).

    Sources
    -------
    S. Cui et al., CVPR 2020 (arXiv 2003.12237), as a validator: K. Musgrave et al., arXiv 2208.07360.
    """
    return float(np.linalg.svd(p, compute_uv=False).sum() / len(p))


def soft_neighbourhood_density(p: Array, temperature: float = 0.05) -> float:
    """Mean entropy of each sample's similarities to the others: dense, implicit clusters are good (SND).

    Similarities are cosines of rows of P over the temperature, softmax over the other samples.

    Sources
    -------
    K. Saito et al., Tune it the Right Way, ICCV 2021 (arXiv 2108.10860).
    """
    if len(p) < 2:
        return 0.0  # one sample has no others
    z = p / np.maximum(np.linalg.norm(p, axis=1, keepdims=True), 1e-12)
    total, block = 0.0, 1024
    for start in range(0, len(z), block):
        s = z[start : start + block] @ z.T / temperature
        s[np.arange(len(s)), start + np.arange(len(s))] = -np.inf
        s -= s.max(1, keepdims=True)
        q = np.exp(s)
        q /= q.sum(1, keepdims=True)
        total += float(-xlogy(q, q).sum())
    return total / len(z)


def class_ami(p: Array, features: Array, seed: int = 0) -> float:
    """Adjusted mutual information of the answers and k-means clusters of the features (ClassAMI).

    Sources
    -------
    K. Musgrave et al., Three New Validators and a Large-Scale Benchmark Ranking, 2022 (arXiv 2208.07360).
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_mutual_info_score

    clusters = KMeans(min(p.shape[1], len(p)), n_init=2, random_state=seed).fit_predict(features)
    return float(adjusted_mutual_info_score(p.argmax(1), clusters))


def importance_weighted(losses: Array, weights: Array) -> float:
    """Minus the mean of held-out source losses times density ratios (IWCV).

    Sources
    -------
    M. Sugiyama, M. Krauledat, K.-R. Müller, JMLR 8 (2007).

    >>> round(-importance_weighted(np.array([0.2, 0.4, 0.1, 0.8]), np.array([0.5, 1, 1.5, 2])), 6)
    0.5625
    """
    return -float((weights * losses).mean())


def deep_embedded(losses: Array, weights: Array) -> float:
    """IWCV with the weights' mean as a control variate (DEV); constant weights give IWCV.

    Sources
    -------
    K. You et al., Towards Accurate Model Selection in Deep Unsupervised Domain Adaptation, ICML 2019.

    >>> round(-deep_embedded(np.array([0.2, 0.4, 0.1, 0.8]), np.array([0.5, 1, 1.5, 2])), 6)
    0.35
    """
    weighted = weights * losses
    variance = float(np.var(weights, ddof=1)) if len(weights) > 1 else 0.0
    eta = 0.0 if variance < 1e-12 else -float(np.cov(weighted, weights)[0, 1]) / variance
    return -float(weighted.mean() + eta * weights.mean() - eta)


def accuracy(p: Array, labels: Array) -> float:
    """Of held-out source samples: what says least about the target, and most about a network that broke."""
    return float((p.argmax(1) == labels).mean())
