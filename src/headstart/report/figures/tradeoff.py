"""What tasks reach at other weights: one task's metric against another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox

from headstart.report.figures.palette import BLUE, GREEN, MUTED, ORANGE
from headstart.report.figures.svg import drawing, new_figure, soften, to_svg
from headstart.report.formats import clean, number
from headstart.report.schema.tasks import Tradeoff, TradeoffPoint
from headstart.report.words import MetricWords

OFFSETS = (
    (5, 5),
    (5, -5),
    (-5, 5),
    (-5, -5),
    (0, 7),
    (0, -7),
    (7, 0),
    (-7, 0),
    (14, 14),
    (-14, 14),
    (14, -14),
    (-14, -14),
)
"""Where a text may stand beside its point, in typographic points; the first that covers nothing."""

MARK = 5.0
"""Half the side of the square that a point takes, in pixels."""


def tradeoff_figure(found: Tradeoff, metrics: Mapping[str, MetricWords], name: str) -> Markup | None:
    """A panel for every two tasks; top right is best for both, also where a lower metric is better.

    Parameters
    ----------
    found
        The short trainings: points, and lines for what a task reaches alone.
    metrics
        Task -> how its metric is called.
    name
        Unique on the page.

    Returns
    -------
    Markup or None
        None where no two tasks have values.
    """
    shown = [pair for pair in combinations(metrics, 2) if _known(found.points, pair)]
    if not shown:
        return None
    with drawing():
        figure = new_figure(440 * min(len(shown), 2), 340 * (1 + (len(shown) - 1) // 2))
        panels = figure.subplots(1 + (len(shown) - 1) // 2, min(len(shown), 2), squeeze=False).flatten()
        for axes, (x, y) in zip(panels, shown, strict=False):
            _panel(axes, found, x, y, metrics)
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        told = " ".join(_told(point) for point in found.points)
        return to_svg(figure, name, f"Trade-off between {', '.join(map(clean, metrics))}", told)


def _panel(axes: Axes, found: Tradeoff, x: str, y: str, metrics: Mapping[str, MetricWords]) -> None:
    points = _known(found.points, (x, y))
    places = [(p.values[x], p.values[y]) for p in points]
    # Two tasks' weights lie on a line; those of three do not.
    line = "-" if len(metrics) == 2 else "none"
    axes.plot(*zip(*places, strict=True), linestyle=line, color=BLUE, marker="o", markersize=5)
    said: dict[tuple[float | None, float | None], list[str]] = {}
    for point, place in zip(points, places, strict=True):
        said.setdefault(place, []).append(" : ".join(f"{point.weights[task]:.2g}" for task in (x, y)))
    for task, draw, colour, dash in ((x, axes.axvline, ORANGE, "--"), (y, axes.axhline, GREEN, "-.")):
        if (alone := found.alone.get(task)) is not None:
            draw(alone, color=colour, linestyle=dash, label=f"{clean(task, 20)} alone")
    for task, axis in ((x, axes.xaxis), (y, axes.yaxis)):
        _name(axis, task, metrics[task])
    axes.margins(0.15)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")
    soften(axes, "both")
    # Points may coincide.
    _write(axes, {place: "\n".join(dict.fromkeys(texts)) for place, texts in said.items()})


def _write(axes: Axes, texts: Mapping[tuple[float | None, float | None], str]) -> None:
    """A text beside each point, where it covers as little as possible of points, lines and other texts."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # where points lie is known once everything else has its place
    marks = axes.transData.transform(np.array([*texts], dtype=float))
    taken = [Bbox.from_bounds(x - MARK, y - MARK, 2 * MARK, 2 * MARK) for x, y in marks]
    taken += [line.get_window_extent().padded(2) for line in axes.lines[1:]]  # what tasks reach alone
    frame = axes.get_window_extent()
    for place, text in texts.items():
        best: tuple[float, Annotation, Bbox] | None = None
        for across, up in OFFSETS:
            note = axes.annotate(
                text, place, (across, up), textcoords="offset points", fontsize=7.5, color=MUTED,
                ha="left" if across > 0 else "right" if across < 0 else "center",
                va="bottom" if up > 0 else "top" if up < 0 else "center",
            )  # fmt: skip
            box = note.get_window_extent()
            covered = sum(_shared(box, other) for other in taken) + box.width * box.height - _shared(box, frame)
            if best is None or covered < best[0] - 1e-6:
                if best is not None:
                    best[1].remove()
                best = covered, note, box
            else:
                note.remove()
        assert best is not None
        taken.append(best[2])


def _shared(a: Bbox, b: Bbox) -> float:
    """Area that two boxes have in common."""
    both = Bbox.intersection(a, b)
    return 0.0 if both is None else both.width * both.height


def _name(axis: Axis, task: str, words: MetricWords) -> None:
    axis.set_label_text(f"{clean(task, 20)}: {words.title}")
    if words.percent:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))
    if not words.higher:
        axis.set_inverted(True)


def _known(points: Sequence[TradeoffPoint], pair: tuple[str, str]) -> list[TradeoffPoint]:
    return [p for p in points if all(p.values.get(task) is not None for task in pair)]


def _told(point: TradeoffPoint) -> str:
    weights = ", ".join(f"{clean(task)} {share:.2g}" for task, share in point.weights.items())
    return f"Weights {weights}: {', '.join(f'{clean(t)} {number(v)}' for t, v in point.values.items())}."
