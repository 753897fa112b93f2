"""What is handed back, on held-out samples and on the test part, beside the baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headstart.models.bundle import load_bundle
from headstart.models.model import Model
from headstart.train.inference import outputs
from headstart.verbs.evaluation import calibrated
from headstart.verbs.fallback import constant_model
from headstart.verbs.job import Job
from headstart.verbs.mixture import constant_outputs
from headstart.verbs.showing import Judged
from headstart.verbs.start import build_model

if TYPE_CHECKING:
    from headstart.verbs.writing import Result


def handed_back(job: Job, result: Result) -> Model:
    """The model that the bundle holds: the network, or the baseline that took its place."""
    if result.fallback is None:
        return result.network
    if result.fallback.name == "linear_probe":
        return build_model(job, result.probes["last"], "probe").eval()
    if result.fallback.name == "scratch" and result.scratch is not None:
        return load_bundle(result.scratch.path / "bundle").model
    return constant_model(job, result.raw.model) if result.fallback.name == "majority" else result.raw.model


def on_validation(job: Job, result: Result, model: Model) -> Judged:
    """On the validation part; out of folds where data are few."""
    part, task = "train" if job.few else "validation", job.task
    labels = job.labels(part)
    have = ~np.isnan(result.validation).any(1)
    data, labels = job.parts[part].subset(np.flatnonzero(have)), labels[have]
    logits = result.validation[have]
    baselines = {n: calibrated(task, z[have], result.temperatures[n]) for n, z in result.baselines.items()}
    baselines["majority"] = constant_outputs(task, job.labels("train"), len(labels))
    features = None
    if "test" not in job.parts and not job.few and result.fallback is None:
        features = outputs(model, job.reader(model.backbone), part, features=True).features
    final = result.mixture.outputs(task, logits, result.baselines["raw_features"][have])
    return Judged("validation", data, labels, logits, final, baselines, features)


def on_test(job: Job, result: Result, model: Model) -> Judged:
    """On the test part: every model runs over it once."""
    data, task, raw = job.parts["test"], job.task, result.raw.model
    last, start = result.probes["last"], result.start
    # One pass for the baseline and for the map of the features before training.
    place, own = (last.stage, last.grid), (start.stage, start.grid)
    frozen = job.features(last.size, "test", list(dict.fromkeys([place, own])))
    without = outputs(raw, job.reader_once(raw.backbone), "test").logits[task.name]
    # In float32 whatever training used: a bundle must predict the same on every machine.
    if result.candidate is None and start.size == last.size and job.engines.in_float32:
        logits = start.probe.logits(frozen[own]).numpy()
        pooled: np.ndarray | None = frozen[own].numpy()
    else:
        network = result.network
        found = outputs(network, job.reader(network.backbone), "test", features=True)
        logits, pooled = found.logits[task.name], found.features
    if result.fallback is not None and result.fallback.name == "linear_probe" and not job.engines.in_float32:
        probe = outputs(model, job.reader(model.backbone), "test").logits[task.name]
    else:
        probe = last.probe.logits(frozen[place]).numpy()
    baselines = {
        "majority": constant_outputs(task, job.labels("train"), len(data)),
        "raw_features": calibrated(task, without, result.temperatures["raw_features"]),
        "linear_probe": calibrated(task, probe, result.temperatures["linear_probe"]),
    }
    if result.scratch is not None:
        baselines["scratch"] = result.scratch.outputs("test", data)
    labels = job.labels("test")
    if result.fallback is None:
        final = result.mixture.outputs(task, logits, without)
        return Judged("test", data, labels, logits, final, baselines, pooled)
    rejected = calibrated(task, logits, result.temperatures[result.chosen])
    instead = {"raw_features": without, "linear_probe": probe}.get(result.fallback.name)
    if instead is None:
        instead = outputs(model, job.reader_once(model.backbone), "test").logits[task.name]
    if result.fallback.name == "scratch" and result.scratch is not None and task.kind != "regression":
        instead = instead / result.scratch.temperature  # as on validation
    final = result.mixture.outputs(task, instead)
    return Judged("test", data, labels, instead, final, baselines, network=rejected)
