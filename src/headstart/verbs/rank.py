"""`rank`: which pretrained network suits these data, judged by frozen features and without training any."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.core.errors import ConfigError
from headstart.core.progress import progress
from headstart.data.schema import missing
from headstart.features.extract import extract
from headstart.features.neighbours import averages, vote
from headstart.features.probe import as_outputs, fit_probe
from headstart.features.screen import Screening, screen
from headstart.measure.agreement import kendall
from headstart.measure.transferability import SCORES
from headstart.models.backbone import Backbone
from headstart.store.atomic import write_json, write_text
from headstart.store.runfolder import RunFolder
from headstart.verbs.estimate import forward_speed
from headstart.verbs.evaluation import metrics_of
from headstart.verbs.job import Job, open_job
from headstart.verbs.model_choice import on_its_own, open_all
from headstart.verbs.options import make_options

PROBE, NEIGHBOURS = "probe", "neighbours"

TRUST = Path(__file__).with_name("trust.json")

DISAGREE = 0.0
"""Kendall's tau with the probe, below which a score is said to disagree."""


def rank(data: Any, models: Sequence[str], out: str | Path | None = None, **options: Any) -> dict[str, Any]:
    """Order pretrained networks by how well a linear probe on their frozen features does, beside every other score.

    Everything is measured on at most 1,000 samples of the training part, out of fold; the test part is not touched.

    Parameters
    ----------
    data
        As for `fit`.
    models
        Model references.
    out
        A folder to write `rank.json` and `rank.html` to.
    **options
        Fields of `FitOptions` about data, image size, metric, seed, device and engine.

    Returns
    -------
    dict
        `models`: a row per model, best first, with `probe` (metric with interval at the best stage), `last` (the same
        at the last layer), `stage`, `scores`, `extraction_seconds`, `samples_per_second`, `parameters`, `megabytes`,
        `licence`, `stages`; `agreement`: score -> Kendall's tau with the probe over these models; `trust`: score -> tau
        with fine-tuned accuracy in a stored study, empty for data of other kinds than it had; `warnings`.

    Raises
    ------
    HeadstartError
        As for `fit`; nothing is measured before every model has been found to open.
    """
    asked = list(dict.fromkeys(models))
    if len(asked) < 2:
        raise ConfigError("There is nothing to rank.", "Name two models or more: --models A,B,C.")
    checked = make_options({**options, "model": asked[0]})
    with tempfile.TemporaryDirectory() as scratch:
        first = open_job(RunFolder(Path(scratch)), checked, data)
        open_all(first, asked)
        rows = []
        for i, reference in enumerate(asked, start=1):
            progress().say(f"{i} of {len(asked)}: {reference}")
            rows.append(measured(on_its_own(first, reference)))
    rows.sort(key=lambda r: (-_signed(first, r["probe"]["value"]), r["loss"]))
    agreement = _agreement(first, rows)
    found = {
        "data": first.dataset.name,
        "task": {"name": first.task.name, "kind": first.task.kind},
        "metric": first.metric.name,
        "samples": len(first.screened),
        "models": rows,
        "agreement": agreement,
        "trust": trust() if _studied(first) else {},
        "sources": {name: score.source for name, score in SCORES.items()},
        "warnings": _warnings(first, rows, agreement),
    }
    if out is not None:
        from headstart.report.ranking import ranking_page

        Path(out).mkdir(parents=True, exist_ok=True)
        write_json(Path(out) / "rank.json", found)
        write_text(Path(out) / "rank.html", ranking_page(found))
    return found


def _studied(job: Job) -> bool:
    """Whether the stored study is about such data: classes of pictures and texts."""
    return job.task.kind == "single-label" and job.modality.name in ("image", "text")


def trust() -> dict[str, Any]:
    """Score -> Kendall's tau with fine-tuned accuracy, `tau`, `low` and `high` (95%), in the stored study.

    "best" is the probe at the best stage, which orders the leaderboard, "probe" that of the last layer. Made by
    `benchmarks/trust.py --ship`; empty where there is none.
    """
    return json.loads(TRUST.read_text(encoding="utf-8"))["scores"] if TRUST.exists() else {}


def measured(job: Job) -> dict[str, Any]:
    """A row of the leaderboard: probes, scores and cost of the job's network."""
    own = job.open(None)
    size = job.modality.sizes(job, own)[-1]
    backbone = job.open(size).eval()
    start = time.perf_counter()
    screening = _screened(job, backbone, size)
    best, last = ((row.stage, row.grid) for row in (screening.chosen, screening.last))
    features = extract(
        backbone, job.reader_once(backbone), "screen", list({best, last}), engines=job.engines, count=job.samples
    )
    seconds = time.perf_counter() - start
    probes = {place: _probe(job, features[place]) for place in (best, last)}
    # A whole path of strengths may see it otherwise than the screening's three.
    if job.options.stage == "auto" and _signed(job, probes[last]["value"]) > _signed(job, probes[best]["value"]):
        best = last
    x, y = features[last].numpy().astype(np.float64), job.labels("screen")
    provenance = backbone.provenance
    return {
        "model": job.options.model,
        "size": size,
        "stage": best[0] + (f", {best[1]}×{best[1]}" if best[1] > 1 else ""),
        "probe": probes[best],
        "last": probes[last],
        "loss": (screening.last if best == last else screening.chosen).loss,
        "scores": _scores(job, backbone, x, y),
        "stages": [row.as_json() for row in screening.rows],
        "extraction_seconds": round(seconds, 2),
        "samples_per_second": round(forward_speed(job, backbone)),
        "parameters": sum(p.numel() for p in backbone.parameters()),
        "megabytes": round(sum(p.nbytes for p in backbone.parameters()) / 1e6, 1),
        "licence": provenance.licence,
        "source": provenance.source,
        "engine": job.engines.notes,
    }


def _screened(job: Job, backbone: Backbone, size: int) -> Screening:
    folds = job.folds[torch.as_tensor(job.screened)]
    return screen(
        lambda _: (backbone, job.reader_once(backbone)),
        [size],
        job.labels("screen"),
        job.task,
        job.metric.name,
        folds,
        job.options.stage,
        job.engines,
        job.samples,
    )


def _probe(job: Job, x: torch.Tensor) -> dict[str, Any]:
    """The metric out of fold, over the whole path of strengths, with its interval."""
    labels = job.labels("screen")
    probe = fit_probe(x, labels, job.task, job.metric.name, job.folds[torch.as_tensor(job.screened)])
    outputs = as_outputs(job.task, probe.held_out.numpy())
    return metrics_of(job.task, labels, outputs, job.options.seed)[job.metric.name]


def _scores(job: Job, backbone: Backbone, x: np.ndarray, y: np.ndarray) -> dict[str, float | None]:
    """Every transferability score of the last layer's features; None where one is not defined."""
    have = ~missing(y)
    x, y = x[have], y[have]
    values: dict[str, float | None] = dict.fromkeys([NEIGHBOURS, *SCORES])
    if job.task.kind == "multi-label" or len(y) < 3:
        return values
    classes = job.task.kind == "single-label"
    near = torch.from_numpy(x).float()
    if classes:
        votes = vote(near, torch.as_tensor(y), len(job.task.classes))
        values[NEIGHBOURS] = float((votes.argmax(1).numpy() == y).mean())
    elif y.var() > 0:
        means = averages(near, torch.as_tensor(y, dtype=torch.float32)[:, None])[:, 0].numpy()
        values[NEIGHBOURS] = 1 - float(((means - y) ** 2).mean() / y.var())
    inputs: dict[str, np.ndarray | None] = {"features": x, "probabilities": None, "predictions": None}
    if backbone.source_head is not None and classes:
        with torch.inference_mode():
            logits = backbone.source_head(torch.from_numpy(x).float().to(job.device)).cpu().double()
        inputs |= {"probabilities": logits.softmax(1).numpy(), "predictions": logits.argmax(1).numpy()}
    for name, score in SCORES.items():
        given = inputs[score.needs]
        if given is not None and (classes or score.regression):
            values[name] = score.function(given, y.astype(np.int64) if classes else y.astype(np.float64))
    return values


def _signed(job: Job, value: float | None) -> float:
    """The deciding metric, higher is better."""
    if value is None:
        return float("-inf")
    return value if job.metric.higher_is_better else -value


def _agreement(job: Job, rows: list[dict[str, Any]]) -> dict[str, dict[str, float] | None]:
    """Kendall's tau of every score with the probe at the best stage, over the models that have both."""
    found: dict[str, dict[str, float] | None] = {}
    for name in ("last", NEIGHBOURS, *SCORES):
        pairs = [
            (_signed(job, row["probe"]["value"]), value)
            for row in rows
            if (value := _signed(job, row["last"]["value"]) if name == "last" else row["scores"][name]) is not None
        ]
        # Scores that differ by rounding only are equal.
        found[name] = kendall([a for a, _ in pairs], [float(f"{b:.9g}") for _, b in pairs]) if len(pairs) >= 3 else None
    return found


def _warnings(job: Job, rows: list[dict[str, Any]], agreement: dict[str, dict[str, float] | None]) -> list[str]:
    warnings = []
    against = [name for name, tau in agreement.items() if tau is not None and tau["tau"] < DISAGREE]
    if against:
        warnings.append(
            f"These scores order the models against the probe: {', '.join(against)}. Where they differ, go by the "
            "probe, which was fitted on these very data."
        )
    for better, worse in pairwise(rows):
        if better["probe"]["low"] is not None and better["probe"]["value"] != worse["probe"]["value"]:
            low = min(_signed(job, better["probe"][k]) for k in ("low", "high"))
            if _signed(job, worse["probe"]["value"]) > low:
                warnings.append(
                    f"{better['model']} and {worse['model']} are too near to tell apart on {len(job.screened):,} "
                    "samples."
                )
    return warnings
