"""The result beside the baselines, and every metric of every part."""

from __future__ import annotations

from typing import Any

from headstart.report.figures.intervals import intervals
from headstart.report.folder import RunFolder
from headstart.report.formats import estimate, interval
from headstart.report.schema.part import Estimate
from headstart.report.schema.report import Report
from headstart.report.sections.doubt import doubts
from headstart.report.sections.section import Section
from headstart.report.words import BASELINE_MEANINGS, BASELINES, PARTS, baseline_title, metric_words


def result(run: RunFolder) -> Section:
    """Chart of the model against its baselines, table of metrics."""
    report = run.report
    return Section(
        "result",
        "Result",
        "result.html",
        {
            "part": report.part,
            "has_test": bool(report.metrics.get("test")),
            "chart": _chart(report),
            "baselines": _baselines(report),
            "metrics": _metrics(report),
            "doubts": doubts(report),
            "cross_validation": report.data.protocol == "cross-validation",
        },
    )


def _rows(report: Report) -> list[tuple[str, Estimate]]:
    """Name and estimate of the model and of the baselines on the headline part; empty where there is none."""
    part, metric = report.part, report.deciding
    if part is None or report.metrics[part].get(metric) is None:
        return []
    rows = [("This model", report.metrics[part][metric])]
    for name in [*BASELINES, *(b for b in report.baselines if b not in BASELINES)]:
        value = report.baselines.get(name, {}).get(part, {}).get(metric)
        if value is not None:
            rows.append((baseline_title(name, report.task.kind, report.raw_features_name), value))
    return rows


def _chart(report: Report) -> Any:
    rows = _rows(report)
    if not rows:
        return None
    part = report.part or ""
    return intervals(rows, metric_words(report.deciding), "baselines", f"On the {part} part")


def _baselines(report: Report) -> list[tuple[str, str]]:
    """Title and meaning of the baselines there are."""
    return [
        (baseline_title(name, report.task.kind, report.raw_features_name), BASELINE_MEANINGS[name])
        for name in BASELINE_MEANINGS
        if name in report.baselines
    ]


def _metrics(report: Report) -> dict[str, Any] | None:
    parts = [p for p in ("validation", "test") if report.metrics.get(p)]
    names = list(dict.fromkeys(name for p in parts for name in report.metrics[p]))
    if not names:
        return None
    # The metric that decides comes first.
    names.sort(key=lambda name: name != report.deciding)
    rows = []
    for name in names:
        words = metric_words(name)
        cells = []
        for part in parts:
            value = report.metrics[part].get(name)
            cells.append((estimate(value, words.percent), interval(value, words.percent)))
        better = "higher" if words.higher else "lower"
        row = {"title": words.title, "meaning": words.meaning, "cells": cells, "better": better}
        rows.append(row | {"decides": name == report.deciding})
    return {"parts": [PARTS[p] for p in parts], "rows": rows}
