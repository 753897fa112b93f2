"""The model against its baselines: a dot for each value, a line for its 95% interval."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from headstart.report.figures.palette import BLUE, GREY, INK, SURFACE
from headstart.report.figures.svg import drawing, new_figure, soften, to_svg
from headstart.report.formats import clean, estimate, interval
from headstart.report.schema import Estimate
from headstart.report.words import MetricWords


def intervals(rows: Sequence[tuple[str, Estimate]], metric: MetricWords, name: str, what: str) -> Markup:
    """Dots with intervals, one row each; the first row is the model and stands out.

    Parameters
    ----------
    rows
        Name and estimate of the model, then of each baseline.
    metric
        How the value is called and shown.
    name
        Unique on the page.
    what
        Beginning of the description for people who do not see the figure.
    """
    factor = 100 if metric.percent else 1
    with drawing():
        figure = new_figure(560, 74 + 34 * len(rows))
        axes = figure.add_subplot()
        for y, (_, value) in enumerate(rows):
            colour = BLUE if y == 0 else GREY
            if value.low is not None and value.high is not None:
                axes.plot(
                    [factor * value.low, factor * value.high], [y, y], color=colour, linewidth=3, alpha=0.55,
                    solid_capstyle="round",
                )  # fmt: skip
            axes.plot(
                factor * value.value, y, "o", color=colour, markersize=9 if y == 0 else 7, markeredgecolor=SURFACE,
                markeredgewidth=1.2,
            )  # fmt: skip
            axes.annotate(
                estimate(value, metric.percent), (factor * value.value, y), (0, 8), textcoords="offset points",
                ha="center", va="bottom", fontweight="bold" if y == 0 else "normal", color=INK,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [clean(title, 28) for title, _ in rows], color=INK)
        axes.set_ylim(len(rows) - 0.5, -0.75)
        better = "further right is better" if metric.higher else "further left is better"
        axes.set_xlabel(f"{metric.title}{', %' if metric.percent else ''} ({better})")
        axes.margins(x=0.08)
        soften(axes, "x")
        axes.spines["left"].set_visible(False)
        said = [f"{title} {estimate(v, metric.percent)} ({interval(v, metric.percent)})" for title, v in rows]
        return to_svg(
            figure, name, metric.title + " beside the baselines", f"{what}: " + "; ".join(said) + "."
        )
