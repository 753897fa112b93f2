"""How good an attempt is without the target's labels: every validator, and the labels that were given on purpose."""

from __future__ import annotations

import numpy as np

from headstart.adapt.validators import Evidence, names, validate
from headstart.measure import fit_temperature
from headstart.verbs.domain.attempt import Attempt, Seen
from headstart.verbs.domain.pair import Pair
from headstart.verbs.evaluation import calibrated

DEFAULT = "infomax"


def evidence(pair: Pair, source: Seen, target: Seen) -> Evidence:
    """Of a model's logits and features. Probabilities are at the temperature that fits the held-out source, so that a
    model is not preferred for being overconfident."""
    job = pair.job
    labels = job.labels("validation")
    temperature = fit_temperature(source.logits, labels, "single-label")
    p, q = (calibrated(job.task, s.logits, temperature) for s in (source, target))
    return Evidence(p, labels, source.features, q, target.features)


def scores(pair: Pair, attempt: Attempt) -> dict[str, float]:
    """Validator -> score (a durable step)."""

    def computed() -> dict[str, float]:
        e = evidence(pair, attempt.source, attempt.target)
        return {name: float(validate(name, e)) for name in names()}

    found = pair.job.step(f"scores-{attempt.name}", computed)
    return {name: float(np.float64(value)) for name, value in found.items()}
