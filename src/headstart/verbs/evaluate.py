"""`evaluate`: a run or a bundle on other labelled data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import DataError
from headstart.core.progress import progress
from headstart.data import Dataset, LoadOptions, is_table, load_data
from headstart.data.objects import as_table
from headstart.data.schema import MISSING, Task, missing
from headstart.data.table_files import open_table
from headstart.models.bundle import Bundle, load_predictor
from headstart.verbs.evaluation import confused_pairs, metrics_of, per_class
from headstart.verbs.predict import check_fit, outputs_by_task, outputs_of


def evaluate(run_or_bundle: str | Path, data: Any, device: str = "auto", **options: Any) -> dict[str, Any]:
    """Metrics, with intervals, of a run's model on labelled data that it has not seen.

    Parameters
    ----------
    run_or_bundle
        A run folder or a bundle.
    data
        Whatever `load_data` takes; a given test part is taken, else everything.
    **options
        Options of `load_data`: `image`, `label`, `labels` ...

    Returns
    -------
    dict
        `data`, `part`, `n`, and of the task `unknown_classes`, `metrics`, `per_class`, `confused`; of several tasks
        `tasks`: name -> these four, for every task that the data have labels of.

    Raises
    ------
    DataError
        When the labels are none that the model knows.
    """
    bundle = load_predictor(Path(run_or_bundle))
    task = bundle.tasks[0]
    if "task" not in options and not isinstance(data, Dataset) and len(bundle.tasks) == 1:
        options["task"] = task.kind
    loaded = data
    if not isinstance(loaded, Dataset):
        loaded = load_data(data, _as_trained(bundle, data, options))
        for note in loaded.notes.items:
            if note.level == "warning":
                progress().say(note.text)
    check_fit(bundle, loaded)
    part = loaded.given_parts.get("test")
    if part is not None and len(part):
        loaded = loaded.subset(part)
    about = {
        "data": loaded.name,
        "part": "test" if part is not None and len(part) else "all",
        "n": len(loaded),
    }
    if len(bundle.tasks) > 1:
        return {**about, "tasks": _every_task(bundle, loaded, device)}
    return {**about, **_one_task(task, loaded, loaded.schema.tasks[0], outputs_of(bundle, loaded, device))}


def _one_task(task: Task, data: Dataset, found: Task, out: np.ndarray) -> dict[str, Any]:
    labels, unknown = _aligned(data, found, task.kind, task.classes)
    return {
        "unknown_classes": unknown,
        "metrics": metrics_of(task, labels, out),
        "per_class": per_class(task, labels, out),
        "confused": confused_pairs(task, list(data.ids), labels, out),
    }


def _every_task(bundle: Bundle, data: Dataset, device: str) -> dict[str, Any]:
    """Task -> what `evaluate` says of it; tasks that the data have no labels of are left out."""
    there = {task.name: task for task in data.schema.tasks}
    known = [task for task in bundle.tasks if task.name in there]
    if not known:
        names = ", ".join(task.name for task in bundle.tasks)
        raise DataError(f"{data.name} has labels of none of the model's tasks ({names}).", "Name the label columns.")
    out = outputs_by_task(bundle, data, device)
    return {task.name: _one_task(task, data, there[task.name], out[task.name]) for task in known}


def _as_trained(bundle: Bundle, data: Any, options: dict[str, Any]) -> LoadOptions:
    """Options for reading labelled data: those given, and of tables what the model knows from its training."""
    known: dict[str, Any] = {"modality": bundle.modality}
    known |= {name: value for name, value in bundle.reading.items() if name == "scale"}
    if is_table(data):
        field = {"image": "image", "text": "text", "sequence": "series"}[bundle.modality]
        if bundle.columns:
            known[field] = bundle.columns[0] if field == "image" else bundle.columns
        known |= bundle.reading
        if not {"label", "labels"} & options.keys():
            columns = _columns_of(data)
            known |= _several_labels(bundle, columns) if len(bundle.tasks) > 1 else _labels(bundle.tasks[0], columns)
    return LoadOptions(**(known | options), one_class=True)


def _labels(task: Task, columns: Sequence[str]) -> dict[str, Any]:
    """The columns that the model learned its labels from, where a table has them; else they are guessed."""
    if task.name in columns:
        return {"label": task.name}
    if task.kind == "multi-label" and set(task.classes) <= set(columns):
        return {"labels": task.classes}
    return {}


def _several_labels(bundle: Bundle, columns: Sequence[str]) -> dict[str, Any]:
    """The label columns of those of the model's tasks that a table has, with their kinds."""
    there = [t for t in bundle.tasks if t.name in columns or set(t.name.split("+")) <= set(columns)]
    return {"labels": tuple(f"{task.name}:{task.kind}" for task in there)} if there else {}


def _columns_of(data: Any) -> list[str]:
    if isinstance(data, str | Path):
        # Unlike pathlib's, this says no where the disk lets nobody look; reading the data then says why.
        path = os.path.expanduser(data)
        return open_table(Path(path)).names if os.path.isfile(path) else []
    table = as_table(data)
    return [] if table is None else table.names


def _aligned(data: Dataset, task: Task, kind: str, classes: tuple[str, ...]) -> tuple[np.ndarray, dict[str, int]]:
    """Labels in the order of the model's classes, and samples of classes that it does not know (left out)."""
    if task.kind != kind:
        raise DataError(f"The data are {task.kind}, the model is {kind}.", "Name the label column, or --task.")
    labels = data.labels(task.name)
    if kind == "regression":
        return labels, {}
    place = {c: i for i, c in enumerate(classes)}
    if kind == "multi-label":
        if not set(classes) & set(task.classes):
            raise DataError(
                f"None of the labels {', '.join(task.classes[:5])} is one of the model's.", "Check the columns."
            )
        made = np.zeros((len(labels), len(classes)), dtype=np.float32)
        made[missing(labels)] = np.nan
        for i, c in enumerate(task.classes):
            if c in place:
                made[:, place[c]] = labels[:, i]
        return made, {c: int(np.nansum(labels[:, i])) for i, c in enumerate(task.classes) if c not in place}
    table = np.array([place.get(c, MISSING) for c in task.classes], dtype=np.int64)
    known = np.where(labels >= 0, table[np.maximum(labels, 0)], MISSING)
    unknown = {c: int((labels == i).sum()) for i, c in enumerate(task.classes) if c not in place}
    if not (known >= 0).any():
        raise DataError(
            f"None of the classes {', '.join(task.classes[:5])} is one that the model knows.",
            f"The model knows: {', '.join(classes[:10])}.",
        )
    return known, {c: n for c, n in unknown.items() if n}
