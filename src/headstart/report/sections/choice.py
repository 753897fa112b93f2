"""What was tried, what it gave, and why this was chosen."""

from __future__ import annotations

from typing import Any

from matplotlib import colormaps
from matplotlib.colors import to_hex

from headstart.report.folder import RunFolder
from headstart.report.formats import clean, count, duration, estimate, interval, number, percent, setting
from headstart.report.schema.evidence import Screen, ScreenRow
from headstart.report.schema.given import DataPart
from headstart.report.schema.report import Report
from headstart.report.sections.section import Section
from headstart.report.words import STRATEGIES, inputs_name, metric_words


def choice(run: RunFolder) -> Section:
    """Reasons, table of candidates, phases of the strategy, heatmap of the screen."""
    report = run.report
    return Section(
        "choice",
        "What was tried, and why this was chosen",
        "choice.html",
        {
            "strategy": report.strategy.name,
            "strategy_meaning": STRATEGIES.get(report.strategy.name, ""),
            "asked": report.strategy.asked,
            "reasons": report.strategy.reasons,
            "phases": _phases(report),
            "tried": _tried(report),
            "metric": metric_words(report.deciding).title,
            "screen": _heatmap(report.screen, report.data) if report.screen and report.screen.rows else None,
        },
    )


def _tried(report: Report) -> list[dict[str, Any]]:
    words = metric_words(report.deciding)
    return [
        {
            "name": c.name,
            "detail": c.detail,
            "value": estimate(c.validation, words.percent),
            "interval": interval(c.validation, words.percent),
            "time": duration(c.seconds),
            "chosen": c.chosen,
            "why": c.why,
        }
        for c in report.tried
    ]


def _phases(report: Report) -> list[tuple[str, str]]:
    """Name and settings of every phase; the rates stand in the figure of learning rates."""
    phases = []
    for i, phase in enumerate(report.strategy.phases):
        settings = {k: v for k, v in phase.items() if k not in ("name", "rates") and setting(v) != "–"}
        shown = "; ".join(f"{clean(k).replace('_', ' ')}: {setting(v)}" for k, v in settings.items())
        phases.append((str(phase.get("name", i + 1)), shown))
    return phases


def _heatmap(screen: Screen, data: DataPart) -> dict[str, Any]:
    """A table of scores: stages from input to output, columns by picture size and pooling grid."""
    stages = list(dict.fromkeys(row.stage for row in screen.rows))
    columns = sorted({(row.size or 0, row.grid or 1) for row in screen.rows})
    cells = {(row.stage, row.size or 0, row.grid or 1): row for row in screen.rows}
    scores = [row.score for row in screen.rows if row.score is not None]
    low, high = (min(scores), max(scores)) if scores else (0.0, 1.0)
    words = metric_words(screen.metric)
    best = max(scores) if words.higher and scores else low
    rows = []
    for stage in stages:
        shown = []
        for size, grid in columns:
            row = cells.get((stage, size, grid))
            best_here = row is not None and row.score == best
            chosen_here = _is_chosen(screen, stage, size, grid)
            shown.append(_cell(row, low, high, words.percent) | {"best": best_here, "chosen": chosen_here})
        rows.append((stage, shown))
    sizes = [(s, sum(1 for size, _ in columns if size == s)) for s in dict.fromkeys(size for size, _ in columns)]
    return {
        "pictures": data.modality == "image",
        "one": f"a {inputs_name(data.modality, 1)}",
        "unit": {"px": "pixels"}.get(data.size_unit, data.size_unit),
        "metric": words.title,
        "samples": count(screen.samples) if screen.samples else "some of the",
        "sizes": sizes,
        "grids": [grid for _, grid in columns],
        "rows": rows,
        "better": "Higher is better." if words.higher else "Lower is better.",
        "any_chosen": any(cell["chosen"] for _, shown in rows for cell in shown),
    }


def _is_chosen(screen: Screen, stage: str, size: int, grid: int) -> bool:
    chosen = screen.chosen
    return (
        chosen.get("stage") == stage
        and chosen.get("grid", grid) == grid
        and chosen.get("size", chosen.get("image_size", size)) == size
    )


def _cell(row: ScreenRow | None, low: float, high: float, as_percent: bool) -> dict[str, Any]:
    if row is None or row.score is None:
        return {"text": "–", "style": "", "hint": "not measured"}
    place = (row.score - low) / (high - low) if high > low else 1.0
    colour = colormaps["viridis"](0.05 + 0.9 * place)
    # Relative luminance as WCAG 2 defines it; above .18 black has the better contrast.
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.18
    text = percent(row.score) if as_percent else number(row.score, 3)
    spread = "" if row.std is None else f" ± {percent(row.std) if as_percent else number(row.std, 2)} (standard error)"
    dimensions = "" if row.dimensions is None else f", {count(row.dimensions)} numbers per sample"
    style = f"background:{to_hex(colour)};color:{'#000000' if light else '#ffffff'}"
    return {"text": text, "style": style, "hint": f"{text}{spread}{dimensions}"}
