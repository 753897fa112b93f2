"""The model against its baselines: a dot for each value, a line for its 95% interval."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from headstart.report.figures.palette import BLUE, GREY, INK, MUTED, SURFACE
from headstart.report.figures.svg import drawing, new_figure, soften, to_svg
from headstart.report.formats import clean, estimate, interval, number
from headstart.report.schema.part import Estimate
from headstart.report.words import MetricWords


def intervals(rows: Sequence[tuple[str, Estimate]], metric: MetricWords, name: str, what: str) -> Markup:
    """Dots with intervals, one row each; the first row is the model and stands out.

    A row far from all others (guessing, as a rule) would squeeze them together, so it is drawn as an arrow at
    the edge. All values stand beside the rows.

    Parameters
    ----------
    rows
        Name and estimate of the model, then of each baseline; at least one.
    metric
        How the value is called and shown.
    name
        Unique on the page.
    what
        Beginning of the description for people who do not see the figure.
    """
    factor = 100 if metric.percent else 1
    low, high = _window([value for _, value in rows])
    largest = max(abs(v) for _, value in rows for v in (value.value, value.low, value.high) if v is not None)
    texts = [_texts(value, metric.percent, largest) for _, value in rows]
    aside = 1.21 + 0.025 * max(0, max(len(text) for text, _ in texts) - 5)
    with drawing():
        figure = new_figure(600, 70 + 30 * len(rows))
        axes = figure.add_subplot()
        for y, (_, value) in enumerate(rows):
            colour, strong = (BLUE, "bold") if y == 0 else (GREY, "normal")
            if not low <= value.value <= high:
                inset = 0.02 * (high - low)
                place, arrow = (low + inset, "<") if value.value < low else (high - inset, ">")
                axes.plot(factor * place, y, arrow, color=colour, markersize=8)
            else:
                ends = (value.low, value.high)
                if ends[0] is not None and ends[1] is not None:
                    axes.plot([factor * ends[0], factor * ends[1]], [y, y], color=colour, linewidth=3, alpha=0.6)
                    axes.plot([factor * ends[0], factor * ends[1]], [y, y], "|", color=colour, markersize=9)
                size = 9 if y == 0 else 7
                axes.plot(factor * value.value, y, "o", color=colour, markersize=size, markeredgecolor=SURFACE)
            beside = ("axes fraction", "data")
            shown, range_ = texts[y]
            axes.annotate(shown, (1.04, y), xycoords=beside, va="center", fontweight=strong, color=INK)
            axes.annotate(range_, (aside, y), xycoords=beside, va="center", fontsize=8, color=MUTED)
        axes.set_yticks(range(len(rows)), [clean(title, 28) for title, _ in rows], color=INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(factor * low, factor * high)
        better = "further right is better" if metric.higher else "further left is better"
        axes.set_xlabel(f"{metric.title}{', %' if metric.percent else ''} ({better})")
        soften(axes, "x")
        axes.spines["left"].set_visible(False)
        said = [f"{title} {estimate(v, metric.percent)} ({interval(v, metric.percent)})" for title, v in rows]
        told = f"{what}: {'; '.join(said)}."
        return to_svg(figure, name, f"{metric.title} beside the baselines", told)


def _texts(value: Estimate, as_percent: bool, largest: float) -> tuple[str, str]:
    """Value and interval as they stand beside a row, in few digits; 0 for what is nothing beside the largest."""
    if as_percent:
        return estimate(value, True), interval(value, True)

    def short(v: float) -> str:
        return number(0.0 if abs(v) < 1e-3 * largest else v, 3)

    ends = "" if value.low is None or value.high is None else f"{short(value.low)} to {short(value.high)}"
    return short(value.value), ends


def _window(values: Sequence[Estimate]) -> tuple[float, float]:
    """Ends of the axis: around all values, or around all but one that lies very far off.

    >>> def at(x): return Estimate(value=x, low=x - 0.01, high=x + 0.01)
    >>> [round(end, 3) for end in _window([at(0.97), at(0.10), at(0.90)])]
    [0.882, 0.988]
    """
    low, high = _ends(values)
    for i, far in enumerate(values[1:], start=1):
        near = [v for j, v in enumerate(values) if j != i]
        inner_low, inner_high = _ends(near)
        if len(near) > 1 and inner_high - inner_low < 0.4 * (high - low) and not inner_low <= far.value <= inner_high:
            low, high = inner_low, inner_high
            break
    margin = 0.09 * (high - low) or 0.05 * abs(high) or 0.05
    return low - margin, high + margin


def _ends(values: Sequence[Estimate]) -> tuple[float, float]:
    low = min(v.value if v.low is None else v.low for v in values)
    return low, max(v.value if v.high is None else v.high for v in values)
