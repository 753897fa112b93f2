"""Reweighting: source samples count as much as the target has of their like."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from headstart.adapt.shallow.method import Adapted, Array, Classifier, Domains, Shallow, classify
from headstart.core.registry import register
from headstart.features.density import density_ratio

MOST_SOURCE = 4000


@register(
    "adaptation",
    "kmm",
    summary="kernel mean matching: weights that give the source the target's kernel mean",
    source="Huang et al. 2007, NeurIPS 19",
    defaults={"any": {"most": 10.0, "classifier": "logistic"}},
    needs=("features",),
)
class KernelMeanMatching(Shallow):
    """Minimise ½ w'Kw - κ'w over 0 ≤ w ≤ most, with mean w close to 1 (a penalty), κ_i = (N/M) Σ_j k(x_i, x_j).

    One Gaussian kernel with the median squared distance; projected quasi-Newton (L-BFGS-B), since the quadratic
    programme has bounds only. Beyond 4,000 source samples some are drawn.
    """

    def __init__(self, most: float = 10.0, classifier: Classifier = "logistic") -> None:
        self.most, self.classifier = most, classifier

    def fit(self, domains: Domains) -> Adapted:
        d = domains
        if len(d.source) > MOST_SOURCE:
            kept = np.sort(np.random.default_rng(0).permutation(len(d.source))[:MOST_SOURCE])
            d = Domains(d.source[kept], d.labels[kept], d.target, d.classes)
        weights = kernel_mean_weights(d.source, d.target, self.most)
        if not (np.unique(d.labels[weights > 1e-6]).size > 1):
            weights = np.ones(len(d.source))
        probabilities = classify(d.source, d.labels, d.target, d.classes, _weighted(self.classifier), weights)
        facts = {"effective_samples": round(float(weights.sum() ** 2 / (weights**2).sum()), 1)}
        return Adapted(probabilities, weights=weights if len(weights) == len(domains.source) else None, facts=facts)


def kernel_mean_weights(source: Array, target: Array, most: float = 10.0) -> Array:
    """(N,) weights with mean 1."""
    n = len(source)
    within, across = cdist(source, source, "sqeuclidean"), cdist(source, target, "sqeuclidean")
    scale = max(float(np.median(across)), 1e-12)
    kernel, kappa = np.exp(-within / scale), np.exp(-across / scale).mean(1) * n

    def loss(w: Array) -> tuple[float, Array]:
        kw, off = kernel @ w, w.sum() - n
        return float(0.5 * w @ kw - kappa @ w + 0.5 * off**2 / n), kw - kappa + off / n

    found = minimize(loss, np.ones(n), jac=True, method="L-BFGS-B", bounds=[(0.0, most)] * n, options={"maxiter": 200})
    total = found.x.sum()
    return found.x * n / total if total > 0 else np.ones(n)


@register(
    "adaptation",
    "discriminator-weights",
    summary="weights by a classifier that tells the domains apart",
    source="Shimodaira 2000; Bickel et al. 2009, JMLR 10",
    defaults={"any": {"most": 10.0, "classifier": "logistic"}},
    needs=("features",),
)
class DiscriminatorWeights(Shallow):
    """w = (N/M) p(target | x) / p(source | x), of held-out outputs, cut off at `most` times the mean."""

    def __init__(self, most: float = 10.0, classifier: Classifier = "logistic") -> None:
        self.most, self.classifier = most, classifier

    def fit(self, domains: Domains) -> Adapted:
        d = domains
        ratio = density_ratio(torch.from_numpy(d.source).float(), torch.from_numpy(d.target).float())
        weights = np.minimum(ratio / ratio.mean(), self.most)
        weights = weights / weights.mean()
        probabilities = classify(d.source, d.labels, d.target, d.classes, _weighted(self.classifier), weights)
        facts = {"effective_samples": round(float(weights.sum() ** 2 / (weights**2).sum()), 1)}
        return Adapted(probabilities, weights=weights, facts=facts)


def _weighted(classifier: Classifier) -> Classifier:
    """Weights mean nothing to a nearest neighbour."""
    return "logistic" if classifier == "nearest" else classifier
