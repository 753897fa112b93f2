"""How training went: loss, metric and learning rates of every candidate that was trained."""

from __future__ import annotations

from typing import Any

from headstart.report.figures.curves import learning_curves, learning_rates
from headstart.report.folder import RunFolder
from headstart.report.history import curves, rates
from headstart.report.sections.section import Section
from headstart.report.words import metric_words

MOST_CANDIDATES = 6


def training(run: RunFolder) -> Section:
    """Learning curves and learning rates, the chosen candidate first."""
    found = curves(run.events)
    stages = _chosen_first([c.stage for c in found], run)
    shown: list[dict[str, Any]] = []
    lines = {r.stage: r for r in rates(run.events)}
    for i, stage in enumerate(stages[:MOST_CANDIDATES]):
        mine = [c for c in found if c.stage == stage]
        # Folds decide, the run on all data has no validation part: together they would hide each other.
        final = [c for c in mine if c.fold is None]
        folds = [c for c in mine if c.fold is not None]
        figures = []
        for group, title in ((final, ""), (folds, "folds")):
            if group:
                metric = metric_words(group[0].metric or run.report.deciding)
                figures.append((title, learning_curves(group, metric, f"curves-{i}{'-folds' if title else ''}")))
        shown.append(
            {
                "stage": stage,
                "curves": figures,
                "rates": learning_rates(lines[stage], f"rates-{i}") if _drawable(lines.get(stage)) else None,
            }
        )
    frozen_only = not found and run.report.strategy.name == "probe"
    values = {"candidates": shown, "left_out": stages[MOST_CANDIDATES:], "frozen_only": frozen_only}
    return Section("training", "How training went", "training.html", values)


def _drawable(run: Any) -> bool:
    return run is not None and bool(run.lines)


def _chosen_first(stages: list[str], run: RunFolder) -> list[str]:
    chosen = {c.name for c in run.report.tried if c.chosen} | {run.report.strategy.name}
    return sorted(dict.fromkeys(stages), key=lambda s: s not in chosen)
