"""TCA, JDA and BDA: a projection in which means of the domains, and of their classes, coincide."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from headstart.adapt.shallow.method import Adapted, Array, Classifier, Domains, Shallow, classify, mean_differences
from headstart.core.registry import register

MOST_DIMENSIONS = 1000
"""Wider features are reduced to so many principal components first: the eigenproblem is cubic in the width."""


class _Joint(Shallow):
    """Maximise variance A'X H X'A subject to A'(X M X' + reg I)A = I; M holds the means to be drawn together.

    The primal form: the eigenproblem has the size of the features, not of the samples. Samples are scaled to unit
    length before and after, as in the authors' code.
    """

    def __init__(
        self, dimension: int, regularize: float, rounds: int, balance: float | None, classifier: Classifier
    ) -> None:
        self.dimension, self.regularize, self.rounds = dimension, regularize, rounds
        self.balance, self.classifier = balance, classifier

    def fit(self, domains: Domains) -> Adapted:
        d, n = domains, len(domains.source)
        x = _unit(_reduced(np.concatenate([d.source, d.target])))
        scatter = (x - x.mean(0)).T @ (x - x.mean(0))
        count, z, rounds = min(self.dimension, x.shape[1]), x, 0
        said: Array | None = None
        probabilities: Array | None = None
        while rounds < max(1, self.rounds):
            rounds += 1
            means = self._means(d, said)
            moved = x.T @ means
            drawn = moved @ moved.T / max(float(np.linalg.norm(means.T @ means)), 1e-12)
            wide = x.shape[1]
            drawn[np.diag_indices(wide)] += self.regularize
            _, axes = eigh(scatter, drawn, subset_by_index=[wide - count, wide - 1])
            z = _unit(x @ axes)
            probabilities = classify(z[:n], d.labels, z[n:], d.classes, self.classifier)
            before, said = said, probabilities.argmax(1)
            if before is not None and np.array_equal(before, said):
                break
        assert probabilities is not None
        return Adapted(probabilities, z[:n], z[n:], facts={"dimension": count, "rounds": rounds})

    def _means(self, d: Domains, said: Array | None) -> Array:
        """(N + M, k) one column per pair of means that are drawn together: 1/n on the source, -1/m on the target."""
        marginal, of_classes = mean_differences(d, said)
        # As the authors have it, the marginal term of JDA counts as often as there are classes.
        weight = np.sqrt(d.classes) if self.rounds > 1 else 1.0
        if self.balance is None:
            return np.stack([weight * marginal, *of_classes], 1)
        outer, inner = np.sqrt(1 - self.balance) * weight, np.sqrt(self.balance)
        return np.stack([outer * marginal, *(inner * column for column in of_classes)], 1)


@register(
    "adaptation",
    "tca",
    summary="a projection that draws the domains' means together",
    source="Pan et al. 2011, IEEE TNN 22(2)",
    defaults={"any": {"dimension": 30, "regularize": 1.0, "classifier": "logistic"}},
    needs=("features",),
)
class Tca(_Joint):
    """Transfer component analysis with a linear kernel."""

    def __init__(self, dimension: int = 30, regularize: float = 1.0, classifier: Classifier = "logistic") -> None:
        super().__init__(dimension, regularize, 1, None, classifier)


@register(
    "adaptation",
    "jda",
    summary="TCA, and the means of each class by pseudo-labels",
    source="Long et al. 2013, ICCV",
    defaults={"any": {"dimension": 30, "regularize": 1.0, "rounds": 10, "classifier": "logistic"}},
    needs=("features",),
)
class Jda(_Joint):
    """Joint distribution adaptation: marginal and class means, the latter by the labels of the round before."""

    def __init__(
        self, dimension: int = 30, regularize: float = 1.0, rounds: int = 10, classifier: Classifier = "logistic"
    ) -> None:
        super().__init__(dimension, regularize, rounds, None, classifier)


@register(
    "adaptation",
    "bda",
    summary="JDA with a balance between marginal and class means, found by the domains' distances",
    source="Wang et al. 2017, ICDM, arXiv 1807.00516",
    defaults={"any": {"dimension": 30, "regularize": 1.0, "rounds": 10, "classifier": "logistic"}},
    needs=("features",),
)
class Bda(_Joint):
    """Balanced distribution adaptation: (1 - μ) marginal + μ class terms.

    μ is estimated from *held-out* proxy A-distances of the domains and of their classes (the reference code uses
    training errors, which are 0 in many dimensions); `balance` sets it.
    """

    def __init__(
        self,
        dimension: int = 30,
        regularize: float = 1.0,
        rounds: int = 10,
        balance: float | None = None,
        classifier: Classifier = "logistic",
    ) -> None:
        super().__init__(dimension, regularize, rounds, balance, classifier)
        self.given = balance

    def fit(self, domains: Domains) -> Adapted:
        from headstart.adapt.shallow.balance import estimated_balance

        d = domains
        self.balance = self.given
        if self.given is None:
            said = classify(d.source, d.labels, d.target, d.classes, self.classifier).argmax(1)
            self.balance = estimated_balance(d, said)
        found = super().fit(d)
        return Adapted(found.probabilities, found.source, found.target, facts={**found.facts, "balance": self.balance})


def _unit(x: Array) -> Array:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _reduced(x: Array) -> Array:
    """At most `MOST_DIMENSIONS` columns, by the second moment (rows are not centred, so unit length means the same)."""
    if x.shape[1] <= MOST_DIMENSIONS:
        return x
    _, vectors = eigh(x.T @ x, subset_by_index=[x.shape[1] - MOST_DIMENSIONS, x.shape[1] - 1])
    return x @ vectors
