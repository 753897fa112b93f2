"""How a model in training is judged: on which samples, how often, and which epoch is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.data.schema import missing
from headstart.features.probe import sample_losses, score
from headstart.models.model import Model
from headstart.store.tensors import save_tree
from headstart.train.inference import outputs
from headstart.train.loop import Score, Trainer
from headstart.train.phase import Strategy
from headstart.verbs.interpolation import HALF, in_between
from headstart.verbs.job import Job


class Judge:
    """Scores a model on a part, and keeps the logits of every epoch on disk, so that a resumed run has them too.

    With the weights that training starts from, it keeps those of the weights half-way there, too ("half").
    """

    def __init__(
        self, job: Job, reader: Any, part: str, label: str, start: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        self.job, self.reader, self.part, self.start = job, reader, part, start
        self.trainer: Trainer | None = None
        self.folder = job.folder.checkpoints / f"{label}-epochs"

    def path(self, phase: int, epoch: int, kind: str) -> Path:
        return self.folder / f"{phase}-{epoch}-{kind}.safetensors"

    def __call__(self, model: Model, phase: int = 0, epoch: int = 0, kind: str = "raw") -> Score:
        job = self.job
        # Where activations are kept, validation reads them too.
        reader = self.trainer.ctx.reader if self.trainer is not None else self.reader
        logits = outputs(model, reader, self.part, dtype=job.dtype).logits[job.task.name]
        labels = self.reader.parts[self.part].labels(job.task.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        save_tree(self.path(phase, epoch, kind), torch.from_numpy(logits))
        if self.start is not None and kind == "raw":
            with in_between(model, self.start, HALF):
                half = outputs(model, reader, self.part, dtype=job.dtype).logits[job.task.name]
            save_tree(self.path(phase, epoch, "half"), torch.from_numpy(half))
        value = score(job.task, job.metric.name, labels, logits)
        return Score(value, loss_of_logits(job, labels, logits), value if job.metric.higher_is_better else -value)


def loss_of_logits(job: Job, labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean loss over the labelled samples; squared error for regression."""
    have = ~missing(labels)
    z, y = torch.from_numpy(logits[have]).double(), torch.from_numpy(labels[have])
    if job.task.kind == "single-label":
        return float(torch.nn.functional.cross_entropy(z, y))
    if job.task.kind == "multi-label":
        known = ~torch.isnan(y)
        each = torch.nn.functional.binary_cross_entropy_with_logits(z, torch.nan_to_num(y).double(), reduction="none")
        return float(each[known].mean())
    return float(((z[:, 0] - y.double()) ** 2).mean())


def latest_of_the_best(job: Job, labels: np.ndarray, held: dict[tuple[int, str], np.ndarray]) -> tuple[int, str, str]:
    """The latest epoch whose loss is within a standard error (paired) of the lowest; raw or averaged, the lower.

    The loss is taken at its best temperature: one is fitted afterwards anyway, and over little data the metric's
    steps are too coarse. The latest, and none of the first half, because a schedule that was stopped half-way has
    not settled: with 100 digits and 20 of 60 epochs .904 of the test digits were right, with all 60 .938.
    Weights half-way to the start ("half") are taken where they are better by more than a standard error; the third
    that is returned says what they would change, "" where they were not looked at.
    """
    middle = max(epoch for epoch, _ in held) / 2
    every = {key: sample_losses(job.task, labels, logits) for key, logits in held.items() if key[0] >= middle}
    losses = {key: each for key, each in every.items() if key[1] != "half"}
    best = min(losses.values(), key=np.mean)
    near = [k for k, v in losses.items() if (v - best).mean() <= (v - best).std() / np.sqrt(len(v))]
    latest = max(epoch for epoch, _ in near)
    taken = min((k for k in near if k[0] == latest), key=lambda k: float(losses[k].mean()))
    if (latest, "half") in every:
        less = losses[taken] - every[latest, "half"]
        error = float(less.std() / np.sqrt(len(less)))
        change = f"{-less.mean():+.3f} (standard error {error:.3f})"
        said = f"half-way from the probe, the loss out of folds changes by {change}"
        if less.mean() > error:
            return latest, "half", f"Weights were interpolated: {said}."
        return *taken, f"Weights were not interpolated: {said}."
    return *taken, ""


def judged_rarely(strategy: Strategy) -> Strategy:
    """About six validations per phase: over many short epochs, judging each would cost as much as training."""
    rarer = [
        p if p.validate_every is None else replace(p, validate_every=max(1, p.epochs // 6)) for p in strategy.phases
    ]
    return replace(strategy, phases=tuple(rarer))
