"""What a shallow method is given, what it returns, and the classifier at its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from scipy.spatial.distance import cdist

from headstart.core.errors import DataError
from headstart.data.schema import Task
from headstart.features.probe import as_outputs, fit_probe

Array = np.ndarray
Classifier = Literal["logistic", "nearest"]

FOLDS = 5
MOST_SOURCE = 20_000
"""Source samples up to which a distance to every one of them is computed at once."""


@dataclass(frozen=True)
class Domains:
    """Features of both domains. Labels of the target have no place here.

    Attributes
    ----------
    source, target
        (N, D) and (M, D) float64.
    labels
        (N,) int64, 0 to classes - 1, of the source.
    classes
        How many there are; some may be absent from the source.

    Raises
    ------
    DataError
        When a domain is empty, widths differ, labels do not fit, or a feature is not finite.
    """

    source: Array
    labels: Array
    target: Array
    classes: int

    def __post_init__(self) -> None:
        for name in ("source", "target"):
            x = np.asarray(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, x)
            if x.ndim != 2 or not len(x):
                raise DataError(f"The features of the {name} must be (samples, width); got {x.shape}.", "Give some.")
            if not np.isfinite(x).all():
                rows = np.flatnonzero(~np.isfinite(x).all(1))
                raise DataError(
                    f"{len(rows)} samples of the {name} have features that are not finite, such as number {rows[0]}.",
                    "Leave them out.",
                )
        if self.source.shape[1] != self.target.shape[1]:
            raise DataError(
                f"The source has {self.source.shape[1]} features, the target {self.target.shape[1]}.",
                "Both must come from one network and stage.",
            )
        labels = np.asarray(self.labels, dtype=np.int64)
        object.__setattr__(self, "labels", labels)
        if labels.shape != (len(self.source),) or labels.min() < 0 or labels.max() >= self.classes:
            raise DataError("Every source sample needs a label from 0 to classes - 1.", "Leave out those without.")


@dataclass(frozen=True)
class Adapted:
    """What a method made of two domains.

    Attributes
    ----------
    probabilities
        (M, C) of the target samples; rows sum to 1.
    source, target
        (N, d) and (M, d), where the method maps features; else None.
    weights
        (N,) of the source samples, mean 1, where the method weighs them; else None.
    facts
        What is worth reporting: dimensions, strengths, rounds.
    """

    probabilities: Array
    source: Array | None = None
    target: Array | None = None
    weights: Array | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class Shallow(ABC):
    """A method: options in the constructor, everything else in `fit`."""

    @abstractmethod
    def fit(self, domains: Domains) -> Adapted:
        """Label the target."""


def classify(
    x: Array, labels: Array, target: Array, classes: int, how: Classifier = "logistic", weights: Array | None = None
) -> Array:
    """(M, C) probabilities for the target by a classifier of (x, labels).

    Parameters
    ----------
    how
        "nearest": the label of the nearest source sample (what the papers' tables use), probability 1. "logistic":
        multinomial logistic regression, its strength by five-fold cross-validation.
    weights
        (N,) of the samples of x; only for "logistic".
    """
    if how == "nearest":
        return np.eye(classes)[labels[nearest(x, target)]]
    seen = np.unique(labels)
    if len(seen) == 1:
        return np.eye(classes)[np.full(len(target), seen[0])]
    task = Task("label", "single-label", tuple(str(c) for c in range(classes)))
    folds = torch.as_tensor(np.random.default_rng(0).permutation(len(x)) % FOLDS)
    if len(x) < 2 * FOLDS:
        folds = torch.full((len(x),), -1)
    inputs = as_tensor(x)
    given = None if weights is None else torch.from_numpy(weights).float()
    probe = fit_probe(inputs, labels, task, "accuracy", folds, given)
    return as_outputs(task, probe.logits(as_tensor(target)).numpy())


def as_tensor(x: Array) -> torch.Tensor:
    """As the probe takes it."""
    return torch.from_numpy(np.ascontiguousarray(x)).float()


def nearest(x: Array, target: Array) -> Array:
    """(M,) which row of x is nearest to each target row (Euclidean; the first of equals)."""
    block = max(1, MOST_SOURCE**2 // (10 * max(1, len(x))))
    return np.concatenate([cdist(target[i : i + block], x).argmin(1) for i in range(0, len(target), block)])


def onehot(labels: Array, classes: int) -> Array:
    """(N, C) of 0 and 1."""
    return np.eye(classes)[labels]


def mean_differences(d: Domains, said: Array | None) -> tuple[Array, list[Array]]:
    """Columns (N + M,) whose products with the samples are differences of means: 1/n on the source, -1/m on the target.

    Returns
    -------
    marginal, of_classes
        Of the domains as a whole, and of each class of the source by the target's answers `said` (none without them).
        A class that nobody is said to be of keeps its source side.
    """
    n, m = len(d.source), len(d.target)
    marginal = np.r_[np.full(n, 1 / n), np.full(m, -1 / m)]
    of_classes = []
    for c in [] if said is None else np.unique(d.labels):
        column, theirs = np.zeros(n + m), said == c
        column[:n][d.labels == c] = 1 / (d.labels == c).sum()
        if theirs.any():
            column[n:][theirs] = -1 / theirs.sum()
        of_classes.append(column)
    return marginal, of_classes


def centred(x: Array) -> tuple[Array, Array]:
    """x without its mean, and the mean."""
    mean = x.mean(0)
    return x - mean, mean


def principal_axes(x: Array, count: int) -> Array:
    """(D, d) orthonormal directions of largest variance; fewer than asked where the rank is less."""
    z, _ = centred(x)
    _, s, v = np.linalg.svd(z, full_matrices=False)
    rank = int((s > s.max(initial=0) * 1e-10).sum())
    return v[: min(count, rank)].T


def standardized(x: Array) -> Array:
    """Each feature with mean 0 and deviation 1; a feature that hardly varies gets the unit of the others."""
    z, _ = centred(x)
    spread = z.std(0, ddof=1) if len(x) > 1 else np.zeros(x.shape[1])
    floor = 1e-3 * np.median(spread[spread > 0]) if (spread > 0).any() else 1.0
    return z / np.maximum(spread, floor)
