"""Maps of the features before and after training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from headstart.report.figures.palette import GREY
from headstart.report.figures.svg import drawing, new_figure, to_svg

Style = tuple[str, str]


def feature_maps(
    before: np.ndarray, after: np.ndarray, groups: Sequence[int], styles: Sequence[Style], name: str
) -> Markup:
    """Two maps side by side; every point is a sample.

    Parameters
    ----------
    before, after
        (n, 2) places; rows that are not finite are left out.
    groups
        Index into `styles` for every sample, or -1 for samples drawn faintly.
    styles
        Colour and marker of every group; the page has the legend.
    name
        Unique on the page.
    """
    index = np.asarray(groups)
    with drawing():
        figure = new_figure(920, 440)
        for axes, places, title in zip(
            figure.subplots(1, 2), (before, after), ("Before training", "After training"), strict=True
        ):
            _bare(axes, title)
            for group in range(-1, len(styles)):
                rows = places[index == group]
                if len(rows):
                    colour, marker = styles[group] if group >= 0 else (GREY, "o")
                    faint = group < 0
                    axes.plot(
                        rows[:, 0], rows[:, 1], marker, color=colour, alpha=0.35 if faint else 0.8,
                        markersize=2.5 if faint else 4, markeredgewidth=0,
                    )  # fmt: skip
        told = f"{len(before)} samples in two dimensions, coloured by class; see the legend for the colours."
        return to_svg(figure, name, "Map of the features before and after training", told)


def domain_map(places: np.ndarray, groups: Sequence[int], styles: Sequence[Style], name: str) -> Markup:
    """One map of (n, 2) places, by domain."""
    index = np.asarray(groups)
    with drawing():
        figure = new_figure(560, 440)
        axes = figure.subplots()
        _bare(axes, "")
        for group, (colour, marker) in enumerate(styles):
            rows = places[index == group]
            axes.plot(rows[:, 0], rows[:, 1], marker, color=colour, alpha=0.7, markersize=4, markeredgewidth=0)
        told = f"{len(places)} samples of two domains in two dimensions; see the legend for the colours."
        return to_svg(figure, name, "Map of both domains", told)


def numeric_maps(before: np.ndarray, after: np.ndarray, values: np.ndarray, name: str) -> Markup:
    """Like `feature_maps`, coloured by a number from dark (low) to light (high)."""
    with drawing():
        figure = new_figure(960, 420)
        pair = figure.subplots(1, 2)
        drawn = None
        for axes, places, title in zip(pair, (before, after), ("Before training", "After training"), strict=True):
            _bare(axes, title)
            drawn = axes.scatter(
                places[:, 0], places[:, 1], c=values, cmap="viridis", s=14, linewidths=0, alpha=0.85,
                norm=Normalize(float(np.nanmin(values)), float(np.nanmax(values))),
            )  # fmt: skip
        assert drawn is not None
        drawn.set_alpha(None)
        bar = figure.colorbar(drawn, ax=list(pair), shrink=0.8, label="true value")
        bar.outline.set_visible(False)
        told = f"{len(before)} samples in two dimensions, coloured by their true value."
        return to_svg(figure, name, "Map of the features before and after training", told)


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
