"""What adaptation is held against: nothing at all, and each domain standardised by itself."""

from __future__ import annotations

import numpy as np

from headstart.adapt.shallow.method import Adapted, Classifier, Domains, Shallow, classify, principal_axes, standardized
from headstart.core.registry import register


@register(
    "adaptation",
    "source-only",
    summary="a classifier of the source, as it is",
    source="the floor of every comparison",
    defaults={"any": {"classifier": "logistic"}},
    needs=("features",),
)
class SourceOnly(Shallow):
    """A classifier fitted to the source and used on the target unchanged."""

    def __init__(self, classifier: Classifier = "logistic") -> None:
        self.classifier = classifier

    def fit(self, domains: Domains) -> Adapted:
        d = domains
        return Adapted(classify(d.source, d.labels, d.target, d.classes, self.classifier))


@register(
    "adaptation",
    "standardize",
    summary="each domain standardised by its own mean and deviation",
    source="Li et al. 2016, arXiv 1603.04779 (AdaBN), on features",
    defaults={"any": {"classifier": "logistic"}},
    needs=("features",),
)
class Standardize(Shallow):
    """Every feature gets mean 0 and deviation 1 in each domain by itself: the target's statistics and no more.

    On frozen features this is what AdaBN is to a network. It goes wrong where the class shares differ much.
    """

    def __init__(self, classifier: Classifier = "logistic") -> None:
        self.classifier = classifier

    def fit(self, domains: Domains) -> Adapted:
        d = domains
        source, target = standardized(d.source), standardized(d.target)
        return Adapted(classify(source, d.labels, target, d.classes, self.classifier), source, target)


@register(
    "adaptation",
    "pca",
    summary="both domains on their joint principal axes",
    source="Gong et al. 2012, CVPR (as a baseline)",
    defaults={"any": {"dimension": 30, "classifier": "logistic"}},
    needs=("features",),
)
class Pca(Shallow):
    """Principal components of both domains together; no distribution is aligned."""

    def __init__(self, dimension: int = 30, classifier: Classifier = "logistic") -> None:
        self.dimension, self.classifier = dimension, classifier

    def fit(self, domains: Domains) -> Adapted:
        d = domains
        both = np.concatenate([d.source, d.target])
        axes = principal_axes(both, self.dimension)
        z = (both - both.mean(0)) @ axes
        source, target = z[: len(d.source)], z[len(d.source) :]
        facts = {"dimension": axes.shape[1]}
        return Adapted(classify(source, d.labels, target, d.classes, self.classifier), source, target, facts=facts)
