"""Learning curves and learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from headstart.report.figures.palette import BLUE, GREEN, MUTED, ORANGE, sequential
from headstart.report.figures.svg import drawing, new_figure, soften, to_svg
from headstart.report.formats import clean, number
from headstart.report.history import Curve, Rates
from headstart.report.words import MetricWords

NAME_ROOM = 0.22
"""Share of the width of a panel that the name of a phase takes."""


def learning_curves(runs: Sequence[Curve], metric: MetricWords, name: str) -> Markup:
    """Loss and metric over epochs for one candidate; folds are thinner lines of equal colour.

    Parameters
    ----------
    runs
        Curves of one candidate; at least one.
    metric
        How the validation metric is called.
    name
        Unique on the page.
    """
    with drawing():
        # The last training of a cross-validated run is judged by nothing: its panel would be empty.
        judged = any(v is not None for run in runs for v in (*run.validation_metric, *run.ema_metric))
        figure = new_figure(920 if judged else 470, 270)
        panels = figure.subplots(1, 2 if judged else 1, squeeze=False)[0]
        loss, score = panels[0], panels[-1]
        for i, run in enumerate(runs):
            width = 1.8 if len(runs) == 1 else 1.0
            first = i == 0
            _line(loss, run.epochs, run.train_loss, ORANGE, "--", width, "training" if first else None)
            _line(loss, run.epochs, run.validation_loss, BLUE, "-", width, "validation" if first else None)
            if judged:
                raw, ema = ("weights as trained", "averaged weights (EMA)") if first else (None, None)
                _line(score, run.epochs, run.validation_metric, BLUE, "-", width, raw)
                _line(score, run.epochs, run.ema_metric, GREEN, "-.", width, ema)
        longest = max(runs, key=lambda run: len(run.epochs))
        titles = ("Loss (lower is better)", f"Validation: {metric.title}")
        for axes, title in zip(panels, titles, strict=False):
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            _mark_phases(axes, longest.phases)
            soften(axes)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="best")
        if judged and metric.percent:
            score.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))
        return to_svg(figure, name, f"Learning curves of {clean(longest.stage)}", _told(longest, metric))


def _line(
    axes: Axes, x: list[int], y: list[float | None], colour: str, style: str, width: float, label: str | None
) -> None:
    # Epochs that were not validated are passed over, so that the line goes from one validation to the next.
    known = [(epoch, v) for epoch, v in zip(x, y, strict=True) if v is not None]
    if known:
        size = 3.5 if len(known) <= 30 else 0
        # matplotlib leaves labels that start with _ out of the legend
        axes.plot(
            *zip(*known, strict=True),
            style,
            color=colour,
            linewidth=width,
            marker="o",
            markersize=size,
            label=label or "_",
        )


def _mark_phases(axes: Axes, phases: list[tuple[int, str]]) -> None:
    """A thin line where a phase ends, and the phases' names where there are several and the name has room."""
    if len(phases) < 2:
        return
    left, right = axes.get_xlim()
    room = NAME_ROOM * (right - left)
    free = left - room
    for start, phase in phases:
        if start > phases[0][0]:
            axes.axvline(start - 0.5, color=MUTED, linewidth=0.8, linestyle=":")
        begin = min(start, right - room)
        if begin < free:
            continue
        where = axes.get_xaxis_transform()
        axes.text(begin, 1.01, clean(phase, 14), transform=where, fontsize=8, color=MUTED, va="bottom")
        free = begin + room
    axes.set_xlim(left, right)
    axes.set_title(axes.get_title(loc="left"), pad=16)


def _told(run: Curve, metric: MetricWords) -> str:
    parts = [f"{len(run.epochs)} epochs."]
    for label, values in (
        ("training loss", run.train_loss),
        ("validation loss", run.validation_loss),
        (f"validation {metric.title}", run.validation_metric),
        ("the same with averaged weights", run.ema_metric),
    ):
        known = [v for v in values if v is not None]
        if known:
            parts.append(f"{label} from {number(known[0])} to {number(known[-1])}.")
    return " ".join(parts)


def learning_rates(run: Rates, name: str) -> Markup:
    """Learning rate of every stage of the network over steps, on a logarithmic axis."""
    with drawing():
        figure = new_figure(640, 300 if len(run.lines) <= 10 else 340)
        axes = figure.add_subplot()
        for (stage, points), colour in zip(run.lines.items(), sequential(len(run.lines)), strict=True):
            x, y = zip(*_with_gaps(points), strict=True)
            axes.plot(x, y, color=colour, label=f"\u200b{clean(stage, 22)}", linewidth=1.6)
        _log_axis(axes, [rate for points in run.lines.values() for _, rate in points])
        axes.set_xlabel("step")
        axes.set_ylabel("learning rate")
        _mark_phases(axes, run.phases)
        soften(axes, "both")
        if run.lines:
            handles, labels = axes.get_legend_handles_labels()
            axes.legend(
                handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5),
                title="stage, output at the top", title_fontsize=8.5, ncols=1 if len(labels) <= 16 else 2,
            )  # fmt: skip
        told = [f"{clean(stage)} from {points[0][1]:.1e} to {points[-1][1]:.1e}" for stage, points in run.lines.items()]
        return to_svg(figure, name, f"Learning rates of {clean(run.stage)}", "; ".join(told) + ".")


def _log_axis(axes: Axes, rates: Sequence[float]) -> None:
    """A logarithmic axis of at most four decades: the last steps of a cosine fall to almost nothing."""
    axes.set_yscale("log")
    high = max(rates, default=1.0)
    axes.set_ylim(max(min(rates, default=0.1), high * 1e-4) / 1.5, high * 1.5)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def power(value: float) -> str:
    """A rate as text with an exponent in superscript figures.

    >>> power(0.001), power(2e-05)
    ('10⁻³', '2·10⁻⁵')
    """
    factor, exponent = f"{value:.0e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if factor == "1" else f"{factor}·10{raised}"


def _with_gaps(points: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """The points with a hole wherever the stage was frozen for a while (a gap far above the usual one)."""
    gaps = [b[0] - a[0] for a, b in pairwise(points)]
    usual = float(np.median(gaps)) if gaps else 0.0
    out: list[tuple[float, float]] = []
    for i, point in enumerate(points):
        if i and point[0] - points[i - 1][0] > 5 * max(usual, 1):
            out.append((point[0], np.nan))
        out.append(point)
    return out
