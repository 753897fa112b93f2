"""The end of a fit: the test part is read, once; then bundle, predictions, report.json and report.html are written."""

from __future__ import annotations

import datetime
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import torch

import headstart
from headstart.core.memory import peak_memory_mb
from headstart.core.progress import progress
from headstart.features.curve import learning_curve
from headstart.features.probe import as_metric
from headstart.features.screen import Row, Screening
from headstart.features.solved import remembered
from headstart.measure import find_metric
from headstart.models.bundle import Bundle, save_bundle
from headstart.models.model import Model
from headstart.models.traced import TracedBackbone
from headstart.store.atomic import replacing
from headstart.verbs.candidates import Candidate
from headstart.verbs.check import examine
from headstart.verbs.evaluation import (
    calibrated,
    confused_pairs,
    confusion,
    keep_answers,
    metrics_of,
    per_class,
    prediction_rows,
    reliability,
)
from headstart.verbs.fallback import Fallback
from headstart.verbs.forgetting import forgetting
from headstart.verbs.frozen import FrozenProbe
from headstart.verbs.guard import verdict
from headstart.verbs.job import SPEED, Job
from headstart.verbs.judged import handed_back, on_test, on_validation
from headstart.verbs.mixture import Mixture
from headstart.verbs.modalities import RawBaseline
from headstart.verbs.report import report
from headstart.verbs.scratch import Scratch
from headstart.verbs.showing import Judged, examples, rests_on, worst, write_maps
from headstart.verbs.slices import slices


@dataclass
class Result:
    """What a fit decided, before the test is read.

    Attributes
    ----------
    network, chosen, candidate, start
        The network that validation prefers, the strategy it comes from, and where it starts.
    validation, baselines
        (N, K) held-out logits of what is handed back, and of each baseline.
    temperatures
        Of each baseline and of the network chosen, by name: what is compared is calibrated, like what is handed back.
    mixture
        How logits become answers.
    fallback, scratch
        The baseline that is handed back instead of the network, and the network from random weights; or None.
    curve
        The learning curve of fine-tuning, where it was asked for.
    held_out
        The deciding metric of what is handed back, by the protocol that all seeds share.
    """

    network: Model
    chosen: str
    candidate: Candidate | None
    start: FrozenProbe
    validation: np.ndarray
    baselines: dict[str, np.ndarray]
    temperatures: dict[str, float]
    mixture: Mixture
    fallback: Fallback | None
    scratch: Scratch | None
    curve: dict[str, Any] | None
    held_out: float | None
    probes: dict[str, FrozenProbe]
    raw: RawBaseline
    screening: Screening
    tried: list[dict[str, Any]]
    reasons: list[str]


def finish(job: Job, result: Result, start: float) -> None:
    """Read the test, write everything. Files that say that a run has ended (report.json) come last."""
    task, folder = job.task, job.folder
    model = handed_back(job, result)
    judged = {"validation": on_validation(job, result, model)}
    if "test" in job.parts:
        progress().say("Reading the test part, once")
        judged["test"] = on_test(job, result, model)
    final = judged.get("test", judged["validation"])
    write_maps(job, result.start, final)
    keep_answers(folder, final.labels, final.outputs, final.baselines, final.network)
    rows = [prediction_rows(task, j.part, list(j.data.ids), j.labels, j.outputs) for j in judged.values()]
    with replacing(folder.predictions) as path:
        pd.concat(rows, ignore_index=True).to_parquet(path)
    # Views of training are not part of the model that is kept.
    model.backbone.augmentations = {}
    metrics = {part: metrics_of(task, j.labels, j.outputs, job.options.seed) for part, j in judged.items()}
    about = {"name": folder.path.name, "metrics": metrics, "versions": versions(), "strategy": result.chosen}
    bundled = job.module is None or result.fallback is not None or isinstance(model.backbone, TracedBackbone)
    if bundled:
        save_bundle(folder.bundle, _bundle(job, result, model, about))
    examined = examine(job, result.screening, result.probes["best"].probe.held_out.numpy())
    curve = _curve(job, result)
    everything = _report(job, result, model, judged, metrics, time.monotonic() - start)
    everything |= {"findings": examined["findings"], "curve": curve, "tuned_curve": result.curve}
    everything["slices"] = slices(job, final)
    everything["forgetting"] = forgetting(job, result, final)
    everything["worst"] = worst(job, final)
    everything["importance"] = rests_on(job, model, final)
    everything["data"]["examples"] = examples(job)
    folder.write_report(everything)
    folder.clear_checkpoints()
    report(folder.path)


def _bundle(job: Job, result: Result, model: Model, about: dict[str, Any]) -> Bundle:
    task, schema, mixture = job.task, job.dataset.schema, result.mixture
    beside = Bundle(result.raw.model, (task,), {task.name: mixture.raw_temperature}) if mixture.weight else None
    temperature = mixture.temperature
    if result.fallback is not None and result.fallback.name == "scratch" and result.scratch is not None:
        temperature *= result.scratch.temperature  # the mixture's is of logits that were divided by it
    temperatures, columns, reading = {task.name: temperature}, schema.inputs, schema.reading
    return Bundle(model, (task,), temperatures, about, columns, reading, beside, mixture.weight)


def _curve(job: Job, result: Result) -> dict[str, Any] | None:
    """What more labels would be worth to the probe at its best stage."""
    start = result.probes["best"]
    place = (start.stage, start.grid)
    x, labels = job.features(start.size, "train", [place])[place], job.labels("train")
    held = None if job.few else (job.features(start.size, "validation", [place])[place], job.labels("validation"))
    metric, seed = job.metric, job.options.seed
    inputs = [labels, job.task.kind, job.task.outputs, metric.name, job.folds, *(held or ()), seed]
    return remembered(
        "learning curve",
        x,
        inputs,
        lambda: {"curve": learning_curve(x, labels, job.task, metric, job.folds, held, seed)},
    )["curve"]


# -- report.json ------------------------------------------------------------------------------------------------


def _report(
    job: Job, result: Result, model: Model, judged: dict[str, Judged], metrics: dict[str, Any], seconds: float
) -> dict[str, Any]:
    task, final = job.task, judged.get("test", judged["validation"])
    matrix = confusion(task, final.labels, final.outputs)
    baselines: dict[str, Any] = {}
    for part, j in judged.items():
        rejected = {} if j.network is None else {"network": j.network}
        for name, out in (j.baselines | rejected).items():
            baselines.setdefault(name, {})[part] = metrics_of(task, j.labels, out, job.options.seed)
    raw = job.modality.raw_words
    ours, subject = (final.outputs, "the model") if final.network is None else (final.network, "the network")

    def screened(row: Row) -> dict[str, Any]:
        return {**row.as_json(), "score": as_metric(task, job.metric.name, row.score), "std": row.error}

    guard = verdict(job.metric, final.labels, ours, final.baselines, final.part, raw, job.pretrained, subject)
    return {
        "schema": 1,
        "name": job.folder.path.name,
        "status": "finished",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "task": {"name": task.name, "kind": task.kind, "classes": list(task.classes)},
        "data": about_data(
            job, job.modality.lengths(job, result.network.backbone), {p: counts_of(job, p) for p in parts_of(job)}
        ),
        "model": about_model(job, model),
        "strategy": {
            "name": result.chosen if result.fallback is None else result.fallback.name,
            "network": result.chosen,
            "asked": job.options.strategy,
            "reasons": result.reasons,
            "phases": [p.as_json() for p in result.candidate.strategy.phases] if result.candidate else [],
        },
        "fallback": None if result.fallback is None else {"to": result.fallback.name, "text": result.fallback.text},
        "blend": None
        if not result.mixture.weight
        else {"weight": result.mixture.weight, "with": job.modality.raw_name(task)},
        "metric": job.metric.name,
        "held_out": result.held_out,
        "metrics": metrics,
        "per_class": per_class(task, final.labels, final.outputs),
        "confusion": None
        if matrix is None
        else {"part": final.part, "classes": list(task.classes), "matrix": matrix.tolist()},
        "confused": confused_pairs(task, list(final.data.ids), final.labels, final.outputs),
        "calibration": _calibration(job, result, final),
        "baselines": baselines,
        "raw_features_name": job.modality.raw_name(task),
        "guard": guard,
        "tried": result.tried,
        "screen": {
            "metric": job.metric.name,
            "samples": len(job.screened),
            "chosen": screened(result.screening.chosen),
            "rows": [screened(row) for row in result.screening.rows],
        },
        "cost": _cost(job, result, model, seconds),
        "seeds": [job.options.seed],
        "split_seed": job.options.split_seed,
        "options": job.options.model_dump(mode="json", exclude={"out"}),
        "versions": versions(),
        "notes": [n for n in job.notes.as_json() if n["topic"] == SPEED],
    }


def about_data(job: Job, lengths: dict[str, Any] | None, counts: dict[str, Any]) -> dict[str, Any]:
    """What was learned from; `counts` are of labels, by part."""
    shapes = np.asarray(job.dataset.sizes)
    area = np.argsort(shapes.prod(1), kind="stable")
    sizes = {
        name: shapes[area[i]].tolist() for name, i in (("smallest", 0), ("median", len(area) // 2), ("largest", -1))
    }
    own = parts_of(job)
    return {
        "name": job.dataset.name,
        "modality": job.dataset.schema.modality,
        "samples": sum(len(job.parts[part]) for part in own),
        "available": len(job.dataset),
        "parts": {part: len(job.parts[part]) for part in own},
        "protocol": job.splits.protocol,
        "counts": counts,
        "sizes": sizes,
        "size_unit": job.modality.unit,
        "lengths": lengths,
        "channels": job.dataset.schema.channels,
        "fingerprint": job.dataset.fingerprint(),
        "notes": [n for n in job.notes.as_json() if n["topic"] != SPEED],
        "examples": [],
    }


def parts_of(job: Job) -> list[str]:
    """The parts there are."""
    return [p for p in ("train", "validation", "test") if p in job.parts]


def counts_of(job: Job, part: str) -> dict[str, float]:
    """Samples of every class; of numbers their mean, deviation and range."""
    labels, task = job.labels(part), job.task
    if task.kind == "regression":
        known = labels[~np.isnan(labels)]
        return {k: float(getattr(known, k)()) for k in ("mean", "std", "min", "max")}
    if task.kind == "multi-label":
        return {c: int(np.nansum(labels[:, i])) for i, c in enumerate(task.classes)}
    counts = np.bincount(labels[labels >= 0], minlength=len(task.classes))
    return dict(zip(task.classes, counts.tolist(), strict=True))


def about_model(job: Job, model: Model) -> dict[str, Any]:
    """Where the network comes from and where it ends."""
    backbone = model.backbone
    provenance = backbone.provenance
    carried = getattr(backbone, "carried", None)
    return {
        "reference": job.options.model,
        "architecture": provenance.architecture,
        "family": backbone.family,
        "source": provenance.source,
        "licence": provenance.licence,
        "stage": list(backbone.stages)[-1],
        "grid": model.grid,
        "image_size": backbone.input_spec.size if job.modality.name == "image" else None,
        "max_length": backbone.input_spec.size if job.modality.name == "text" else None,
        "pooling": backbone.input_spec.pooling if job.modality.name != "image" else None,
        "vocabulary": None if carried is None else {"shared": carried.shared, "total": carried.total},
        "truncated": getattr(backbone, "ended_at", None) is not None,
        "weights_sha256": provenance.sha256,
        "notes": [{"level": "info", "topic": "model", "text": text} for text in provenance.notes],
    }


def _calibration(job: Job, result: Result, final: Judged) -> dict[str, Any] | None:
    if job.task.kind == "regression":
        return None
    # The logits of a network from random weights come divided by a temperature of their own.
    own = result.scratch if result.fallback is not None and result.fallback.name == "scratch" else None
    already = 1.0 if own is None else own.temperature
    plain = calibrated(job.task, final.logits * already, 1.0)

    def error(values: np.ndarray) -> float | None:
        if job.task.kind != "single-label":
            return None
        found = float(find_metric("single-label", "ece").function(final.labels, values))
        return found if np.isfinite(found) else None

    return {
        "temperature": result.mixture.temperature * already,
        "before": {"ece": error(plain)},
        "after": {"ece": error(final.outputs)},
        "bins": reliability(job.task, final.labels, final.outputs),
    }


def _cost(job: Job, result: Result, model: Model, seconds: float) -> dict[str, Any]:
    heads = sum(p.numel() for p in model.heads.parameters())
    trained = result.candidate.trained if result.candidate and result.fallback is None else heads
    precision = job.precision_of(result.candidate.name) if result.candidate else job.precision_of("")
    also = {} if result.scratch is None else {"scratch": result.scratch.seconds}
    return cost_of(job, model, seconds, trained, precision, also)


def cost_of(
    job: Job, model: Model, seconds: float, trained: int, precision: str, also: dict[str, float] | None = None
) -> dict[str, Any]:
    """Time by step (and of what was done `also`), memory, weights."""
    peak = peak_memory_mb()
    parameters = [p for n, p in model.named_parameters() if not n.startswith("backbone.source_head.")]
    steps = dict(job.seconds) | (also or {})
    return {
        # Work that an interrupted run had done already is counted by its steps, not by this process's clock.
        "seconds": round(max(seconds, sum(steps.values())), 2),
        "parts": {k: round(v, 2) for k, v in steps.items()},
        "peak_memory_mb": round(peak),
        "peak_gpu_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20) if job.device.type == "cuda" else None,
        "parameters": {"total": sum(p.numel() for p in parameters), "trained": trained},
        "device": str(job.device),
        "precision": precision,
        "threads": torch.get_num_threads(),
    }


def versions() -> dict[str, str]:
    """Versions of Headstart and of what its numbers depend on."""
    names = ("torch", "torchvision", "timm", "transformers", "scikit-learn", "numpy", "safetensors")
    return {"headstart": headstart.__version__, "python": platform.python_version()} | {n: version(n) for n in names}
