"""Optimal transport: each source sample moves to where its mass goes in the target."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.spatial.distance import cdist

from headstart.adapt.shallow.coral import matrix_power
from headstart.adapt.shallow.method import Adapted, Array, Classifier, Domains, Shallow, centred, classify, onehot
from headstart.core.errors import ConfigError
from headstart.core.registry import register

MOST_SAMPLES = 4000
"""Of each domain: a plan has a number for every pair, and exact transport is about cubic. Beyond, some are drawn."""

CLASS_ROUNDS = 5


class _Transport(Shallow):
    """Barycentric mapping of the source by a transport plan, then a classifier.

    Costs are squared distances divided by their median, so that penalties mean the same at every scale.
    """

    def __init__(self, classifier: Classifier = "logistic") -> None:
        self.classifier = classifier

    facts: ClassVar[dict[str, Any]] = {}

    def plan(self, cost: Array, labels: Array, a: Array, b: Array) -> Array:
        """(N, M) with marginals a and b."""
        raise NotImplementedError

    def fit(self, domains: Domains) -> Adapted:
        d, drawn = drawn_from(domains)
        cost = normalised_cost(d.source, d.target)
        a, b = np.full(len(d.source), 1 / len(d.source)), np.full(len(d.target), 1 / len(d.target))
        plan = self.plan(cost, d.labels, a, b)
        mass = plan.sum(1)
        moved = plan @ d.target / np.maximum(mass, 1e-300)[:, None]
        kept = mass > 0
        probabilities = classify(moved[kept], d.labels[kept], domains.target, d.classes, self.classifier)
        facts = {"source_samples": len(d.source), "target_samples": len(d.target)} if drawn else {}
        return Adapted(probabilities, moved if not drawn else None, d.target if not drawn else None, facts=facts)


@register(
    "adaptation",
    "ot-emd",
    summary="optimal transport without a penalty: the source moves to its exact match",
    source="Courty et al. 2017, TPAMI, arXiv 1507.00504, by POT",
    defaults={"any": {"classifier": "logistic"}},
    needs=("features", "POT"),
)
class Emd(_Transport):
    """The exact plan, by POT's network simplex."""

    def plan(self, cost: Array, labels: Array, a: Array, b: Array) -> Array:
        return exact_plan(cost, a, b)


@register(
    "adaptation",
    "ot-sinkhorn",
    summary="optimal transport with an entropy penalty",
    source="Cuturi 2013, arXiv 1306.0895; Courty et al. 2017, by POT",
    defaults={"any": {"entropy": 0.05, "classifier": "logistic"}},
    needs=("features", "POT"),
)
class Sinkhorn(_Transport):
    """Entropic plan; `entropy` is in units of the median cost."""

    def __init__(self, entropy: float = 0.05, classifier: Classifier = "logistic") -> None:
        super().__init__(classifier)
        self.entropy = entropy

    def plan(self, cost: Array, labels: Array, a: Array, b: Array) -> Array:
        return entropic_plan(cost, a, b, self.entropy)


@register(
    "adaptation",
    "ot-class",
    summary="entropic transport in which a target sample draws from one class only (Lp-L1)",
    source="Courty et al. 2014, ECML; 2017, TPAMI, by POT",
    defaults={"any": {"entropy": 0.05, "strength": 0.01, "classifier": "logistic"}},
    needs=("features", "POT"),
)
class ClassRegularized(_Transport):
    """Adds strength · Σ over classes and targets of (mass from the class)^½, which is concave: its tangent is a cost.

    POT has the same (`sinkhorn_lpl1_mm`), but it cannot be told to keep quiet while it has not converged.
    """

    def __init__(self, entropy: float = 0.05, strength: float = 0.01, classifier: Classifier = "logistic") -> None:
        super().__init__(classifier)
        self.entropy, self.strength = entropy, strength

    def plan(self, cost: Array, labels: Array, a: Array, b: Array) -> Array:
        concave = np.zeros_like(cost)
        plan = np.zeros_like(cost)
        for _ in range(CLASS_ROUNDS):
            plan = entropic_plan(cost + self.strength * concave, a, b, self.entropy, 60)
            for c in np.unique(labels):
                rows = labels == c
                concave[rows] = 0.5 / np.sqrt(plan[rows].sum(0) + 1e-12)
        return plan


@register(
    "adaptation",
    "ot-linear",
    summary="the linear map that transports one Gaussian onto the other",
    source="Knott & Smith 1984; Flamary et al. 2019, arXiv 1905.10155",
    defaults={"any": {"regularize": 0.1, "classifier": "logistic"}},
    needs=("features",),
)
class Linear(Shallow):
    """x → μt + (x - μs) A with A = Cs^-1/2 (Cs^1/2 Ct Cs^1/2)^1/2 Cs^-1/2; the ridge in mean variances."""

    def __init__(self, regularize: float = 0.1, classifier: Classifier = "logistic") -> None:
        self.regularize, self.classifier = regularize, classifier

    def fit(self, domains: Domains) -> Adapted:
        d = domains
        (xs, _), (xt, mean) = centred(d.source), centred(d.target)
        unit = self.regularize * max(float(np.concatenate([xs, xt]).var(0).mean()), 1e-12) * np.eye(xs.shape[1])
        cs = xs.T @ xs / max(1, len(xs) - 1) + unit
        ct = xt.T @ xt / max(1, len(xt) - 1) + unit
        root, inverse = matrix_power(cs, 0.5), matrix_power(cs, -0.5)
        source = xs @ (inverse @ matrix_power(root @ ct @ root, 0.5) @ inverse) + mean
        return Adapted(classify(source, d.labels, d.target, d.classes, self.classifier), source, d.target)


@register(
    "adaptation",
    "ot-labels",
    summary="target samples take the labels whose mass reaches them",
    source="Redko et al. 2019, AISTATS, arXiv 1803.04899, by POT",
    defaults={"any": {"entropy": 0.02}},
    needs=("features", "POT"),
)
class LabelTransport(Shallow):
    """p(c | target j) ∝ Σ over source samples of class c of the plan's mass to j."""

    def __init__(self, entropy: float = 0.02) -> None:
        self.entropy = entropy

    def fit(self, domains: Domains) -> Adapted:
        d, _ = drawn_from(domains, target=False)
        cost = normalised_cost(d.source, d.target)
        a, b = np.full(len(d.source), 1 / len(d.source)), np.full(len(d.target), 1 / len(d.target))
        plan = entropic_plan(cost, a, b, self.entropy)
        mass = plan.T @ onehot(d.labels, d.classes) + 1e-300
        return Adapted(mass / mass.sum(1, keepdims=True))


@register(
    "adaptation",
    "jdot",
    summary="joint transport of features and labels: classifier and plan in turns",
    source="Courty et al. 2017, NeurIPS, arXiv 1705.08848, by POT",
    defaults={"any": {"feature_weight": 1.0, "rounds": 10, "classifier": "logistic"}},
    needs=("features", "POT"),
)
class Jdot(Shallow):
    """Minimise over plan and classifier f: Σ plan_ij (α d(x_i, x_j) + ‖y_i - f(x_j)‖²); labels move along the plan."""

    def __init__(self, feature_weight: float = 1.0, rounds: int = 10, classifier: Classifier = "logistic") -> None:
        self.feature_weight, self.rounds, self.classifier = feature_weight, rounds, classifier

    def fit(self, domains: Domains) -> Adapted:
        d, _ = drawn_from(domains)
        y = onehot(d.labels, d.classes)
        features = self.feature_weight * normalised_cost(d.source, d.target)
        a, b = np.full(len(d.source), 1 / len(d.source)), np.full(len(d.target), 1 / len(d.target))
        f = classify(d.source, d.labels, d.target, d.classes, self.classifier)
        said, rounds = f.argmax(1), 0
        while rounds < self.rounds:
            rounds += 1
            plan = exact_plan(features + cdist(y, f, "sqeuclidean"), a, b)
            moved = (plan.T @ y).argmax(1)
            f = classify(d.target, moved, d.target, d.classes, "logistic")
            before, said = said, f.argmax(1)
            if np.array_equal(before, said):
                break
        if len(d.target) < len(domains.target):
            f = classify(d.target, said, domains.target, d.classes, "logistic")
        return Adapted(f, facts={"rounds": rounds})


def exact_plan(cost: Array, a: Array, b: Array) -> Array:
    """(N, M) the cheapest plan with marginals a and b."""
    return np.asarray(_ot().emd(a, b, cost, numItermax=2_000_000))


def entropic_plan(cost: Array, a: Array, b: Array, entropy: float, steps: int = 200) -> Array:
    """(N, M) the plan of least cost minus entropy times its entropy, in the log domain; close to its marginals."""
    return np.asarray(
        _ot().sinkhorn(a, b, cost, entropy, method="sinkhorn_log", numItermax=steps, stopThr=1e-6, warn=False)
    )


def normalised_cost(x: Array, y: Array) -> Array:
    """(N, M) squared distances over their median."""
    cost = cdist(x, y, "sqeuclidean")
    return cost / max(float(np.median(cost)), 1e-12)


def drawn_from(d: Domains, target: bool = True) -> tuple[Domains, bool]:
    """At most `MOST_SAMPLES` of each domain, drawn once and for all; whether any were left out."""
    order = np.random.default_rng(0)
    rows = [np.arange(len(x)) for x in (d.source, d.target)]
    for i, limited in enumerate((True, target)):
        if limited and len(rows[i]) > MOST_SAMPLES:
            rows[i] = np.sort(order.permutation(rows[i])[:MOST_SAMPLES])
    less = len(rows[0]) < len(d.source) or len(rows[1]) < len(d.target)
    return Domains(d.source[rows[0]], d.labels[rows[0]], d.target[rows[1]], d.classes), less


def _ot() -> Any:
    try:
        import ot
    except ModuleNotFoundError:
        raise ConfigError(
            "This method needs the package POT (optimal transport), which is not installed.",
            "pip install headstart[adapt]",
        ) from None
    return ot
