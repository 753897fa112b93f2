"""Figures of an adaptation: what validators said over the epochs, and what each method reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, MaxNLocator

from headstart.report.figures.palette import BLUE, GREEN, ORANGE
from headstart.report.figures.svg import drawing, new_figure, soften, to_svg


def validator_curve(curve: Sequence[Mapping[str, Any]], validator: str, title: str, name: str) -> Markup:
    """A validator's score over the epochs, beside accuracy on source and target as far as it is known."""
    points = [p for p in curve if p["kind"] == "raw"]
    epochs = [p["epoch"] for p in points]
    looks = {
        "source_accuracy": {"color": GREEN, "linestyle": "-.", "label": "source, held out"},
        "oracle": {"color": ORANGE, "linestyle": "--", "label": "target (oracle)"},
    }
    known = [key for key in looks if all(p.get(key) is not None for p in points)]
    with drawing():
        figure = new_figure(920 if known else 460, 250)
        left, *others = figure.subplots(1, 2 if known else 1, squeeze=False)[0]
        left.plot(epochs, [p["score"] for p in points], color=BLUE, marker="o", markersize=3)
        left.set_title(f"What keeps an epoch: {validator} (higher is better)")
        for right in others:
            for key in known:
                right.plot(epochs, [p[key] for p in points], **looks[key])
            right.set_title("Accuracy")
            right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))
            right.legend(loc="best")
        for axes in (left, *others):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            soften(axes)
        return to_svg(figure, name, f"Validator over the epochs of {title}", f"{len(points)} epochs of {title}.")


def confidence_histogram(counts: Sequence[int], edges: Sequence[float], name: str) -> Markup:
    """How many target samples got an answer of which confidence."""
    with drawing():
        figure = new_figure(460, 240)
        axes = figure.subplots()
        axes.bar(edges[:-1], counts, width=0.95 * (edges[1] - edges[0]), align="edge", color=BLUE)
        axes.set_xlabel("confidence of the answer")
        axes.set_title("Target samples by confidence")
        soften(axes)
        return to_svg(figure, name, "Confidence on the target", f"{sum(counts)} samples in {len(counts)} bins.")
