"""What the report of an adaptation says of each attempt and of the target; the oracle is read here, and nowhere before.

Nothing here decides anything: everything has been decided when it is called.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart.adapt.validators import names as validators
from headstart.data.schema import missing
from headstart.measure import find_metric, fit_temperature, paired_difference
from headstart.measure.label_shift import black_box_shares, expected_shares
from headstart.models.model import Model
from headstart.verbs.domain.attempt import Attempt, load_model, see
from headstart.verbs.domain.choosing import FLOORS, Choice
from headstart.verbs.domain.pair import TARGET, UNSEEN, Pair
from headstart.verbs.evaluation import calibrated, metrics_of, reliability
from headstart.verbs.frozen import FrozenProbe
from headstart.verbs.showing import shown

MOST_CHANGED = 24


@dataclass
class Outcome:
    """What an adaptation decided, before the oracle is read.

    Attributes
    ----------
    start
        The probe of the source; None where there are no source data.
    attempts
        The first of them knows nothing of the target.
    validator
        What the epochs of networks were judged by.
    seen
        (attempt, part) -> logits that were computed for the oracle.
    """

    start: FrozenProbe | None
    attempts: list[Attempt]
    scores: dict[str, dict[str, float]]
    choice: Choice
    model: Model
    reasons: list[str]
    asked: tuple[str, ...]
    validator: str
    seen: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)


def row(pair: Pair, outcome: Outcome, attempt: Attempt) -> dict[str, Any]:
    """One line of the table of attempts; what the oracle says stands apart."""
    labels = None if pair.oracle is None else pair.oracle.labels[TARGET]
    row: dict[str, Any] = {
        "method": attempt.name,
        "kind": attempt.kind,
        "taken": attempt.name == outcome.choice.taken.name,
        "scores": outcome.scores[attempt.name],
        "decided_by": outcome.choice.values.get(attempt.name),
        "seconds": round(attempt.seconds, 2),
        "facts": attempt.facts,
        "notes": attempt.notes,
        "curve": [
            {
                "epoch": r["epoch"] + 1,
                "kind": r["kind"],
                "score": r["score"],
                "source_accuracy": r["source_accuracy"],
                "oracle": None if labels is None else _right(r["said"].numpy(), labels),
            }
            for r in attempt.curve
        ],
        "oracle": None,
        "unseen": None,
    }
    if labels is not None:
        p = calibrated(pair.job.task, attempt.target.logits, 1.0)
        row["oracle"] = metrics_of(pair.job.task, labels, p, pair.job.options.seed)["accuracy"]
    if pair.oracle is not None and UNSEEN in pair.job.parts:
        p = calibrated(pair.job.task, _logits(pair, outcome, attempt, UNSEEN), 1.0)
        row["unseen"] = metrics_of(pair.job.task, pair.oracle.labels[UNSEEN], p, pair.job.options.seed)["accuracy"]
    return row


def _right(said: np.ndarray, labels: np.ndarray) -> float | None:
    """Accuracy; None where nothing has a label."""
    have = labels >= 0
    return float((said[have] == labels[have]).mean()) if have.any() else None


def agreement(pair: Pair, outcome: Outcome) -> dict[str, float | None] | None:
    """Validator -> Spearman's correlation with the oracle over the attempts; None without an oracle."""
    if pair.oracle is None or len(outcome.attempts) < 3:
        return None
    from scipy.stats import spearmanr

    labels = pair.oracle.labels[TARGET]
    truth = [_right(a.target.logits.argmax(1), labels) for a in outcome.attempts]
    if None in truth:
        return None  # only the part that is not adapted to has labels
    found: dict[str, float | None] = {}
    for name in validators(pair.model is None):
        values = [outcome.scores[a.name][name] for a in outcome.attempts]
        constant = len(set(values)) < 2 or len(set(truth)) < 2
        found[name] = None if constant else float(spearmanr(values, truth).statistic)
    return found


def shares(pair: Pair, floor: Attempt) -> dict[str, Any]:
    """Shares of the classes: in the source, and in the target by BBSE and EM (if nothing else differs)."""
    job = pair.job
    labels = job.labels("validation")
    temperature = fit_temperature(floor.source.logits, labels, "single-label")
    held_out, target = (calibrated(job.task, s.logits, temperature) for s in (floor.source, floor.target))
    source = np.bincount(job.labels("train"), minlength=len(job.task.classes)) / len(job.parts["train"])
    found = {
        "source": source.tolist(),
        "bbse": black_box_shares(held_out, labels, target).tolist(),
        "em": expected_shares(target, source).tolist(),
    }
    if pair.oracle is not None:
        known = pair.oracle.labels[TARGET]
        counts = np.bincount(known[known >= 0], minlength=len(job.task.classes))
        found["oracle"] = (counts / max(1, counts.sum())).tolist()
    return found


def changed(pair: Pair, plain: Attempt, p: np.ndarray) -> dict[str, Any]:
    """Target samples that adaptation answers otherwise than what knows nothing of the target, the surest first."""
    job, classes = pair.job, pair.job.task.classes
    said, before = p.argmax(1), plain.target.logits.argmax(1)
    rows = np.flatnonzero(said != before)
    order = rows[np.argsort(-p[rows].max(1), kind="stable")][:MOST_CHANGED]
    labels = None if pair.oracle is None else pair.oracle.labels[TARGET]
    samples = [
        {
            "id": pair.target.ids[int(i)],
            "before": classes[before[i]],
            "after": classes[said[i]],
            "confidence": float(p[i].max()),
            "oracle": None if labels is None or labels[i] < 0 else classes[labels[i]],
            **shown(job, pair.target, int(i)),
        }
        for i in order
    ]
    return {"than": plain.name, "count": len(rows), "of": len(said), "samples": samples}


def confidence(pair: Pair, p: np.ndarray) -> dict[str, Any]:
    """How sure the answers on the target are; with an oracle, how right."""
    counts, edges = np.histogram(p.max(1), bins=10, range=(0, 1))
    found: dict[str, Any] = {"counts": counts.tolist(), "edges": edges.tolist(), "bins": None}
    if pair.oracle is not None:
        labels = pair.oracle.labels[TARGET]
        found["bins"] = reliability(pair.job.task, labels, p)
    return found


def verdict(pair: Pair, outcome: Outcome, out: dict[str, np.ndarray]) -> dict[str, Any] | None:
    """Whether adapting helped, by the oracle, on the test part of the target where there is one; changes nothing."""
    if pair.oracle is None:
        return None
    unseen = pair.oracle.labels.get(UNSEEN)
    part = TARGET if unseen is None or missing(unseen).all() else UNSEEN
    labels = pair.oracle.labels[part]
    floors = {a.name: _logits(pair, outcome, a, part) for a in outcome.attempts if a.name in FLOORS}
    best = max(floors, key=lambda name: _right(floors[name].argmax(1), labels) or 0.0)
    metric = find_metric("single-label", "accuracy")
    difference = paired_difference(metric, labels, out[part], calibrated(pair.job.task, floors[best], 1.0))
    low, high = difference.low, difference.high
    word = "inconclusive"
    if low is not None and high is not None:
        word = "positive" if low > 0 else "negative" if high < 0 else "inconclusive"
    return {"verdict": word, "gap": difference.as_json(), "compared_with": best}


def _logits(pair: Pair, outcome: Outcome, attempt: Attempt, part: str) -> np.ndarray:
    """Of an attempt on one of the target's parts."""
    if part == TARGET:
        return attempt.target.logits
    key = (attempt.name, part)
    if key not in outcome.seen:
        outcome.seen[key] = see(pair, load_model(pair, attempt.name, outcome.start), part).logits
    return outcome.seen[key]
