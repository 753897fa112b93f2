"""What several seeds of an adaptation say: each seed's pick, and every method over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.report.folder import RunFolder
from headstart.report.formats import NONE, duration, number, percent
from headstart.report.sections.section import Section

ACCURACIES = (("oracle", "target accuracy (oracle)"), ("unseen", "accuracy on the target's test part (oracle)"))


def adaptation_seeds(run: RunFolder) -> list[Section]:
    """The section on seeds; none where there was one seed."""
    over = run.report.adaptation.get("over_seeds")
    if not over:
        return []
    known = [(key, title) for key, title in ACCURACIES if all(row.get(key) for row in over["attempts"])]
    values = {
        "text": over["text"],
        "by": over["by"],
        "accuracies": [title for _, title in known],
        "runs": [
            {
                "seed": row["seed"],
                "kept": row["seed"] == over["best"],
                "picked": row["picked"],
                "refused": row["refused"],
                "score": number(row["score"], 3),
                "accuracies": [percent(row.get(key)) for key, _ in known],
                "time": duration(row["seconds"]),
                "run": row["run"],
            }
            for row in over["runs"]
        ],
        "attempts": [
            {
                "method": row["method"],
                "taken": row["method"] == over["method"],
                "picked": row["picked"],
                "cells": [_spread(row["decided_by"], False), *(_spread(row[key], True) for key, _ in known)],
            }
            for row in over["attempts"]
        ],
    }
    return [Section("seeds", "Over several seeds", "adaptation_seeds.html", values)]


def _spread(found: Mapping[str, Any], share: bool) -> tuple[str, str]:
    """Mean with standard deviation, and the interval of the mean."""

    def show(value: float) -> str:
        return percent(value) if share else number(value, 3)

    mean, std, low, high = (found.get(key) for key in ("mean", "std", "low", "high"))
    if mean is None:
        return NONE, ""
    # What is the same for every seed differs by rounding at most.
    spread = "" if std is None else f" ± {100 * std:.1f}" if share else f" ± {number(std if std > 1e-9 else 0.0, 2)}"
    return show(mean) + spread, "" if low is None or high is None else f"{show(low)} to {show(high)}"
