"""Labels that a probe which has not seen the sample doubts, as a finding."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.words import is_are
from headstart.data.schema import missing
from headstart.features.probe import STRENGTHS, as_outputs, fit_probe
from headstart.features.solved import remembered
from headstart.inspect.findings import Finding, Level, finding
from headstart.inspect.labels import (
    Suspicion,
    is_available,
    suspicious_labels,
    suspicious_numbers,
    suspicious_sets,
)
from headstart.measure import fit_temperature
from headstart.verbs.job import Job

WEAK = (0.01, 0.001)
"""Strengths of the probe that judges classes: weak, so that rare kinds of a class are not called errors."""

TRUSTED = 0.8
"""How right a probe must be (accuracy out of fold, every label of a sample, R²) for its doubts to be a finding."""

MOSTLY = 0.5
"""Share of a probe's errors that must be blamed on labels for these to be more than a note."""


@dataclass(frozen=True)
class _Doubt:
    """What is doubted, how right the probe is (in words `how_right`), and what it says of what it doubts."""

    suspicion: Suspicion
    right: float
    how_right: str
    why: str


def doubtful_labels(
    job: Job, x: Tensor, held_out: np.ndarray | None, measured: dict[str, Any]
) -> tuple[list[Finding], list[str]]:
    """The finding, and the ids of the training part by doubt in their label, most doubtful first.

    Parameters
    ----------
    x
        (N, D) features of the training part.
    held_out
        (N, K) logits by models that did not see the sample, where there are any; else a probe makes them.
    measured
        Receives how many labels are doubtful.
    """
    if job.task.kind != "regression" and not is_available():
        return [
            finding("labels", "note", "Label errors were not looked for: cleanlab is not installed.",
                    "pip install headstart[audit]")
        ], []  # fmt: skip
    labels = job.labels("train")
    known = ~missing(labels) if labels.ndim == 1 else ~np.isnan(labels).any(axis=1)
    if held_out is None:
        have = np.flatnonzero(known)
        if not len(have):
            return [], []
        folds = torch.as_tensor(np.random.default_rng(job.options.seed).permutation(len(have)) % 5)
        strengths = STRENGTHS if job.task.kind == "regression" else WEAK
        logits = fit_probe(x[have], labels[have], job.task, job.metric.name, folds, None, strengths).held_out.numpy()
    else:
        have = np.flatnonzero(known & ~np.isnan(held_out).any(axis=1))
        logits = held_out[have]
    doubt = None if len(have) < 2 else _doubt(job, x[have], labels[have], logits)
    if doubt is None:
        return [], []
    ids = [job.parts["train"].ids[int(i)] for i in have]
    issues = doubt.suspicion.issues
    what = {"regression": "values", "multi-label": "sets of labels"}.get(job.task.kind, "labels")
    measured["label_errors"] = {"estimate": len(issues), "of": len(have)}
    ordered = [ids[i] for i in doubt.suspicion.order]
    if not len(issues):
        return [], ordered
    share = len(issues) / len(have)
    named = [ids[i] for i in issues]
    said = f"{len(named):,} of {len(have):,} training {what} ({share:.1%}) {is_are(len(named))} doubtful"
    if doubt.right < TRUSTED:
        why = f"; but the probe that doubts them is {doubt.how_right} itself: its doubts mean little."
        todo = "Look at the first few; a better network (`headstart rank`) doubts better."
        return [finding("labels", "note", said + why, todo, named)], ordered
    # Of the samples that the probe gets wrong, confident learning blames some on the label. Where these are few, the
    # probe's own errors are the rest, and some of the blame is mistaken too.
    mostly = job.task.kind == "regression" or share / max(1 - doubt.right, 1e-9) >= MOSTLY
    todo = "Look at the samples named, the most doubtful first; never correct the test part by a model."
    level: Level = "note" if not mostly else "serious" if share > 0.05 else "worth a look"
    return [finding("labels", level, said + doubt.why, todo, named)], ordered


def _doubt(job: Job, x: Tensor, labels: np.ndarray, logits: np.ndarray) -> _Doubt | None:
    """Doubts by the kind of labels; None where there is nothing to tell apart."""
    task = job.task
    if task.kind == "regression":
        said = as_outputs(task, logits)
        if not labels.var():
            return None
        suspicion = suspicious_numbers(labels, said)
        # One value with its decimal point in the wrong place would make any probe look useless.
        good = np.setdiff1d(np.arange(len(labels)), suspicion.issues)
        r2 = 1 - float(((said[good] - labels[good]) ** 2).mean()) / max(float(labels[good].var()), 1e-300)
        why = f": they lie far from what a probe that has not seen them (R² {r2:.2f}) says."
        return _Doubt(suspicion, r2, f"of little use (R² {r2:.2f})", why)
    p = as_outputs(task, logits / fit_temperature(logits, labels, task.kind))
    if task.kind == "multi-label":
        sets = labels > 0.5
        if not (sets.any(axis=0) & ~sets.all(axis=0)).any():
            return None
        right = float(((p >= 0.5) == sets).all(axis=1).mean())
        why = f": a probe that has not seen them (right on all labels of {right:.1%}) is sure of others."
        return _Doubt(_remembered(x, sets, p), right, f"right on all labels of only {right:.0%}", why)
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        return None
    p = p[:, classes] / p[:, classes].sum(axis=1, keepdims=True)
    numbers = numbers.reshape(-1)
    right = float((p.argmax(axis=1) == numbers).mean())
    why = f": a probe that has not seen them (right on {right:.1%}) is sure of another class."
    return _Doubt(_remembered(x, numbers, p), right, f"right on only {right:.0%}", why)


def _remembered(x: Tensor, labels: np.ndarray, p: np.ndarray) -> Suspicion:
    """Doubts about classes; read where the same were computed before, as importing cleanlab takes longer."""

    def compute() -> dict[str, Any]:
        found = suspicious_labels(labels, p) if labels.ndim == 1 else suspicious_sets(labels, p)
        return {name: torch.from_numpy(value.copy()) for name, value in vars(found).items()}

    found = remembered("doubts about labels", x, [labels, p, version("cleanlab")], compute)
    return Suspicion(**{name: value.numpy() for name, value in found.items()})
