"""`check`: are these data fit for fine-tuning? Findings, the most important first, with samples and what to do."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.progress import progress
from headstart.data import Dataset
from headstart.data.schema import missing
from headstart.features.extract import Place
from headstart.features.probe import as_metric, as_outputs, fit_probe
from headstart.features.screen import Row, Screening
from headstart.features.solved import remembered
from headstart.inspect.classes import examine_classes
from headstart.inspect.findings import Finding, Level, finding, ranked
from headstart.inspect.labels import Suspicion, is_available, suspicious_labels
from headstart.inspect.neighbourhood import copies_between, distances_to_neighbours, outlying
from headstart.inspect.shift import Shift, discriminate
from headstart.measure import fit_temperature
from headstart.store.runfolder import RunFolder
from headstart.verbs.frozen import run_screening
from headstart.verbs.job import Job, open_job
from headstart.verbs.options import make_options

WEAK = (0.01, 0.001)
"""Strengths of the probe that judges labels: weak, so that rare kinds of a class are not called errors."""

TRUSTED = 0.8
"""Out-of-fold accuracy under which a probe's doubts in labels are no finding."""

MOSTLY = 0.5
"""Share of a probe's errors that must be blamed on labels for these to be more than a note."""

MOST_COMPARED = 5_000
"""Samples of a part that are compared pair by pair."""

MOST_TOLD_APART = 500
"""Samples of each part that the discriminator is fitted to."""

SHIFTED = 0.01
"""p-value from which a part is said to come from elsewhere."""

FAR = 0.03
"""How much worse than an earlier stage the last layer must probe for the data to be called far from the source."""


def check(data: Any, **options: Any) -> dict[str, Any]:
    """Examine data before anything is trained on them.

    A test part is looked at (inputs only, never labels) for copies of training samples and for a shift.

    Parameters
    ----------
    data
        As for `fit`.
    **options
        Fields of `FitOptions` about data, model, seed, device and engine.

    Returns
    -------
    dict
        `findings` (`topic`, `level`, `text`, `todo`, `samples`, `count`), the most important first; `measured`: the
        numbers behind them; `suspicious`: ids of the training part by doubt in their label, most doubtful first.
    """
    with tempfile.TemporaryDirectory() as scratch:
        job = open_job(RunFolder(Path(scratch)), make_options(options), data)
        return examine(job, run_screening(job))


def examine(job: Job, screening: Screening, held_out: np.ndarray | None = None) -> dict[str, Any]:
    """The findings about a job's data; the last part of a fit too, for its report.

    `held_out` are (N, K) logits of the training part by models that did not see the sample, where there are any;
    else a weakly penalised probe makes them, which doubts labels better.
    """
    measured: dict[str, Any] = {}
    found = [*_noted(job), *_classes(job), *_copies(job, measured)]
    size, place = screening.chosen.size, (screening.chosen.stage, screening.chosen.grid)
    found += _inputs(job, size)
    found += _distance(job, screening, measured)
    train = _features(job, size, place, "train")
    suspicious: list[str] = []
    if job.task.kind == "single-label":
        more, suspicious = _labels(job, train, held_out, measured)
        found += more
    found += _outliers(job, train, measured)
    if "test" in job.parts:
        test = _features(job, size, place, "test")
        found += _near(job, train, test) + _shift(job, train, test, measured)
    return {
        "data": job.dataset.name,
        "parts": {name: len(part) for name, part in job.parts.items() if name != "screen"},
        "model": job.options.model,
        "stage": place[0],
        "findings": [f.as_json() for f in ranked(found)],
        "measured": measured,
        "suspicious": suspicious,
    }


def _features(job: Job, size: int, place: Place, part: str) -> Tensor:
    return job.features(size, part, [place])[place]


def _noted(job: Job) -> list[Finding]:
    """What loading and splitting warned of, but for what is examined here itself."""
    return [
        finding(note.topic, "worth a look", note.text)
        for note in job.notes.items
        if note.level == "warning" and note.topic not in ("classes", "duplicates")
    ]


def _classes(job: Job) -> list[Finding]:
    if job.task.kind == "regression":
        return []
    labels = job.labels("train")
    known = labels[~missing(labels)]
    counts = (
        np.bincount(known, minlength=len(job.task.classes))
        if job.task.kind == "single-label"
        else np.nansum(known, axis=0)
    )
    return examine_classes(counts.astype(int), job.task.classes, job.modality.name)


def _copies(job: Job, measured: dict[str, Any]) -> list[Finding]:
    """Copies that came on two sides of a given split; splits that Headstart makes keep copies together."""
    given = job.dataset.given_parts
    if "train" not in given or job.splits.copies is None:
        return []
    groups = job.splits.copies.near
    found = []
    for part in ("validation", "test"):
        if part not in given:
            continue
        rows = np.asarray(given[part])
        ids = [job.dataset.ids[i] for i in rows[np.isin(groups[rows], groups[given["train"]])]]
        measured[f"copies_in_{part}"] = len(ids)
        if ids:
            found.append(
                finding(
                    "leakage", "serious",
                    f"{len(ids):,} of {len(rows):,} {part} samples are copies of training samples, which a fit leaves "
                    "out.",
                    "Results of a fit are honest for that; elsewhere, results on such samples are too good.",
                    ids,
                )
            )  # fmt: skip
    return found


def _inputs(job: Job, size: int) -> list[Finding]:
    """Sizes and lengths against what the network takes."""
    backbone = job.frozen(size)
    if job.modality.name == "image":
        side = float(np.median(np.asarray(job.dataset.sizes).min(axis=1)))
        native = backbone.input_spec.native_size
        if side < native / 2:
            return [
                finding(
                    "inputs", "note",
                    f"Pictures are small: half of them have a side of at most {side:.0f} px; the network was trained "
                    f"at {native} px. They enter at {size} px.",
                )
            ]  # fmt: skip
        return []
    lengths = job.modality.lengths(job, backbone)
    if lengths and lengths.get("truncated"):
        share = lengths["lost_share"]
        return [
            finding(
                "inputs", "worth a look" if share > 0.1 else "note",
                f"{lengths['truncated']:,} of {len(job.parts['train']):,} training texts are longer than "
                f"{lengths['limit']} {lengths['unit']}; {share:.0%} of all is cut off.",
                "Use a larger --max-length, or --long windows.",
            )
        ]  # fmt: skip
    return []


def _distance(job: Job, screening: Screening, measured: dict[str, Any]) -> list[Finding]:
    """How far the data lie from what the network was trained on: the last layer against the best stage."""
    best, last = screening.chosen, screening.last
    gap = best.score - last.score

    def shown(row: Row) -> float:
        return as_metric(job.task, job.metric.name, row.score)

    measured["best_stage"] = {"stage": best.stage, "score": shown(best)}
    measured["last_layer"] = {"stage": last.stage, "score": shown(last)}
    if not job.pretrained or gap <= max(FAR, 2 * max(best.error, last.error)):
        return []
    return [
        finding(
            "distance", "note",
            f"The data are unlike what the network was trained on: {job.metric.name} of a probe is "
            f"{shown(best):.3f} at {best.stage} and {shown(last):.3f} at its last layer.",
            "Fine-tuning, or a probe at the earlier stage, will gain more than usual; a network nearer to the data too "
            "(`headstart rank`).",
        )
    ]  # fmt: skip


def _labels(
    job: Job, x: Tensor, held_out: np.ndarray | None, measured: dict[str, Any]
) -> tuple[list[Finding], list[str]]:
    """Labels that a probe which has not seen the sample doubts."""
    if not is_available():
        return [
            finding("labels", "note", "Label errors were not looked for: cleanlab is not installed.",
                    "pip install headstart[audit]")
        ], []  # fmt: skip
    labels = job.labels("train")
    if held_out is None:
        have = np.flatnonzero(labels >= 0)
        folds = torch.as_tensor(np.random.default_rng(job.options.seed).permutation(len(have)) % 5)
        logits = fit_probe(x[have], labels[have], job.task, job.metric.name, folds, None, WEAK).held_out.numpy()
    else:
        have = np.flatnonzero((labels >= 0) & ~np.isnan(held_out).any(axis=1))
        logits = held_out[have]
    if not len(have):
        return [], []
    p = as_outputs(job.task, logits / fit_temperature(logits, labels[have], "single-label"))
    classes, numbers = np.unique(labels[have], return_inverse=True)
    if len(classes) < 2:
        return [], []
    p = p[:, classes] / p[:, classes].sum(axis=1, keepdims=True)
    numbers = numbers.reshape(-1)
    doubt = _remembered_doubt(x[have], numbers, p)
    ids = [job.parts["train"].ids[int(i)] for i in have]
    measured["label_errors"] = {"estimate": len(doubt.issues), "of": len(have)}
    ordered = [ids[i] for i in doubt.order]
    if not len(doubt.issues):
        return [], ordered
    share, right = len(doubt.issues) / len(have), float((p.argmax(axis=1) == numbers).mean())
    named = [ids[i] for i in doubt.issues]
    said = f"{len(named):,} of {len(have):,} training labels ({share:.1%}) are doubtful"
    if right < TRUSTED:
        why = f"; but the probe that doubts them is right on only {right:.0%} itself: its doubts mean little."
        todo = "Look at the first few; a better network (`headstart rank`) doubts better."
        return [finding("labels", "note", said + why, todo, named)], ordered
    # Of the samples that the probe gets wrong, confident learning blames some on the label. Where these are few, the
    # probe's own errors are the rest, and some of the blame is mistaken too.
    blamed = share / max(1 - right, 1e-9)
    why = f": a probe that has not seen them (right on {right:.1%}) is sure of another class."
    todo = "Look at the samples named, the most doubtful first; never correct the test part by a model."
    level: Level = "note" if blamed < MOSTLY else "serious" if share > 0.05 else "worth a look"
    return [finding("labels", level, said + why, todo, named)], ordered


def _remembered_doubt(x: Tensor, labels: np.ndarray, p: np.ndarray) -> Suspicion:
    """Doubts about labels; read where the same were computed before, as importing cleanlab takes longer."""

    def compute() -> dict[str, Any]:
        return {name: torch.from_numpy(value.copy()) for name, value in vars(suspicious_labels(labels, p)).items()}

    found = remembered("doubts about labels", x, [labels, p, version("cleanlab")], compute)
    return Suspicion(**{name: value.numpy() for name, value in found.items()})


def _outliers(job: Job, x: Tensor, measured: dict[str, Any]) -> list[Finding]:
    kept = remembered("distances to neighbours", x, [], lambda: {"distances": distances_to_neighbours(x)})
    far = outlying(kept["distances"])
    ids = [job.parts["train"].ids[i] for i in far.tolist()]
    measured["outliers"] = len(ids)
    if not ids:
        return []
    return [
        finding(
            "outliers", "worth a look", f"{len(ids):,} training samples are like no others.",
            "Look at them: broken, of another kind, or rare and precious.", ids,
        )
    ]  # fmt: skip


def _near(job: Job, train: Tensor, test: Tensor) -> list[Finding]:
    a, b = test[:MOST_COMPARED], train[:MOST_COMPARED]
    exact = _hashes(job.parts["test"]), _hashes(job.parts["train"])
    pairs = [(i, j) for i, j, _ in copies_between(a, b) if exact[0][i] != exact[1][j]]
    if not pairs:
        return []
    ids = job.parts["test"].ids, job.parts["train"].ids
    return [
        finding(
            "leakage", "worth a look",
            f"{len(pairs):,} test samples are almost the same as a training sample in the network's eyes.",
            "Look at the pairs; if they show the same thing, keep them on one side (--group).",
            [f"{ids[0][i]} = {ids[1][j]}" for i, j in pairs],
        )
    ]  # fmt: skip


def _hashes(data: Dataset) -> list[str]:
    return [str(h) for h in data.content_hashes]


def _shift(job: Job, train: Tensor, test: Tensor, measured: dict[str, Any]) -> list[Finding]:
    """Whether the test part looks as if it came from where the training part comes from."""
    if min(len(train), len(test)) < 20:
        return []
    draw = np.random.default_rng(job.options.seed)
    here, there = (draw.permutation(len(x))[:MOST_TOLD_APART] for x in (train, test))
    with progress().task("testing for a shift", 1) as advance:
        found = _told_apart(train[torch.as_tensor(here)], test[torch.as_tensor(there)], job.options.seed)
        advance(1)
    measured["shift"] = {"auc": found.auc, "p": found.p}
    if found.p > SHIFTED or found.auc < 0.55:
        return []
    telling = there[np.argsort(-found.outputs[len(here) :])]
    return [
        finding(
            "shift", "serious" if found.auc > 0.8 else "worth a look",
            f"The test part looks unlike the training part: a classifier tells them apart (area under ROC "
            f"{found.auc:.2f}, p = {found.p:.3f}).",
            "Ask where it comes from. If new data look like the test part, collect training data like it; a validation "
            "part drawn from training will be too optimistic.",
            [job.parts["test"].ids[i] for i in telling],
        )
    ]  # fmt: skip


def _told_apart(a: Tensor, b: Tensor, seed: int) -> Shift:
    """`discriminate`, read where the same parts were told apart before."""

    def compute() -> dict[str, Any]:
        found = discriminate(a, b, seed)
        return {"auc": found.auc, "p": found.p, "outputs": torch.from_numpy(found.outputs.copy())}

    kept = remembered("parts told apart", torch.cat([a, b]), [len(a), seed], compute)
    return Shift(kept["auc"], kept["p"], kept["outputs"].numpy())
