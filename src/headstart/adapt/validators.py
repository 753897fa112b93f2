"""Validators as the choice takes them: by name, on what is known of both domains without the target's labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from headstart.adapt.shallow.method import Array, classify
from headstart.core.registry import get, methods, register
from headstart.features.density import density_ratio
from headstart.measure import validators as measure

MOST = 2000
"""Samples of the target that quadratic validators look at."""

DIMENSIONS = 50


@dataclass(frozen=True)
class Evidence:
    """What one model says.

    Attributes
    ----------
    source, labels, source_features
        (V, C) probabilities, (V,) labels and (V, D) features of held-out source samples; V is 0 where there is no
        source, and validators that need one cannot be asked then.
    target, target_features
        (M, C) and (M, D) of the target.
    """

    source: Array
    labels: Array
    source_features: Array
    target: Array
    target_features: Array

    @cached_property
    def losses(self) -> Array:
        """(V,) log losses of the source samples."""
        return -np.log(np.clip(self.source[np.arange(len(self.labels)), self.labels], 1e-12, 1))

    @cached_property
    def weights(self) -> Array:
        """(V,) density ratios, cut off at 20 times their mean."""
        a, b = (torch.from_numpy(np.ascontiguousarray(x)).float() for x in (self.source_features, self.target_features))
        ratio = density_ratio(a, b)
        return np.minimum(ratio, 20 * ratio.mean())

    @cached_property
    def axes(self) -> tuple[Array, Array]:
        """(V, d) and (M, d): features on their joint principal axes."""
        both = np.concatenate([self.source_features, self.target_features]).astype(np.float64)
        both = (both - both.mean(0)) / np.maximum(both.std(0), 1e-6 + 1e-3 * np.median(both.std(0)))
        rows = np.random.default_rng(0).permutation(len(both))[:MOST]
        v = np.linalg.svd(both[rows] - both[rows].mean(0), full_matrices=False)[2][:DIMENSIONS]
        z = both @ v.T
        return z[: len(self.source_features)], z[len(self.source_features) :]

    @cached_property
    def some(self) -> Array:
        """Positions of at most `MOST` target samples."""
        return np.sort(np.random.default_rng(0).permutation(len(self.target))[:MOST])


Validator = Callable[[Evidence], float]


def names(source: bool = True) -> list[str]:
    """Every validator; where there is no source, those that look at the target only."""
    return [m.name for m in methods("validator") if source or "source" not in m.needs]


def validate(name: str, evidence: Evidence) -> float:
    """The score, higher is better; an unknown name is a `ConfigError`."""
    value: float = get("validator", name).build(evidence)
    return value


@register("validator", "entropy", summary="sure answers on the target", source="Morerio et al. 2018, arXiv 1711.10288")
def entropy(e: Evidence) -> float:
    """Minus the mean entropy."""
    return measure.entropy_score(e.target)


@register("validator", "infomax", summary="sure answers of all classes on the target", source="Shi & Sha 2012, ICML")
def infomax(e: Evidence) -> float:
    """Entropy of the mean answer minus the mean entropy."""
    return measure.infomax(e.target)


@register(
    "validator",
    "nuclear-norm",
    summary="sure and varied answers on the target",
    source="Cui et al. 2020, arXiv 2003.12237",
)
def nuclear_norm(e: Evidence) -> float:
    """Of the matrix of answers, over the samples."""
    return measure.nuclear_norm(e.target)


@register(
    "validator",
    "snd",
    summary="dense implicit clusters of answers on the target",
    source="Saito et al. 2021, arXiv 2108.10860",
)
def snd(e: Evidence) -> float:
    """Soft neighbourhood density, on at most 2,000 samples."""
    return measure.soft_neighbourhood_density(e.target[e.some])


@register(
    "validator",
    "class-ami",
    summary="answers that agree with clusters of the features",
    source="Musgrave et al. 2022, arXiv 2208.07360",
)
def class_ami(e: Evidence) -> float:
    """Adjusted mutual information with k-means, on the target's principal axes."""
    return measure.class_ami(e.target[e.some], e.axes[1][e.some])


@register(
    "validator",
    "iwcv",
    summary="held-out source loss, weighed by the density ratio",
    source="Sugiyama et al. 2007, JMLR 8",
    needs=("source",),
)
def iwcv(e: Evidence) -> float:
    """Minus the weighted loss."""
    return measure.importance_weighted(e.losses, e.weights)


@register("validator", "dev", summary="IWCV with a control variate", source="You et al. 2019, ICML", needs=("source",))
def dev(e: Evidence) -> float:
    """Minus the estimated loss."""
    return measure.deep_embedded(e.losses, e.weights)


@register(
    "validator",
    "reverse",
    summary="a classifier of the target's answers, judged on the source's labels",
    source="Zhong et al. 2010, ECML; Bruzzone & Marconcini 2010, TPAMI",
    needs=("source",),
)
def reverse(e: Evidence) -> float:
    """Accuracy on held-out source samples of a logistic regression fitted to the target's answers, on principal axes.

    The circle is closed on the adapted features, without adapting back: one more adaptation per model would cost as
    much as the model.
    """
    source, target = e.axes
    said = e.target.argmax(1)
    back = classify(target, said, source, e.target.shape[1])
    return measure.accuracy(back, e.labels)


@register(
    "validator",
    "source-accuracy",
    summary="accuracy on held-out source samples",
    source="the naive choice",
    needs=("source",),
)
def source_accuracy(e: Evidence) -> float:
    """Says little about the target."""
    return measure.accuracy(e.source, e.labels)
