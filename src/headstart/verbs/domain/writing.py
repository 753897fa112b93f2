"""The end of an adaptation: the oracle is read, once; then bundle, predictions, report.json and report.html."""

from __future__ import annotations

import datetime
import time
from typing import Any

import numpy as np
import pandas as pd
import torch

from headstart.adapt.validators import names as validators
from headstart.core.memory import peak_memory_mb
from headstart.core.registry import get
from headstart.data.schema import MISSING
from headstart.measure import fit_temperature
from headstart.models.bundle import Bundle, save_bundle
from headstart.models.traced import TracedBackbone
from headstart.store.atomic import replacing
from headstart.verbs.domain.attempt import Attempt, see
from headstart.verbs.domain.gap import by_class, gap
from headstart.verbs.domain.gap import verdict as in_words
from headstart.verbs.domain.maps import write_maps
from headstart.verbs.domain.pair import TARGET, UNSEEN, Oracle, Pair
from headstart.verbs.domain.rows import Outcome, agreement, changed, confidence, row, shares, verdict
from headstart.verbs.evaluation import calibrated, metrics_of, prediction_rows
from headstart.verbs.job import SPEED
from headstart.verbs.report import report
from headstart.verbs.writing import versions


def finish(pair: Pair, outcome: Outcome, begun: float) -> None:
    """Write everything; report.json comes last."""
    job, task, taken = pair.job, pair.job.task, outcome.choice.taken
    folder = job.folder
    temperature = _temperature(pair, taken)
    out = {TARGET: calibrated(task, taken.target.logits, temperature)}
    if UNSEEN in job.parts:
        out[UNSEEN] = calibrated(task, see(pair, outcome.model, UNSEEN).logits, temperature)
    rows = []
    for part, p in out.items():
        labels = _oracle(pair.oracle, part, len(p))
        rows.append(prediction_rows(task, part, list(job.parts[part].ids), labels, p))
    with replacing(folder.predictions) as path:
        pd.concat(rows, ignore_index=True).to_parquet(path)
    outcome.model.backbone.augmentations = {}
    about = {"name": folder.path.name, "strategy": taken.name, "versions": versions()}
    schema = job.dataset.schema
    if job.module is None or isinstance(outcome.model.backbone, TracedBackbone):
        bundle = Bundle(outcome.model, (task,), {task.name: temperature}, about, schema.inputs, schema.reading)
        save_bundle(folder.bundle, bundle)
    write_maps(pair, outcome.start, outcome.attempts[0], taken, out[TARGET])
    folder.write_report(_report(pair, outcome, out, temperature, time.monotonic() - begun))
    folder.clear_checkpoints()
    report(folder.path)


def _temperature(pair: Pair, taken: Attempt) -> float:
    """Fitted to held-out source samples; without these, what the source's own run fitted."""
    if pair.model is not None:
        return pair.model.temperature
    return fit_temperature(taken.source.logits, pair.job.labels("validation"), "single-label")


def _oracle(oracle: Oracle | None, part: str, n: int) -> np.ndarray:
    return np.full(n, MISSING, np.int64) if oracle is None else oracle.labels[part]


def _report(
    pair: Pair, outcome: Outcome, out: dict[str, np.ndarray], temperature: float, seconds: float
) -> dict[str, Any]:
    job, choice, oracle = pair.job, outcome.choice, pair.oracle
    task, taken, backbone = job.task, choice.taken, outcome.model.backbone
    floor = outcome.attempts[0]
    source = pair.model.name if pair.model is not None else job.dataset.name
    peak = peak_memory_mb()
    parameters = [
        q for n, q in outcome.model.named_parameters() if not n.startswith(("backbone.source_head.", "parts."))
    ]
    return {
        "schema": 1,
        "kind": "adaptation",
        "name": job.folder.path.name,
        "status": "finished",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "task": {"name": task.name, "kind": task.kind, "classes": list(task.classes)},
        "data": {
            "name": f"{source} → {pair.target.name}",
            "source": source,
            "target": pair.target.name,
            "modality": job.dataset.schema.modality,
            "parts": {part: len(data) for part, data in job.parts.items() if part not in ("screen", "test")},
            "notes": job.notes.as_json(),
        },
        "model": {
            "reference": job.options.model if pair.model is None else f"run:{source}",
            "architecture": backbone.provenance.architecture,
            "family": backbone.family,
            "source": backbone.provenance.source,
            "licence": backbone.provenance.licence,
            "stage": list(backbone.stages)[-1] if outcome.start is None else outcome.start.stage,
            "grid": outcome.model.grid,
            "image_size": backbone.input_spec.size if job.modality.name == "image" else None,
            "truncated": getattr(backbone, "ended_at", None) is not None,
            "notes": [{"level": "info", "topic": "model", "text": t} for t in backbone.provenance.notes],
        },
        "strategy": {"name": taken.name, "asked": ",".join(outcome.asked), "reasons": outcome.reasons},
        "adaptation": {
            "validator": choice.by,
            "epochs_by": outcome.validator,
            "refused": choice.refused,
            "attempts": [row(pair, outcome, a) for a in outcome.attempts],
            "validators": {name: get("validator", name).summary for name in validators(pair.model is None)},
            "agreement": agreement(pair, outcome),
            **_domains(pair, outcome, out[TARGET].argmax(1)),
            "changed": changed(pair, floor, out[TARGET]),
            "confidence": confidence(pair, out[TARGET]),
            "verdict": verdict(pair, outcome, out),
        },
        "metric": "accuracy",
        "metrics": {
            **({} if pair.model is not None else {"source": metrics_of(
                task, job.labels("validation"), calibrated(task, taken.source.logits, temperature), job.options.seed
            )}),
            **({} if oracle is None else {
                f"{part} (oracle)": metrics_of(task, _oracle(oracle, part, len(p)), p, job.options.seed)
                for part, p in out.items()
            }),
        },
        "calibration": {"temperature": temperature},
        "cost": {
            "seconds": round(max(seconds, sum(job.seconds.values())), 2),
            "parts": {k: round(v, 2) for k, v in job.seconds.items()},
            "peak_memory_mb": round(peak),
            "parameters": {"total": sum(q.numel() for q in parameters), "trained": None},
            "device": str(job.device),
            "precision": job.precision_of("adapt"),
            "threads": torch.get_num_threads(),
        },
        "seeds": [job.options.seed],
        "options": job.options.model_dump(mode="json", exclude={"out"}),
        "versions": versions(),
        "notes": [n for n in job.notes.as_json() if n["topic"] == SPEED],
    }  # fmt: skip


def _domains(pair: Pair, outcome: Outcome, said: np.ndarray) -> dict[str, Any]:
    """How the domains lie to each other; of the target alone, where there are no source data."""
    job, start, taken = pair.job, outcome.start, outcome.choice.taken
    if start is None:
        counts = np.bincount(said, minlength=len(job.task.classes)).tolist()
        rows = [
            {"class": c, "source": None, "target": n, "moved": None}
            for c, n in zip(job.task.classes, counts, strict=True)
        ]
        return {"without_source": True, "shift": None, "classes": rows, "shares": None}
    place, seed = (start.stage, start.grid), job.options.seed
    x = {part: job.features(start.size, part, [place])[place] for part in ("train", TARGET)}
    before = gap(x["train"], x[TARGET], seed)
    after = gap(torch.from_numpy(taken.source.features), torch.from_numpy(taken.target.features), seed)
    word, text = in_words(before)
    return {
        "without_source": False,
        "shift": {"before": before, "after": after, "verdict": word, "text": text},
        "classes": by_class(x["train"], job.labels("train"), x[TARGET], said, job.task.classes),
        "shares": shares(pair, outcome.attempts[0]),
    }
