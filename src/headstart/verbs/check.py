"""`check`: are these data fit for fine-tuning? Findings, the most important first, with samples and what to do."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.progress import progress
from headstart.core.words import counted, is_are
from headstart.data.schema import missing
from headstart.features.extract import Place
from headstart.features.probe import as_metric
from headstart.features.screen import Row, Screening
from headstart.features.solved import remembered
from headstart.inspect.classes import examine_classes, examine_numbers
from headstart.inspect.findings import Finding, finding, ranked
from headstart.inspect.neighbourhood import distances_to_neighbours, outlying
from headstart.inspect.shift import Shift, discriminate
from headstart.store.runfolder import RunFolder
from headstart.verbs.copies import copies, near_in_features
from headstart.verbs.doubts import doubtful_labels
from headstart.verbs.frozen import run_screening
from headstart.verbs.job import Job, open_job
from headstart.verbs.options import make_options

MOST_TOLD_APART = 500
"""Samples of each part that the discriminator is fitted to."""

SHIFTED = 0.01
"""p-value from which a part is said to come from elsewhere."""

CUT = 0.3
"""Share of a picture outside of its middle square from which that is worth a word, where most pictures lose as much."""

LEAST_PROBED = 50
"""Samples of which two probes tell something about a network."""

FAR = 0.03
"""How much worse than an earlier stage the last layer must probe for the data to be called far from the source."""


def check(data: Any, **options: Any) -> dict[str, Any]:
    """Examine data before anything is trained on them.

    A test part is looked at for copies of training samples and for a shift: its inputs, and of its labels only which
    classes there are at all.

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
        numbers behind them; `put_aside`: samples of a test part that was not given; `suspicious`: ids of the training
        part by doubt in their label, most doubtful first.
    """
    with tempfile.TemporaryDirectory() as scratch:
        job = open_job(RunFolder(Path(scratch)), make_options(options), data)
        return examine(job, run_screening(job))


def examine(job: Job, screening: Screening, held_out: np.ndarray | None = None) -> dict[str, Any]:
    """The findings about a job's data; the last part of a fit too, for its report.

    `held_out` are (N, K) logits of the training part by models that did not see the sample, where there are any: the
    probe's of a fit, whose strength validation chose. `check` makes them by a weakly penalised probe, which doubts
    labels better, and takes longer.
    """
    measured: dict[str, Any] = {}
    found = [*_noted(job), *_classes(job), *copies(job, measured)]
    size, place = screening.chosen.size, (screening.chosen.stage, screening.chosen.grid)
    found += _inputs(job, size)
    found += _distance(job, screening, measured)
    train = _features(job, size, place, "train")
    doubted, suspicious = doubtful_labels(job, train, held_out, measured)
    found += doubted
    found += _outliers(job, train, measured)
    if "test" in job.parts:
        test = _features(job, size, place, "test")
        found += near_in_features(job, train, test) + _shift(job, train, test, measured)
    return {
        "data": job.dataset.name,
        "put_aside": len(job.parts["test"]) if "test" in job.parts and "test" not in job.dataset.given_parts else 0,
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
        finding(note.topic, "worth a look", note.text, note.todo, note.samples, note.count)
        for note in job.notes.items
        if note.level == "warning" and note.topic not in ("classes", "duplicates")
    ]


def _classes(job: Job) -> list[Finding]:
    labels = job.labels("train")
    known = labels[~missing(labels)]
    if job.task.kind == "regression":
        ids = np.array([str(i) for i in job.parts["train"].ids])[~missing(labels)]
        return examine_numbers(known, ids.tolist())
    counts = (
        np.bincount(known, minlength=len(job.task.classes))
        if job.task.kind == "single-label"
        else np.nansum(known, axis=0)
    )
    return examine_classes(counts.astype(int), job.task.classes, job.modality.name)


def _inputs(job: Job, size: int) -> list[Finding]:
    """Sizes and lengths against what the network takes."""
    backbone = job.frozen(size)
    if job.modality.name == "image":
        train = job.parts["train"]
        shapes = np.asarray(train.sizes)
        sides = shapes.min(axis=1)
        found = _cut_off(list(train.ids), shapes)
        side, native = float(np.median(sides)), backbone.input_spec.native_size
        if side < native / 2:
            found.append(
                finding(
                    "inputs", "note",
                    f"Pictures are small: half of them have a side of at most {side:.0f} px; the network was trained "
                    f"at {native} px. They enter at {size} px.",
                    "Use larger pictures where there are some; networks trained on small ones may do better "
                    "(`headstart rank`).",
                    [train.ids[i] for i in np.argsort(sides, kind="stable") if sides[i] < native / 2],
                )
            )  # fmt: skip
        return found
    lengths = job.modality.lengths(job, backbone)
    if lengths and lengths.get("truncated"):
        share = lengths["lost_share"]
        return [
            finding(
                "inputs", "worth a look" if share > 0.1 else "note",
                f"{lengths['truncated']:,} of {len(job.parts['train']):,} training texts are longer than "
                f"{lengths['limit']} {lengths['unit']}; {_little(share)} of all is cut off.",
                "Use a larger --max-length, or --long windows.",
            )
        ]  # fmt: skip
    return []


def _little(share: float) -> str:
    return "less than 1%" if share < 0.01 else f"{share:.0%}"


def _cut_off(ids: list[str], shapes: np.ndarray) -> list[Finding]:
    """Pictures of which much lies outside the middle square, which is all that networks are given."""
    lost = 1 - shapes.min(axis=1) / shapes.max(axis=1)
    much = np.flatnonzero(lost > CUT)
    if 2 * len(much) < len(lost):
        return []
    share = float(np.median(lost[much]))
    return [
        finding(
            "inputs", "worth a look" if share > 0.4 else "note",
            f"{len(much):,} of {len(lost):,} training pictures are much longer than wide, or wider than high: networks "
            f"see the middle square, and a median of {share:.0%} of such a picture is cut off.",
            "If what matters may stand at the ends, pad the pictures to squares, or cut them into squares.",
            [ids[i] for i in much[np.argsort(-lost[much], kind="stable")]],
        )
    ]  # fmt: skip


def _distance(job: Job, screening: Screening, measured: dict[str, Any]) -> list[Finding]:
    """How far the data lie from what the network was trained on: the last layer against the best stage."""
    best, last = screening.chosen, screening.last
    gap = best.score - last.score

    def shown(row: Row) -> float:
        return as_metric(job.task, job.metric.name, row.score)

    measured["best_stage"] = {"stage": best.stage, "score": shown(best)}
    measured["last_layer"] = {"stage": last.stage, "score": shown(last)}
    if not job.pretrained or len(job.screened) < LEAST_PROBED or gap <= max(FAR, 2 * max(best.error, last.error)):
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


def _outliers(job: Job, x: Tensor, measured: dict[str, Any]) -> list[Finding]:
    kept = remembered("distances to neighbours", x, [], lambda: {"distances": distances_to_neighbours(x)})
    far = outlying(kept["distances"])
    ids = [job.parts["train"].ids[i] for i in far.tolist()]
    measured["outliers"] = len(ids)
    if not ids:
        return []
    return [
        finding(
            "outliers", "worth a look",
            f"{counted(len(ids), 'training sample')} {is_are(len(ids))} like no others.",
            "Look at them: broken, of another kind, or rare and precious.", ids,
        )
    ]  # fmt: skip


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
