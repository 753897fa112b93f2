"""The learning curve of fine-tuning (`--curve full`): the strategy, trained on nested subsets of the training part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from headstart.core.progress import progress
from headstart.data import Dataset
from headstart.data.schema import missing
from headstart.data.stratify import indicators, nested_order
from headstart.features.curve import LEAST, RESAMPLES, described
from headstart.features.probe import as_outputs, class_weights, fit_probe
from headstart.measure.intervals import resamples_of
from headstart.verbs.candidates import Candidate, train_candidate
from headstart.verbs.frozen import FrozenProbe
from headstart.verbs.job import Job

HALVINGS = 3
"""Subsets: an eighth, a quarter and a half of the labels; with all of them the strategy has been trained already."""


def tuned_curve(job: Job, candidate: Candidate) -> dict[str, Any] | None:
    """Measure and fit the curve of a candidate; the form of `features.curve.learning_curve`.

    Every size is scored on the same samples: the validation part, or, where data are few, all by two folds. Each
    subset is trained as a data set of its own would be: its own probe as the start, its own number of epochs, stopped
    on the samples that it is scored on. None where there are too few labels for three sizes.
    """
    labels = job.labels("train")
    known = np.flatnonzero(~missing(labels))
    whole = len(known) // (2 if job.few else 1)
    sizes = [n for n in (whole // 2**i for i in range(HALVINGS, 0, -1)) if n >= LEAST]
    if len(sizes) < 2:
        return None
    part = "train" if job.few else "validation"
    truth = job.labels(part)
    made = [_scored(job, candidate, n) for n in sizes] + [candidate.validation]
    scored = ~missing(truth) & ~np.any([np.isnan(z).any(1) for z in made], axis=0)
    y, function = truth[scored], job.metric.of_resamples or job.metric.function
    weights = np.concatenate(list(resamples_of(len(y), job.options.seed, RESAMPLES)))
    every = [as_outputs(job.task, z[scored]) for z in made]
    values = np.array([job.metric.function(y, out) for out in every])
    if np.isnan(values).any():
        return None
    draws = np.stack([function(y, out, weights) for out in every], axis=1)
    return described(job.metric, np.array([*sizes, whole], dtype=float), values, draws)


def _scored(job: Job, candidate: Candidate, n: int) -> np.ndarray:
    """(N, K) held-out logits of the same, trained on n labels."""
    arm, start = candidate.arm, candidate.start
    part = "train" if job.few else "validation"
    found = np.full((len(job.parts[part]), job.task.outputs), np.nan, dtype=np.float32)
    for fold, rows, held, data in _folds(job):
        labels = job.labels("train")[rows]
        some = rows[nested_order(indicators(job.task, labels), job.options.seed)[:n]]
        own = replace(
            job,
            parts={**job.parts, "train": job.parts["train"].subset(some), "validation": data},
            splits=replace(job.splits, protocol="held-out"),
            folds=job.folds[torch.as_tensor(some)],
            halves=job.halves[torch.as_tensor(some)],
            _features={},
            seconds={},  # the step "curve" counts them
        )
        named = replace(arm, name=f"curve {n}{fold}", trial=True)
        progress().say(f"Learning curve: {arm.strategy} on {n} labels{fold.replace(' fold', ', fold')}")
        found[held] = train_candidate(own, named, _restarted(job, own, start, some), candidate.mirror).validation
    return found


def _folds(job: Job) -> Iterator[tuple[str, np.ndarray, np.ndarray, Dataset]]:
    """Name, rows of the training part to draw from, rows that are scored, and these as data."""
    train = job.parts["train"]
    known = ~missing(job.labels("train"))
    if not job.few:
        data = job.parts["validation"]
        yield "", np.flatnonzero(known), np.arange(len(data)), data
        return
    halves = job.halves.numpy()
    for fold in range(int(halves.max()) + 1):
        held = np.flatnonzero(halves == fold)
        yield f" fold {fold + 1}", np.flatnonzero((halves != fold) & known), held, train.subset(held)


def _restarted(job: Job, own: Job, start: FrozenProbe, rows: np.ndarray) -> FrozenProbe:
    """The probe of the subset, at the place and strength of the whole."""
    place = (start.stage, start.grid)
    x = job.features(start.size, "train", [place])[place][torch.as_tensor(rows)]
    labels = own.labels("train")
    weights = class_weights(job.task, labels) if job.balanced else None
    none = torch.full((len(rows),), -1, dtype=torch.long)
    probe = fit_probe(x, labels, job.task, job.metric.name, none, weights, [start.probe.strength])
    return replace(start, probe=probe, halves=None)
