"""CORAL: the source's covariance becomes the target's."""

from __future__ import annotations

import numpy as np

from headstart.adapt.shallow.method import Adapted, Array, Classifier, Domains, Shallow, centred, classify
from headstart.core.registry import register


@register(
    "adaptation",
    "coral",
    summary="the source whitened and coloured by the target's covariance",
    source="Sun et al. 2016, AAAI, arXiv 1511.05547",
    defaults={"any": {"regularize": 1.0, "classifier": "logistic"}},
    needs=("features",),
)
class Coral(Shallow):
    """Source features xs (Cs + r I)^-1/2 (Ct + r I)^1/2; the target stays as it is.

    Both domains are centred first, since the method aligns second moments only. Where features have another scale than
    1, r is in units of their mean variance.
    """

    def __init__(self, regularize: float = 1.0, classifier: Classifier = "logistic") -> None:
        self.regularize, self.classifier = regularize, classifier

    def fit(self, domains: Domains) -> Adapted:
        d = domains
        (xs, _), (xt, _) = centred(d.source), centred(d.target)
        source = aligned(xs, xt, self.regularize)
        return Adapted(classify(source, d.labels, xt, d.classes, self.classifier), source, xt)


def aligned(xs: Array, xt: Array, regularize: float) -> Array:
    """Centred source features with the covariance of the (centred) target."""
    unit = regularize * max(float(np.concatenate([xs, xt]).var(0).mean()), 1e-12)
    return xs @ matrix_power(_covariance(xs, unit), -0.5) @ matrix_power(_covariance(xt, unit), 0.5)


def _covariance(x: Array, ridge: float) -> Array:
    return x.T @ x / max(1, len(x) - 1) + ridge * np.eye(x.shape[1])


def matrix_power(matrix: Array, exponent: float) -> Array:
    """Of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-12) ** exponent) @ vectors.T
