"""The candidates of a fit, and which of them validation prefers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.progress import progress
from headstart.data.schema import missing
from headstart.features.probe import as_metric, as_outputs, sample_losses, score
from headstart.features.screen import Screening, paired_gain
from headstart.verbs.candidates import Arm, Candidate, train_candidate
from headstart.verbs.evaluation import calibrated, metrics_of
from headstart.verbs.fallback import Fallback, held_out_baselines
from headstart.verbs.frozen import FrozenProbe, may_mirror
from headstart.verbs.job import Job
from headstart.verbs.mixture import Mixture, temperature_of
from headstart.verbs.modalities import RawBaseline
from headstart.verbs.planner import arms_of, left_of, train_within


@dataclass
class Choice:
    """A candidate among those compared: its name, validation logits, and why it was (not) taken."""

    name: str
    start: FrozenProbe
    logits: np.ndarray
    candidate: Candidate | None
    why: str = ""


def make_choices(
    job: Job, screening: Screening, probes: Mapping[str, FrozenProbe], labels: np.ndarray, reasons: list[str]
) -> list[Choice]:
    """The probe, and what is trained beside it; what was decided on the way is added to `reasons`."""
    asked = job.options.strategy
    choices = [Choice("probe", probes["best"], probes["best"].validation, None)]
    # Nothing can be lost of a network that nobody trained, and a probe of it is no start.
    names = {"auto": ["lp-ft" if job.pretrained else "full"], "probe": []}.get(asked, [asked])
    if asked == "auto" and _perfect(job, probes["best"], labels):
        names = []
        reasons.append("The probe makes no error on validation: fine-tuning was not tried.")
    if names and job.options.budget is not None and not left_of(job):
        names = []
        spent = sum(job.seconds.values())
        reasons.append(
            f"Nothing was fine-tuned: {spent:.0f} s went by before training, and what is left of the budget of "
            f"{job.options.budget:.0f} s is kept for the test part and the report."
        )
        progress().say(reasons[-1])
    if not names:
        return choices
    mirror = False
    if job.options.augment != "none" and job.modality.name == "image":
        mirror, why = may_mirror(job, probes["best"])
        reasons.append(why)
    arms = arms_of(job) if asked == "auto" and job.options.budget is not None else [Arm(name, name) for name in names]
    starts = {arm.strategy: _start_of(job, arm.strategy, screening, probes) for arm in arms}
    if job.options.budget is not None:
        halves = probes["best"].halves
        rival = halves if job.few and halves is not None else probes["best"].validation
        found = train_within(job, arms, starts, mirror, rival, labels, reasons)
        candidates = [] if found is None else [found]
    else:
        candidates = [train_candidate(job, arm, starts[arm.strategy], mirror) for arm in arms]
    for candidate in candidates:
        reasons += candidate.notes
        choices.append(Choice(candidate.name, candidate.start, candidate.validation, candidate))
    return choices


def blends(job: Job) -> bool:
    """Whether a model without a network may have a say: as asked, else where the strategy is left to Headstart."""
    return job.options.strategy == "auto" if job.options.blend is None else job.options.blend


def _perfect(job: Job, probe: FrozenProbe, labels: np.ndarray) -> bool:
    """Whether no candidate can do better: the probe is right about every sample of validation, and as sure as asked."""
    have = ~(np.isnan(probe.validation).any(1) | missing(labels))
    if job.metric.needs_probabilities:
        best = 1.0 if job.metric.higher_is_better else 0.0
        if score(job.task, job.metric.name, labels[have], probe.validation[have]) != best:
            return False
    outputs = as_outputs(job.task, probe.validation[have])
    if job.task.kind == "single-label":
        return bool((outputs.argmax(1) == labels[have]).all())
    if job.task.kind == "multi-label":
        known = ~np.isnan(labels[have])
        return bool(((outputs >= 0.5) == (labels[have] > 0.5))[known].all())
    return bool((outputs == labels[have]).all())


def _start_of(job: Job, name: str, screening: Any, probes: Mapping[str, FrozenProbe]) -> FrozenProbe:
    """Where the network ends: lp-ft ends it at the best place where that is clearly better, others at the last."""
    best, last = probes["best"], probes["last"]
    if job.options.stage == "last" or (best.stage, best.grid) == (last.stage, last.grid):
        return last
    if job.options.stage != "auto":
        return best
    gain = screening.chosen.score - screening.last.score
    clear = gain > 2 * max(screening.chosen.error, screening.last.error)
    return best if name == "lp-ft" and clear else last


def choose(job: Job, choices: list[Choice], labels: np.ndarray, reasons: list[str]) -> Choice:
    """The better of probe and fine-tuning on the same validation samples; a strategy that was named is kept."""
    probe, rest = choices[0], choices[1:]
    if not rest:
        asked = job.options.strategy == "probe"
        probe.why = "asked for" if asked else "nothing was fine-tuned beside it"
        return probe
    tuned = rest[-1]
    rival = probe.start.halves if job.few and probe.start.halves is not None else probe.logits
    have = ~(np.isnan(rival).any(1) | np.isnan(tuned.logits).any(1))
    y, first, second = labels[have], rival[have], tuned.logits[have]
    if job.metric.needs_probabilities:  # they are compared as they would be handed back
        first, second = (z / temperature_of(job.task, y, z) for z in (first, second))
    gain, error = paired_gain(job.task, y, first, second, job.metric.name)
    less = float((sample_losses(job.task, y, first) - sample_losses(job.task, y, second)).mean())
    scores = (score(job.task, job.metric.name, y, z) for z in (first, second))
    a, b = (as_metric(job.task, job.metric.name, scored) for scored in scores)
    where = "out of two folds" if job.few else "on validation"
    said = f"{where}, {job.metric.name} is {b:.3f} for {tuned.name} and {a:.3f} for the probe"
    if job.options.strategy != "auto":
        tuned.why, probe.why = "asked for", f"baseline; {said}"
        reasons.append(f"{tuned.name} was asked for: {said}.")
        return tuned
    # Within a standard error the metric cannot tell them apart, nor where it is not defined (a class that validation
    # lacks); the loss, which moves with every sample, can.
    near = not abs(gain) > error
    winner, loser = (tuned, probe) if (less > 0 if near else gain > 0) else (probe, tuned)
    if near:
        said += f", too near to tell; the loss is {abs(less):.3f} {'lower' if less > 0 else 'higher'} for {tuned.name}"
    winner.why, loser.why = f"better {where}", f"not better {where}"
    reasons.append(f"{winner.name} was chosen: {said}.")
    return winner


def comparable(
    job: Job,
    chosen: Choice,
    fallback: Fallback | None,
    mixture: Mixture,
    raw: RawBaseline,
    last: FrozenProbe,
    labels: np.ndarray,
) -> float | None:
    """The deciding metric, on held-out samples, of what is handed back, so that seeds can be compared by it.

    Where data are few, one seed may have stopped at its probe, which five folds judge, and another have fine-tuned,
    which two do: all are taken out of two. None where it is not defined.
    """
    two = job.options.strategy != "probe"
    baselines = held_out_baselines(job, raw, last, labels, two)
    logits = chosen.logits if fallback is None else baselines.get(fallback.name, fallback.logits)
    if fallback is None and two and chosen.candidate is None and chosen.start.halves is not None:
        logits = chosen.start.halves
    beside = baselines["raw_features"]
    have = ~(np.isnan(logits).any(1) | np.isnan(beside).any(1) | missing(labels))
    outputs = mixture.outputs(job.task, logits[have], beside[have])
    value = float(job.metric.function(labels[have], outputs)) if have.any() else math.nan
    return None if math.isnan(value) else value


def row_of(job: Job, choice: Choice, chosen: bool, labels: np.ndarray, trained: bool) -> dict[str, Any]:
    """A row of what was tried; the probe out of the same two folds as the others, where data are few and some were."""
    start = choice.start
    halves = job.few and trained and choice.candidate is None
    logits = start.halves if halves and start.halves is not None else choice.logits
    metrics = metrics_of(job.task, labels, calibrated(job.task, logits, temperature_of(job.task, labels, logits)))
    name = "probe" if choice.candidate is None else choice.name
    return {
        "name": choice.name,
        "detail": _place(job, start),
        "validation": metrics[job.metric.name],
        "seconds": round(job.seconds.get(name, 0.0), 2),
        "chosen": chosen,
        "why": choice.why,
    }


def _place(job: Job, start: FrozenProbe) -> str:
    """Where a candidate reads the network, in words."""
    grid = f", {start.grid}×{start.grid}" if job.modality.name == "image" else ""
    size = f", {start.size} {job.modality.unit}" if job.modality.unit else ""
    return f"{start.stage}{grid}{size}"


def row_of_baseline(job: Job, fallback: Fallback, labels: np.ndarray, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The row of the baseline that is handed back; `seconds` are those of the steps."""
    step = {"linear_probe": "probe", "scratch": "scratch"}.get(fallback.name, "raw")
    have = ~(np.isnan(fallback.logits).any(1) | missing(labels))
    y, logits = labels[have], fallback.logits[have]
    metrics = metrics_of(job.task, y, calibrated(job.task, logits, temperature_of(job.task, y, logits)))
    return {
        "name": fallback.name,
        "detail": {"linear_probe": "without fine-tuning", "scratch": "from random weights"}.get(
            fallback.name, "without a network"
        ),
        "validation": metrics[job.metric.name],
        "seconds": round(seconds.get(step, 0.0), 2),
        "chosen": True,
        "why": "better than the network on held-out samples",
    }
