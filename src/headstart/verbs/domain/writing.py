"""The end of an adaptation: the oracle is read, once; then bundle, predictions, report.json and report.html."""

from __future__ import annotations

import datetime
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from headstart.adapt.validators import names as validators
from headstart.core.registry import get
from headstart.data.schema import MISSING
from headstart.features.screen import Screening
from headstart.measure import find_metric, fit_temperature, paired_difference
from headstart.measure.label_shift import black_box_shares, expected_shares
from headstart.models.bundle import Bundle, save_bundle
from headstart.models.model import Model
from headstart.models.traced import TracedBackbone
from headstart.store.atomic import replacing
from headstart.verbs.domain.attempt import Attempt, load_model, see
from headstart.verbs.domain.choosing import Choice
from headstart.verbs.domain.gap import by_class, gap, verdict
from headstart.verbs.domain.pair import TARGET, UNSEEN, Oracle, Pair
from headstart.verbs.evaluation import calibrated, metrics_of, prediction_rows, reliability
from headstart.verbs.frozen import MAP_SAMPLES, FrozenProbe
from headstart.verbs.report import report
from headstart.verbs.showing import shown, two_components
from headstart.verbs.writing import versions

MOST_CHANGED = 24


@dataclass
class Outcome:
    """What an adaptation decided, before the oracle is read."""

    start: FrozenProbe
    screening: Screening
    attempts: list[Attempt]
    scores: dict[str, dict[str, float]]
    choice: Choice
    model: Model
    reasons: list[str]
    asked: tuple[str, ...]


def finish(pair: Pair, outcome: Outcome, begun: float) -> None:
    """Write everything; report.json comes last."""
    job, task, taken = pair.job, pair.job.task, outcome.choice.taken
    folder = job.folder
    temperature = fit_temperature(taken.source.logits, job.labels("validation"), "single-label")
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
    _write_maps(pair, outcome, out[TARGET])
    folder.write_report(_report(pair, outcome, out, temperature, time.monotonic() - begun))
    folder.clear_checkpoints()
    report(folder.path)


def _oracle(oracle: Oracle | None, part: str, n: int) -> np.ndarray:
    return np.full(n, MISSING, np.int64) if oracle is None else oracle.labels[part]


# -- the map -----------------------------------------------------------------------------------------------------------


def _write_maps(pair: Pair, outcome: Outcome, p: np.ndarray) -> None:
    """maps.parquet: both domains on two axes, before (frozen features) and after (of the model handed back)."""
    job, taken = pair.job, outcome.choice.taken
    place = (outcome.start.stage, outcome.start.grid)
    frozen = {part: job.features(outcome.start.size, part, [place])[place].numpy() for part in ("validation", TARGET)}
    n = min(MAP_SAMPLES // 2, len(frozen["validation"])), min(MAP_SAMPLES // 2, len(frozen[TARGET]))
    rows = [
        np.random.default_rng(i).permutation(len(x))[:k]
        for i, (x, k) in enumerate(zip(frozen.values(), n, strict=True))
    ]
    before = np.concatenate([x[r] for x, r in zip(frozen.values(), rows, strict=True)])
    after = np.concatenate([taken.source.features[rows[0]], taken.target.features[rows[1]]])
    classes = np.array(job.task.classes)
    frame: dict[str, Any] = {
        "domain": ["source"] * n[0] + ["target"] * n[1],
        "label": np.r_[classes[job.labels("validation")[rows[0]]], classes[p.argmax(1)[rows[1]]]],
    }
    for name, x in (("before", before), ("after", after)):
        points = two_components(x)
        frame[f"{name}_x"], frame[f"{name}_y"] = points.T
        # The target by itself: on the axes of both, what tells domains apart hides what tells classes apart.
        own = np.full_like(points, np.nan)
        own[n[0] :] = two_components(x[n[0] :])
        frame[f"own_{name}_x"], frame[f"own_{name}_y"] = own.T
    with replacing(job.folder.maps) as path:
        pd.DataFrame(frame).to_parquet(path)


# -- report.json -------------------------------------------------------------------------------------------------------


def _report(
    pair: Pair, outcome: Outcome, out: dict[str, np.ndarray], temperature: float, seconds: float
) -> dict[str, Any]:
    job, choice, oracle = pair.job, outcome.choice, pair.oracle
    task, taken, backbone = job.task, choice.taken, outcome.model.backbone
    place = (outcome.start.stage, outcome.start.grid)
    x = {part: job.features(outcome.start.size, part, [place])[place] for part in ("train", TARGET)}
    floor = next(a for a in outcome.attempts if a.name == "source-only")
    before = gap(x["train"], x[TARGET], job.options.seed)
    after = gap(torch.from_numpy(taken.source.features), torch.from_numpy(taken.target.features), job.options.seed)
    said = out[TARGET].argmax(1)
    plain = floor.target.logits.argmax(1)
    word, text = verdict(before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
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
            "name": f"{job.dataset.name} → {pair.target.name}",
            "source": job.dataset.name,
            "target": pair.target.name,
            "modality": job.dataset.schema.modality,
            "parts": {part: len(data) for part, data in job.parts.items() if part not in ("screen", "test")},
            "notes": job.notes.as_json(),
        },
        "model": {
            "reference": job.options.model,
            "architecture": backbone.provenance.architecture,
            "family": backbone.family,
            "source": backbone.provenance.source,
            "licence": backbone.provenance.licence,
            "stage": outcome.start.stage,
            "grid": outcome.start.grid,
            "image_size": backbone.input_spec.size if job.modality.name == "image" else None,
            "truncated": getattr(backbone, "ended_at", None) is not None,
            "notes": [{"level": "info", "topic": "model", "text": t} for t in backbone.provenance.notes],
        },
        "strategy": {"name": taken.name, "asked": ",".join(outcome.asked), "reasons": outcome.reasons},
        "adaptation": {
            "validator": choice.by,
            "refused": choice.refused,
            "attempts": [_row(pair, outcome, a) for a in outcome.attempts],
            "validators": {name: get("validator", name).summary for name in validators()},
            "agreement": _agreement(pair, outcome),
            "shift": {"before": before, "after": after, "verdict": word, "text": text},
            "classes": by_class(x["train"], job.labels("train"), x[TARGET], said, task.classes),
            "shares": _shares(pair, floor),
            "changed": _changed(pair, said, plain, out[TARGET]),
            "confidence": _confidence(pair, out[TARGET]),
            "verdict": _verdict(pair, outcome, out),
        },
        "metric": "accuracy",
        "metrics": {
            "source": metrics_of(
                task, job.labels("validation"), calibrated(task, taken.source.logits, temperature), job.options.seed
            ),
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
            "precision": "float32",
            "threads": torch.get_num_threads(),
        },
        "seeds": [job.options.seed],
        "options": job.options.model_dump(mode="json", exclude={"out"}),
        "versions": versions(),
        "notes": [],
    }  # fmt: skip


def _row(pair: Pair, outcome: Outcome, attempt: Attempt) -> dict[str, Any]:
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
        model = load_model(pair, attempt.name, outcome.start)
        p = calibrated(pair.job.task, see(pair, model, UNSEEN).logits, 1.0)
        row["unseen"] = metrics_of(pair.job.task, pair.oracle.labels[UNSEEN], p, pair.job.options.seed)["accuracy"]
    return row


def _right(said: np.ndarray, labels: np.ndarray) -> float:
    have = labels >= 0
    return float((said[have] == labels[have]).mean())


def _agreement(pair: Pair, outcome: Outcome) -> dict[str, float | None] | None:
    """Validator -> Spearman's correlation with the oracle over the attempts; None without an oracle."""
    if pair.oracle is None or len(outcome.attempts) < 3:
        return None
    from scipy.stats import spearmanr

    labels = pair.oracle.labels[TARGET]
    truth = [_right(a.target.logits.argmax(1), labels) for a in outcome.attempts]
    found: dict[str, float | None] = {}
    for name in validators():
        values = [outcome.scores[a.name][name] for a in outcome.attempts]
        constant = len(set(values)) < 2 or len(set(truth)) < 2
        found[name] = None if constant else float(spearmanr(values, truth).statistic)
    return found


def _shares(pair: Pair, floor: Attempt) -> dict[str, Any]:
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


def _changed(pair: Pair, said: np.ndarray, plain: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    """Target samples that adaptation answers otherwise than the source's probe, the surest first."""
    job, classes = pair.job, pair.job.task.classes
    rows = np.flatnonzero(said != plain)
    order = rows[np.argsort(-p[rows].max(1), kind="stable")][:MOST_CHANGED]
    labels = None if pair.oracle is None else pair.oracle.labels[TARGET]
    samples = [
        {
            "id": pair.target.ids[int(i)],
            "before": classes[plain[i]],
            "after": classes[said[i]],
            "confidence": float(p[i].max()),
            "oracle": None if labels is None or labels[i] < 0 else classes[labels[i]],
            **shown(job, pair.target, int(i)),
        }
        for i in order
    ]
    return {"count": len(rows), "of": len(said), "samples": samples}


def _confidence(pair: Pair, p: np.ndarray) -> dict[str, Any]:
    """How sure the answers on the target are; with an oracle, how right."""
    counts, edges = np.histogram(p.max(1), bins=10, range=(0, 1))
    found: dict[str, Any] = {"counts": counts.tolist(), "edges": edges.tolist(), "bins": None}
    if pair.oracle is not None:
        labels = pair.oracle.labels[TARGET]
        found["bins"] = reliability(pair.job.task, labels, p)
    return found


def _verdict(pair: Pair, outcome: Outcome, out: dict[str, np.ndarray]) -> dict[str, Any] | None:
    """Whether adapting helped, by the oracle, on the test part of the target where there is one; changes nothing."""
    if pair.oracle is None:
        return None
    labels = pair.oracle.labels[TARGET]
    floors = [a for a in outcome.attempts if a.name in ("source-only", "source-network")]
    best = max(floors, key=lambda a: _right(a.target.logits.argmax(1), labels))
    metric = find_metric("single-label", "accuracy")
    difference = paired_difference(metric, labels, out[TARGET], calibrated(pair.job.task, best.target.logits, 1.0))
    low, high = difference.low, difference.high
    word = "inconclusive"
    if low is not None and high is not None:
        word = "positive" if low > 0 else "negative" if high < 0 else "inconclusive"
    return {"verdict": word, "gap": difference.as_json(), "compared_with": best.name}
