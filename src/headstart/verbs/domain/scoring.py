"""How good an attempt is without the target's labels: every validator, and the labels that were given on purpose."""

from __future__ import annotations

import numpy as np

from headstart.adapt.validators import Evidence, names, validate
from headstart.verbs.domain.attempt import Attempt, Seen
from headstart.verbs.domain.pair import Pair
from headstart.verbs.evaluation import calibrated

DEFAULT = "infomax"


def evidence(pair: Pair, source: Seen, target: Seen) -> Evidence:
    """Of a model's logits and features. Probabilities are as the model gives them: a temperature that fits the source
    would punish what has left the source behind."""
    job = pair.job
    p, q = (calibrated(job.task, s.logits, 1.0) for s in (source, target))
    labels = job.labels("validation") if pair.model is None else np.empty(0, np.int64)
    return Evidence(p, labels, source.features, q, target.features)


def scores(pair: Pair, attempt: Attempt) -> dict[str, float]:
    """Validator -> score (a durable step); without source data, of those that need none."""

    def computed() -> dict[str, float]:
        e = evidence(pair, attempt.source, attempt.target)
        return {name: float(validate(name, e)) for name in names(pair.model is None)}

    found = pair.job.step(f"scores-{attempt.name}", computed)
    return {name: float(np.float64(value)) for name, value in found.items()}
