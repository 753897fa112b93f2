"""Where the model is wrong: confusion matrix, confused pairs, classes, single samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.report.figures.confusion import confusion_matrix, most_confused_block
from headstart.report.folder import RunFolder
from headstart.report.formats import count, label_text, number, percent
from headstart.report.pictures import Album
from headstart.report.sample import shown
from headstart.report.schema.report import Report
from headstart.report.sections.section import Section

MOST_WORST = 24
MOST_PAIRS = 12


def errors(run: RunFolder, album: Album) -> Section:
    """Values for the section on errors; parts that do not apply to the task are None or empty."""
    report = run.report
    return Section(
        "errors",
        "Where it is wrong",
        "errors.html",
        {
            "part": report.part,
            "kind": report.task.kind,
            "numeric": report.task.kind == "regression",
            "confusion": _confusion(report),
            "pairs": [
                {"label": p.label, "predicted": p.predicted, "n": count(p.n), "share": percent(p.share),
                 "ids": p.ids[:3], "more": max(0, len(p.ids) - 3)}
                for p in report.confused[:MOST_PAIRS]
            ],
            "classes": _classes(report),
            "worst": _worst(report, album),
            "modality": report.data.modality,
        },
    )  # fmt: skip


def _confusion(report: Report) -> dict[str, Any] | None:
    confusion = report.confusion
    if confusion is None or not confusion.classes:
        return None
    matrix = np.array(confusion.matrix, dtype=np.int64)
    block = most_confused_block(confusion.classes, matrix)
    place = {c: i for i, c in enumerate(confusion.classes)}
    totals = matrix.sum(axis=1)[[place[c] for c in block.classes]]
    return {
        "figure": confusion_matrix(block, totals, "confusion"),
        "shown": len(block.classes),
        "of": block.of,
        "part": confusion.part,
        "wrong": count(matrix.sum() - np.trace(matrix)),
        "all": count(matrix.sum()),
    }


def _classes(report: Report) -> list[dict[str, Any]]:
    """Rows of the table of classes, the weakest first."""
    rows = sorted(report.per_class, key=lambda r: (r.f1 is None, r.f1 or 0.0))
    return [
        {
            "name": r.name,
            "n": count(r.n),
            "cells": [(percent(v), 100 * v if v is not None else None) for v in (r.precision, r.recall, r.f1)],
        }
        for r in rows
    ]


def _worst(report: Report, album: Album) -> list[dict[str, Any]]:
    return [
        {
            "id": w.id,
            "part": w.part,
            "label": label_text(w.label),
            "predicted": label_text(w.predicted),
            "right": w.label == w.predicted or report.task.kind == "regression",
            "confidence": percent(w.confidence) if w.confidence is not None else "",
            "loss": number(w.loss, 3),
            "sample": shown(w, album, f"Sample {w.id}, labelled {label_text(w.label)}"),
        }
        for w in report.worst[: MOST_WORST if report.data.modality != "text" else MOST_WORST // 2]
    ]
