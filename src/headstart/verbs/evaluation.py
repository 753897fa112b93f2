"""From outputs to what a report says: metrics, confusion, calibration, worst samples, prediction rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from headstart.data import Task
from headstart.data.schema import missing
from headstart.features.probe import as_outputs
from headstart.measure import reliability_bins, with_intervals
from headstart.measure.metrics import metrics_for
from headstart.store.runfolder import RunFolder


def calibrated(task: Task, logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at a temperature; plain (N,) values for regression."""
    return as_outputs(task, logits if task.kind == "regression" else logits / temperature)


def metrics_of(task: Task, labels: np.ndarray, outputs: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Every metric with its interval, over the samples that have labels and outputs."""
    have = ~missing(labels)
    have &= ~np.isnan(outputs).reshape(len(outputs), -1).any(1)
    if not have.any():
        return {name: {"value": None, "low": None, "high": None} for name in metrics_for(task.kind)}
    return with_intervals(task.kind, labels[have], outputs[have], seed)


def predicted(task: Task, outputs: np.ndarray) -> list[Any]:
    """What is predicted, as a person writes it: a class name, a list of names, or a number."""
    if task.kind == "single-label":
        return [task.classes[i] for i in outputs.argmax(1)]
    if task.kind == "multi-label":
        return [[c for c, p in zip(task.classes, row, strict=True) if p >= 0.5] for row in outputs]
    return [float(v) for v in outputs]


def confidence(task: Task, outputs: np.ndarray) -> np.ndarray:
    """Of the predicted class; for multi-label the least certain of its decisions; NaN for regression."""
    if task.kind == "single-label":
        return outputs.max(1)
    if task.kind == "multi-label":
        return np.maximum(outputs, 1 - outputs).min(1)
    return np.full(len(outputs), np.nan)


def losses(task: Task, labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Loss of each sample: log loss, mean log loss over labels, or squared error; NaN without a label."""
    if task.kind == "single-label":
        safe = np.maximum(labels, 0)
        each = -np.log(np.clip(outputs[np.arange(len(labels)), safe], 1e-12, 1))
        return np.where(labels >= 0, each, np.nan)
    if task.kind == "multi-label":
        p = np.clip(outputs, 1e-12, 1 - 1e-12)
        each = -(labels * np.log(p) + (1 - labels) * np.log(1 - p))
        known = ~np.isnan(each)
        return np.where(known.any(1), np.nansum(each, 1) / np.maximum(known.sum(1), 1), np.nan)
    return (outputs - labels) ** 2


def label_words(task: Task, labels: np.ndarray) -> list[Any]:
    """Labels as a person writes them; None where missing."""
    if task.kind == "single-label":
        return [task.classes[i] if i >= 0 else None for i in labels]
    if task.kind == "multi-label":
        return [
            None if np.isnan(row).all() else [c for c, v in zip(task.classes, row, strict=True) if v > 0.5]
            for row in labels
        ]
    return [None if np.isnan(v) else float(v) for v in labels]


def prediction_rows(task: Task, part: str, ids: list[str], labels: np.ndarray, outputs: np.ndarray) -> pd.DataFrame:
    """Rows of predictions.parquet."""

    def written(values: list[Any]) -> list[Any]:
        return [json.dumps(v, ensure_ascii=False) if isinstance(v, list) else v for v in values]

    columns: dict[str, Any] = {
        "id": ids,
        "part": part,
        "task": task.name,
        "label": written(label_words(task, labels)),
        "predicted": written(predicted(task, outputs)),
        "confidence": confidence(task, outputs),
        "loss": losses(task, labels, outputs),
    }
    if task.kind != "regression":
        columns |= {f"p_{c}": outputs[:, i] for i, c in enumerate(task.classes)}
    return pd.DataFrame(columns)


def keep_answers(
    folder: RunFolder,
    labels: np.ndarray,
    outputs: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    network: np.ndarray | None = None,
) -> None:
    """Keep what the model and its baselines answered on the part that is judged: pairs over seeds need every sample.

    `network` are the answers of the network where a baseline took its place.
    """

    def answers() -> dict[str, Any]:
        kept = {name: torch.from_numpy(np.array(out)) for name, out in baselines.items()}
        own = torch.as_tensor(outputs if network is None else network)
        return {
            "labels": torch.as_tensor(labels), "model": torch.as_tensor(outputs), "network": own, "baselines": kept,
        }  # fmt: skip

    folder.step("answers", answers)


def per_class(task: Task, labels: np.ndarray, outputs: np.ndarray) -> list[dict[str, Any]]:
    """Precision, recall, F1 and count of each class; none for regression. Undefined ratios are null."""
    if task.kind == "regression":
        return []
    have = ~missing(labels)
    if task.kind == "single-label":
        truth = np.eye(len(task.classes))[labels[have]]
        guess = np.eye(len(task.classes))[outputs[have].argmax(1)]
    else:
        known = ~np.isnan(labels[have])  # of a sample some labels may be known and others not
        truth, guess = np.nan_to_num(labels[have]), ((outputs[have] >= 0.5) & known).astype(float)
    rows = []
    for i, name in enumerate(task.classes):
        hit, said, true = float((truth[:, i] * guess[:, i]).sum()), float(guess[:, i].sum()), float(truth[:, i].sum())
        rows.append(
            {
                "class": name,
                "n": int(true),
                "precision": hit / said if said else None,
                "recall": hit / true if true else None,
                "f1": 2 * hit / (said + true) if said + true else None,
            }
        )
    return rows


def confusion(task: Task, labels: np.ndarray, outputs: np.ndarray) -> np.ndarray | None:
    """(classes, classes) counts, rows are labels; None except for single-label tasks."""
    if task.kind != "single-label":
        return None
    count = len(task.classes)
    matrix = np.zeros((count, count), dtype=int)
    have = labels >= 0
    np.add.at(matrix, (labels[have], outputs[have].argmax(1)), 1)
    return matrix


def confused_pairs(
    task: Task, ids: list[str], labels: np.ndarray, outputs: np.ndarray, most: int = 10
) -> list[dict[str, Any]]:
    """The most frequent confusions, with the samples."""
    matrix = confusion(task, labels, outputs)
    if matrix is None:
        return []
    off = matrix - np.diag(np.diag(matrix))
    guess = outputs.argmax(1)
    rows = []
    for flat in np.argsort(-off, axis=None, kind="stable")[:most]:
        a, b = np.unravel_index(flat, off.shape)
        if off[a, b] == 0:
            break
        members = [ids[i] for i in np.flatnonzero((labels == a) & (guess == b))]
        share = off[a, b] / max(1, matrix[a].sum())
        pair = {"label": task.classes[a], "predicted": task.classes[b], "n": int(off[a, b]), "share": float(share)}
        rows.append({**pair, "ids": members[:20]})
    return rows


def reliability(task: Task, labels: np.ndarray, outputs: np.ndarray) -> list[dict[str, float]]:
    """Bins of the reliability diagram; none for regression."""
    have = ~missing(labels)
    if task.kind == "regression" or not have.any():
        return []
    if task.kind == "single-label":
        sure, right = outputs[have].max(1), outputs[have].argmax(1) == labels[have]
    else:
        known = ~np.isnan(labels[have])
        sure, right = outputs[have][known], labels[have][known] > 0.5
    return [
        {"low": b.low, "high": b.high, "n": b.n, "confidence": b.confidence, "accuracy": b.accuracy}
        for b in reliability_bins(sure, right, 10)
    ]
