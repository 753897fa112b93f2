"""Does sharing help? Each task against a model of its own, and the guard that gives a harmed task its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.progress import progress
from headstart.features.probe import as_outputs
from headstart.measure import Interval, paired_difference
from headstart.verbs.candidates import Arm, Candidate, train_candidate
from headstart.verbs.job import Job
from headstart.verbs.tasks.recipe import Trained
from headstart.verbs.tasks.rule import metric_value
from headstart.verbs.tasks.starts import Start
from headstart.verbs.tasks.view import TaskJob

PROBE, TUNED, SHARED, BRANCH = "probe", "own model", "shared model", "own branch"

WORDS = {
    "positive": "Sharing helps",
    "negative": "Sharing hurts",
    "inconclusive": "Whether sharing helps is open",
}


@dataclass
class Alone:
    """What a task has without the others.

    Attributes
    ----------
    name
        "probe" or "own model", the better of the two on held-out data.
    candidate
        The fine-tuned model of this task alone; None where none was trained.
    validation
        (n, K) held-out logits of `name`.
    """

    name: str
    candidate: Candidate | None
    validation: np.ndarray


@dataclass
class Verdict:
    """Of one task, on held-out data.

    Attributes
    ----------
    gap
        Metric of the shared model minus that of the task alone, in the direction of better, with its paired interval.
    kept
        What is handed back for this task: "shared model", "own branch", "probe" or "own model".
    said, given
        The same in words: what sharing did, and what the task is given if not the shared model.
    """

    gap: Interval
    kept: str
    said: str
    given: str = ""

    @property
    def text(self) -> str:
        """All of it."""
        return f"{self.said}. {self.given}".strip()


def run_alone(
    job: Job,
    views: Mapping[str, TaskJob],
    starts: Mapping[str, Start],
    shared: Trained,
    mirror: Mapping[str, bool],
    reasons: list[str],
) -> dict[str, Alone]:
    """Single-task baselines: every task's probe; a fine-tuned model of its own where asked for, or where needed.

    With `--baselines quick` such a model is trained for a task only where sharing is in doubt: where the shared model
    is not clearly better than the task's probe, or where the task's gradient points against another's on average.
    """
    found = {}
    for name, view in views.items():
        probe = probe_logits(view, starts[name])
        doubt = _doubt(view, probe, shared, list(views).index(name)) if shared.strategy.phases else ""
        wanted = bool(shared.strategy.phases) and (job.options.baselines == "full" or bool(doubt))
        if not wanted or job.options.guard == "off":
            found[name] = Alone(PROBE, None, probe)
            continue
        if job.options.baselines != "full":
            reasons.append(f"{name}: {doubt}, so a model of its own was trained, too.")
            progress().say(f"- {reasons[-1]}")
        asked = "lp-ft" if job.options.strategy == "auto" else job.options.strategy
        arm = Arm(f"own-task-{view.number}", asked)
        candidate = train_candidate(view, arm, starts[name].own, mirror[name])
        labels = view.labels(view.held_out)
        sign = 1 if view.metric.higher_is_better else -1
        tuned, solved = (metric_value(view, labels, z) for z in (candidate.validation, probe))
        better = sign * (tuned - solved) > 0
        found[name] = Alone(TUNED if better else PROBE, candidate, candidate.validation if better else probe)
    return found


def probe_logits(view: TaskJob, start: Start) -> np.ndarray:
    """Held-out logits of the task's own probe: out of two folds where data are few, as the fine-tuned models'."""
    own = start.own
    return own.halves if view.few and own.halves is not None else own.validation


def _doubt(view: TaskJob, probe: np.ndarray, shared: Trained, number: int) -> str:
    """Why sharing may harm this task; "" where nothing says so."""
    gap = better_by(view, view.labels(view.held_out), shared.validation[view.task.name], probe)
    if gap.low is None or gap.low <= 0:
        return "the shared model is not clearly better than its probe"
    if shared.cosines:
        mean = np.nanmean(np.stack([matrix.numpy()[number] for _, matrix in shared.cosines]), axis=0)
        if (np.delete(mean, number) < 0).any():
            return "its gradient points against another task's"
    return ""


def judge_sharing(
    views: Mapping[str, TaskJob], shared: Trained, alone: Mapping[str, Alone], guard: bool
) -> dict[str, Verdict]:
    """Task -> verdict on held-out data; with `guard`, a task that does better alone is given what it has alone.

    "Does better" is by more than a standard error of the paired difference: a harmed task costs more than a model that
    did not have to be.
    """
    found = {}
    for name, view in views.items():
        labels = view.labels(view.held_out)
        gap = better_by(view, labels, shared.validation[name], alone[name].validation)
        kept = SHARED
        if guard and certainly_worse(gap):
            kept = alone[name].name
        said = verdict_of(gap)
        text = f"{name}: {WORDS[said].lower()}"
        if gap.value is not None and gap.low is not None and gap.high is not None:
            how = "better" if gap.value >= 0 else "worse"
            text += (
                f": on validation the shared model is {abs(gap.value):.3f} {how} in {view.metric.name} than the task "
                f"alone ({alone[name].name}; 95% interval {gap.low:+.3f} to {gap.high:+.3f})"
            )
        given = "" if kept == SHARED else f"It is given its own {'network' if kept == TUNED else 'probe'}."
        found[name] = Verdict(gap, kept, text, given)
    return found


def certainly_worse(gap: Interval) -> bool:
    """Whether a paired difference is below zero by more than a standard error."""
    if gap.value is None or gap.low is None or gap.high is None:
        return False
    return gap.value + (gap.high - gap.low) / (2 * 1.96) < 0


def verdict_of(gap: Interval) -> str:
    """ "positive", "negative" or "inconclusive", by the interval."""
    if gap.low is None or gap.high is None:
        return "inconclusive"
    return "positive" if gap.low > 0 else "negative" if gap.high < 0 else "inconclusive"


def better_by(view: TaskJob, labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> Interval:
    """How much better one model's logits are than another's in the task's metric; above zero is better."""
    have = ~(np.isnan(ours).any(axis=1) | np.isnan(theirs).any(axis=1))
    a, b = (as_outputs(view.task, z[have]) for z in (ours, theirs))
    gap = paired_difference(view.metric, labels[have], a, b)
    if view.metric.higher_is_better or gap.value is None:
        return gap
    return Interval(-gap.value, None if gap.high is None else -gap.high, None if gap.low is None else -gap.low)


def as_rows(cosines: list[tuple[int, Any]]) -> list[dict[str, Any]]:
    """The cosines of every epoch for report.json; null where two tasks never met."""
    rows = []
    for epoch, matrix in cosines:
        table = [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in matrix.tolist()]
        rows.append({"epoch": int(epoch) + 1, "matrix": table})
    return rows
