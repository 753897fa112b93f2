"""What several seeds say: every seed, every metric over them, and the gap to each baseline."""

from __future__ import annotations

from typing import Any

from headstart.report.folder import RunFolder
from headstart.report.formats import NONE, duration, number, percent
from headstart.report.schema.report import Report
from headstart.report.schema.runs import OverSeeds, SeedGap, Spread
from headstart.report.sections.section import Section
from headstart.report.words import PARTS, MetricWords, baseline_title, metric_words


def seeds(run: RunFolder) -> list[Section]:
    """The section on seeds; none where there was one seed."""
    report, over = run.report, run.report.over_seeds
    if over is None or not over.runs:
        return []
    words = metric_words(report.deciding)
    parts = [p for p in ("validation", "test") if over.metrics.get(p)]
    values = {
        "count": len(over.runs),
        "best": over.best,
        "apart": _apart(over),
        "part": over.part,
        "metric": words.title,
        "parts": [PARTS[p] for p in parts],
        "runs": _runs(over, parts, words),
        "metrics": _metrics(report, over, parts),
        "gaps": [_gap(report, gap, words) for gap in over.gaps if gap.value is not None],
        "unit": "points" if words.percent else "",
    }
    return [Section("seeds", "Over several seeds", "seeds.html", values)]


def _runs(over: OverSeeds, parts: list[str], words: MetricWords) -> list[dict[str, Any]]:
    show = percent if words.percent else number
    apart = _apart(over)
    return [
        {
            "seed": run.seed,
            "kept": run.seed == over.best,
            "strategy": run.strategy,
            "values": [show(getattr(run, part)) for part in parts],
            "held_out": show(run.held_out) if apart else "",
            "time": duration(run.seconds),
            "run": run.run,
        }
        for run in over.runs
    ]


def _apart(over: OverSeeds) -> bool:
    """Whether seeds were compared by other numbers than their validation metrics: by two folds, not five."""
    return any(run.held_out is not None and run.held_out != run.validation for run in over.runs)


def _metrics(report: Report, over: OverSeeds, parts: list[str]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(name for part in parts for name in over.metrics[part]))
    names.sort(key=lambda name: name != report.deciding)
    rows = []
    for name in names:
        words = metric_words(name)
        cells = [_spread(over.metrics[part].get(name, Spread()), words) for part in parts]
        rows.append({"title": words.title, "cells": cells, "decides": name == report.deciding})
    return rows


def _spread(found: Spread, words: MetricWords) -> tuple[str, str]:
    """Mean with standard deviation, and the interval of the mean."""
    if found.mean is None:
        return NONE, ""
    show = percent if words.percent else number
    value = show(found.mean)
    if found.std is not None:
        value += f" ± {100 * found.std:.1f}" if words.percent else f" ± {number(found.std, 2)}"
    low, high = found.low, found.high
    return value, "" if low is None or high is None else f"{show(low)} to {show(high)}"


def _gap(report: Report, gap: SeedGap, words: MetricWords) -> dict[str, str]:
    factor = 100 if words.percent else 1

    def signed(value: float | None) -> str:
        if value is None:
            return NONE
        return f"{factor * value:+.1f}" if words.percent else f"{value:+.3g}"

    def plain(value: float | None) -> str:
        return signed(value).removeprefix("+")

    return {
        "title": baseline_title(gap.baseline, report.task.kind, report.raw_features_name),
        "value": signed(gap.value),
        "range": f"{signed(gap.low)} to {signed(gap.high)}",
        "of_seeds": plain(gap.seed_error),
        "of_samples": plain(gap.sample_error),
    }
