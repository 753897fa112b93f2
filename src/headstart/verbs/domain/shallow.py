"""Shallow adaptation: a method labels the target on frozen features, and a linear head learns to give those labels.

Many shallow methods answer only for the samples they were fitted with. A head on the target's features that imitates
the answers makes every one of them a network that can be kept and predicts on new samples; how often head and method
agree is reported. What a run calls the method's result is the head's.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.adapt.shallow import Domains, build
from headstart.core.errors import DataError
from headstart.core.seeding import derive
from headstart.features.probe import Probe, fit_probe
from headstart.models.model import Model
from headstart.verbs.domain.attempt import Attempt, Seen, keep_model
from headstart.verbs.domain.pair import TARGET, Pair
from headstart.verbs.frozen import FrozenProbe
from headstart.verbs.job import Job
from headstart.verbs.start import build_model

SOURCE_ONLY = "source-only"
FOLDS = 5


def run_shallow(pair: Pair, name: str, start: FrozenProbe) -> Attempt:
    """Fit a method on the frozen features of the start's place (a durable step)."""
    job = pair.job
    tree = job.step(f"adapt-{name}", lambda: _run(pair, name, start).as_tree())
    return Attempt.from_tree(tree, job.seconds[f"adapt-{name}"])


def _run(pair: Pair, name: str, start: FrozenProbe) -> Attempt:
    job, place = pair.job, (start.stage, start.grid)
    x = {part: job.features(start.size, part, [place])[place] for part in ("train", "validation", TARGET)}
    facts: dict[str, Any] = {}
    notes: list[str] = []
    probe = start.probe
    if name != SOURCE_ONLY:
        begun = time.monotonic()
        domains = Domains(
            x["train"].double().numpy(), job.labels("train"), x[TARGET].double().numpy(), len(job.task.classes)
        )
        found = build(name).fit(domains)
        facts = {**found.facts, "fit_seconds": round(time.monotonic() - begun, 2)}
        said = found.probabilities.argmax(1)
        if len(np.unique(said)) < 2:
            raise DataError(
                f"{name} gives every target sample the class {job.task.classes[said[0]]!r}.",
                "The domains may be too far apart for it; leave it out of --method.",
            )
        probe = imitating(job, x[TARGET], found.probabilities)
        agreement = float((probe.logits(x[TARGET]).argmax(1).numpy() == said).mean())
        facts["head_agrees"] = round(agreement, 4)
        if agreement < 0.98:
            notes.append(f"The head gives {agreement:.1%} of the answers that {name} gives.")
    keep_model(pair, name, with_head(job, start, probe))
    source, target = (Seen(probe.logits(x[part]).numpy(), x[part].numpy()) for part in ("validation", TARGET))
    return Attempt(name, "shallow", source, target, facts=facts, notes=notes)


def imitating(job: Job, x: Tensor, probabilities: np.ndarray) -> Probe:
    """A linear model that gives the answers of (M, K) probabilities on (M, D) features, confident ones first."""
    labels = probabilities.argmax(1)
    sure = torch.from_numpy(probabilities.max(1)).float()
    folds = torch.as_tensor(np.random.default_rng(derive(job.options.seed, "imitate")).integers(0, FOLDS, len(x)))
    if len(np.unique(labels)) * FOLDS > len(x):
        folds = torch.full((len(x),), -1)
    return fit_probe(x, labels, job.task, job.metric.name, folds, sure / sure.mean())


def with_head(job: Job, start: FrozenProbe, probe: Probe) -> Model:
    """The frozen network with a probe's solution as its head."""
    from dataclasses import replace

    return build_model(job, replace(start, probe=probe), "probe").eval()
