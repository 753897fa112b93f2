"""Reliability diagram: is the model right as often as it says?"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.ticker import PercentFormatter

from headstart.report.figures.palette import BLUE, MUTED, SURFACE
from headstart.report.figures.svg import drawing, new_figure, soften, to_svg
from headstart.report.formats import percent
from headstart.report.schema.answers import Bin


def reliability(bins: Sequence[Bin], name: str) -> Markup:
    """Share that is right over stated confidence, with the number of samples of every bin below."""
    filled = [b for b in bins if b.n > 0 and b.accuracy is not None]
    with drawing():
        figure = new_figure(460, 430)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        top.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
        top.annotate("as sure as right", (0.3, 0.3), (-4, 6), textcoords="offset points", color=MUTED, ha="right")
        x = [b.confidence if b.confidence is not None else (b.low + b.high) / 2 for b in filled]
        y = [b.accuracy for b in filled]
        for centre, b in zip(x, filled, strict=True):
            top.plot([centre, centre], [centre, b.accuracy], color=BLUE, linewidth=2, alpha=0.4)
        largest = max((b.n for b in filled), default=1)
        sizes = [24 + 90 * b.n / largest for b in filled]
        top.scatter(x, y, s=sizes, color=BLUE, edgecolors=SURFACE, linewidths=1, zorder=3)
        top.set_ylabel("share that is right")
        top.set_ylim(-0.03, 1.05)
        for b in bins:
            width = b.high - b.low
            bottom.bar(b.low + width / 2, b.n, width * 0.9, color=BLUE, alpha=0.75)
        bottom.set_ylabel("samples")
        bottom.set_xlabel("confidence of the answer")
        bottom.set_xlim(0, 1)
        bottom.xaxis.set_major_formatter(PercentFormatter(1.0))
        top.yaxis.set_major_formatter(PercentFormatter(1.0))
        soften(top, "both")
        soften(bottom)
        told = [
            f"{b.n} answers at {percent(c)} are right {percent(b.accuracy)}" for c, b in zip(x, filled, strict=True)
        ]
        return to_svg(figure, name, "Reliability diagram", "; ".join(told) + ".")
