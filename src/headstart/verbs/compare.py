"""`compare`: finished runs on the same samples: which is better, by how much, on what, and at what cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headstart.core.errors import DataError
from headstart.data.schema import Task
from headstart.measure import Metric, find_metric, mcnemar, paired_difference
from headstart.store.runfolder import RunFolder
from headstart.verbs.evaluation import metrics_of, per_class

MOST_FLIPPED = 50
"""Samples of each kind that are named; their number is always given."""


@dataclass
class _Judged:
    """A run's predictions for one part, in the order of `ids`."""

    path: Path
    report: dict[str, Any]
    ids: list[str]
    labels: np.ndarray
    outputs: np.ndarray


def compare(runs: Sequence[str | Path], part: str | None = None, metric: str = "auto") -> dict[str, Any]:
    """Compare runs with the first one, sample by sample.

    Parameters
    ----------
    runs
        Run folders of the same task.
    part
        "test" or "validation"; the test if every run has one.
    metric
        The metric that decides; "auto" takes the first run's.

    Returns
    -------
    dict
        `samples` that all runs were judged on, and `left_out`, which only some were; `runs`: a row per run with its
        metrics and cost; `pairs`: for every run but the first `gain` (of the metric
        over the first run, in the direction of better, with a paired interval), `verdict`, `mcnemar` (exact p-value;
        for classes), `fixed` and `broken` (samples that only this run, and only the first, got right), `per_class`.

    Raises
    ------
    HeadstartError
        When a folder is no finished run, the tasks differ, or the runs were judged on other samples.
    """
    paths = [Path(run) for run in runs]
    if len(paths) < 2:
        raise DataError("There is nothing to compare.", "Name two runs or more: headstart compare RUN RUN")
    folders = [RunFolder.existing(path) for path in paths]
    reports = [folder.read_report() for folder in folders]
    for path, report in zip(paths, reports, strict=True):
        if report.get("kind") == "pretraining":
            raise DataError(f"{path} is a pretraining: it predicts nothing.", "Compare runs of `headstart fit`.")
        if report.get("kind") == "tasks":
            raise DataError(f"{path} learned several tasks.", "Compare runs of one task; its report compares its own.")
    task = _same_task(paths, reports)
    chosen = part or ("test" if all("test" in report["metrics"] for report in reports) else "validation")
    every = [_read(folder, report, task, chosen) for folder, report in zip(folders, reports, strict=True)]
    judged = _same_samples(every, chosen)
    left_out = len({i for one in every for i in one.ids}) - len(judged[0].ids)
    decides = find_metric(task.kind, reports[0]["metric"] if metric == "auto" else metric)
    first = judged[0]
    return {
        "part": chosen,
        "samples": len(first.ids),
        "left_out": left_out,
        "metric": decides.name,
        "task": {"name": task.name, "kind": task.kind, "classes": list(task.classes)},
        "runs": [_row(task, one) for one in judged],
        "pairs": [_pair(task, decides, first, other) for other in judged[1:]],
    }


def _same_task(paths: Sequence[Path], reports: Sequence[dict[str, Any]]) -> Task:
    tasks = [Task(r["task"]["name"], r["task"]["kind"], tuple(r["task"]["classes"])) for r in reports]
    for path, task in zip(paths, tasks, strict=True):
        if (task.kind, set(task.classes)) != (tasks[0].kind, set(tasks[0].classes)):
            raise DataError(
                f"{paths[0]} and {path} learned other tasks ({tasks[0].kind}, {len(tasks[0].classes)} classes; "
                f"{task.kind}, {len(task.classes)} classes).",
                "Compare runs on the same labels.",
            )
    return tasks[0]


def _read(folder: RunFolder, report: dict[str, Any], task: Task, part: str) -> _Judged:
    try:
        table = pd.read_parquet(folder.predictions)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder.predictions} cannot be read: {str(error).splitlines()[0]}",
            "The run is damaged or was written by another version; fit again.",
        ) from None
    rows = table[table["part"] == part]
    if not len(rows):
        raise DataError(
            f"{folder.path} has no predictions for the part {part!r}.",
            f"It has some for: {', '.join(sorted(set(table['part'])))}.",
        )
    labels: np.ndarray
    outputs: np.ndarray
    if task.kind == "regression":
        labels, outputs = rows["label"].to_numpy(float), rows["predicted"].to_numpy(float)
    else:
        outputs = rows[[f"p_{name}" for name in task.classes]].to_numpy(float)
        number = {name: i for i, name in enumerate(task.classes)}
        if task.kind == "single-label":
            labels = np.array([number.get(word, -1) for word in rows["label"]])
        else:
            labels = np.array([[name in _names(words) for name in task.classes] for words in rows["label"]], float)
            labels[[not isinstance(words, str) for words in rows["label"]]] = np.nan
    return _Judged(folder.path, report, list(rows["id"]), labels, outputs)


def _names(words: Any) -> list[str]:
    return json.loads(words) if isinstance(words, str) else []


def _same_samples(judged: list[_Judged], part: str) -> list[_Judged]:
    """Every run's rows of the samples that all have, in the first one's order."""
    common = set(judged[0].ids).intersection(*(one.ids for one in judged[1:]))
    if not common:
        raise DataError(
            f"The runs have no {part} sample in common.",
            "Fit them with the same data and --split-seed, or the same --test.",
        )
    ids = [i for i in judged[0].ids if i in common]
    made = []
    for one in judged:
        place = {name: row for row, name in enumerate(one.ids)}
        rows = np.array([place[name] for name in ids])
        made.append(_Judged(one.path, one.report, ids, one.labels[rows], one.outputs[rows]))
        if not np.array_equal(made[0].labels, made[-1].labels, equal_nan=made[0].labels.dtype.kind == "f"):
            raise DataError(
                f"{made[0].path} and {one.path} have other labels for the same samples.",
                "Compare runs on one data set.",
            )
    return made


def _row(task: Task, one: _Judged) -> dict[str, Any]:
    report = one.report
    return {
        "run": str(one.path),
        "model": report["model"]["reference"],
        "strategy": report["strategy"]["name"],
        "metrics": metrics_of(task, one.labels, one.outputs),
        "seconds": report["cost"]["seconds"],
        "peak_memory_mb": report["cost"]["peak_memory_mb"],
        "parameters": report["cost"]["parameters"],
        "guard": (report.get("guard") or {}).get("verdict"),
    }


def _pair(task: Task, metric: Metric, first: _Judged, other: _Judged) -> dict[str, Any]:
    gap = paired_difference(metric, first.labels, other.outputs, first.outputs)
    value, low, high = gap.value, gap.low, gap.high
    if not metric.higher_is_better and value is not None and low is not None and high is not None:
        value, low, high = -value, -high, -low
    said = "better" if low is not None and low > 0 else "worse" if high is not None and high < 0 else "too near to tell"
    made: dict[str, Any] = {
        "run": str(other.path),
        "with": str(first.path),
        "gain": {"value": value, "low": low, "high": high},
        "verdict": said,
        "mcnemar": None,
        "fixed": None,
        "broken": None,
        "per_class": [],
    }
    if task.kind == "single-label":
        right = [one.outputs.argmax(1) == one.labels for one in (first, other)]
        have = first.labels >= 0
        fixed, broken = ~right[0] & right[1] & have, right[0] & ~right[1] & have
        made["mcnemar"] = mcnemar(int(broken.sum()), int(fixed.sum()))
        for name, flipped in (("fixed", fixed), ("broken", broken)):
            where = np.flatnonzero(flipped)
            made[name] = {"count": len(where), "ids": [first.ids[i] for i in where[:MOST_FLIPPED]]}
    if task.kind != "regression":
        before, after = (per_class(task, one.labels, one.outputs) for one in (first, other))
        made["per_class"] = [
            {"class": a["class"], "n": a["n"], "before": a["f1"], "after": b["f1"]}
            for a, b in zip(before, after, strict=True)
        ]
    return made
