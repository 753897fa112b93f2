"""Reliability diagram: is the model right as often as it says?"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.ticker import PercentFormatter

from headstart.report.figures.palette import BLUE, MUTED, SURFACE
from headstart.report.figures.svg import drawing, new_figure, soften, to_svg
from headstart.report.formats import percent
from headstart.report.schema.answers import Bin


def reliability(bins: Sequence[Bin], name: str, labels: bool = False) -> Markup:
    """Share that is right over stated confidence, with the number of samples of every bin below.

    With `labels`: how often a label applies over its probability.
    """
    filled = [b for b in bins if b.n > 0 and b.accuracy is not None]
    with drawing():
        figure = new_figure(460, 430)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        top.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
        along = "as often as said" if labels else "as sure as right"
        top.annotate(along, (0.3, 0.3), (-4, 6), textcoords="offset points", color=MUTED, ha="right")
        x = [b.confidence if b.confidence is not None else (b.low + b.high) / 2 for b in filled]
        y = [b.accuracy for b in filled]
        for centre, b in zip(x, filled, strict=True):
            top.plot([centre, centre], [centre, b.accuracy], color=BLUE, linewidth=2, alpha=0.4)
        largest = max((b.n for b in filled), default=1)
        sizes = [24 + 90 * b.n / largest for b in filled]
        top.scatter(x, y, s=sizes, color=BLUE, edgecolors=SURFACE, linewidths=1, zorder=3)
        top.set_ylabel("how often it applies" if labels else "share that is right")
        top.set_ylim(-0.03, 1.05)
        for b in bins:
            width = b.high - b.low
            bottom.bar(b.low + width / 2, b.n, width * 0.9, color=BLUE, alpha=0.75)
        bottom.set_ylabel("decisions" if labels else "samples")
        bottom.set_xlabel("probability of a label" if labels else "confidence of the answer")
        bottom.set_xlim(0, 1)
        bottom.xaxis.set_major_formatter(PercentFormatter(1.0))
        top.yaxis.set_major_formatter(PercentFormatter(1.0))
        soften(top, "both")
        soften(bottom)
        what, how = ("labels", "apply") if labels else ("answers", "are right")
        told = [f"{b.n} {what} at {percent(c)} {how} {percent(b.accuracy)}" for c, b in zip(x, filled, strict=True)]
        return to_svg(figure, name, "Reliability diagram", "; ".join(told) + ".")
