"""A metric against the number of labels."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, NullLocator

from headstart.report.figures.palette import BLUE, GREY, ORANGE
from headstart.report.figures.svg import drawing, new_figure, soften, to_svg
from headstart.report.formats import count
from headstart.report.schema.evidence import LearningCurve


def learning_figure(curve: LearningCurve, higher_is_better: bool, title: str, name: str) -> Markup:
    """Points with their intervals, the fitted law, and where it goes with as many labels again."""
    n, values = np.array([p.n for p in curve.points], float), np.array([p.value for p in curve.points])
    with drawing():
        figure = new_figure(600, 240)
        axes = figure.add_subplot()
        for point in curve.points:
            if point.low is not None and point.high is not None:
                axes.plot([point.n, point.n], [point.low, point.high], color=BLUE, linewidth=1.4)
        axes.plot(n, values, "o", color=BLUE, markersize=5, label="measured")
        if {"a", "b", "c"} <= set(curve.law):
            along = np.geomspace(n[0], 2 * n[-1], 80)
            error = curve.law["a"] * along ** -curve.law["b"] + curve.law["c"]
            fitted = 1 - error if higher_is_better else error
            inside = along <= n[-1]
            axes.plot(along[inside], fitted[inside], color=GREY, label="fitted")
            axes.plot(along[~inside], fitted[~inside], color=ORANGE, linestyle="--", label="if it goes on like this")
        axes.set_xscale("log", base=2)
        ticks = [*n, 2 * n[-1]]
        axes.set_xticks(ticks)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: count(round(v))))
        axes.set_xlabel("Labelled samples")
        axes.set_ylabel(title)
        axes.legend(loc="lower right" if higher_is_better else "upper right")
        soften(axes, "y")
        told = "; ".join(f"{count(p.n)} labels: {p.value:.3f}" for p in curve.points)
        return to_svg(figure, name, f"{title} of the probe against the number of labels", told)
