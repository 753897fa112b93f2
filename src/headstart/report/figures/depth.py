"""What every stage of several networks is worth: a probe's score along the depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from headstart.report.figures.palette import styles
from headstart.report.figures.svg import drawing, new_figure, soften, to_svg
from headstart.report.formats import clean

MOST = 8
"""Networks that are drawn: the best."""


def depth_figure(models: Sequence[tuple[str, Sequence[tuple[str, float]]]], title: str, name: str) -> Markup:
    """A line for each network: (stage, best score there) from the first stage (left) to the last (right)."""
    with drawing():
        figure = new_figure(600, 300)
        axes = figure.add_subplot()
        for (model, stages), (colour, marker) in zip(models[:MOST], styles(MOST), strict=False):
            x = np.linspace(0, 1, len(stages)) if len(stages) > 1 else np.array([1.0])
            axes.plot(x, [v for _, v in stages], color=colour, marker=marker, markersize=4, label=clean(model, 34))
        axes.set_xticks([0, 0.5, 1], ["first stage", "middle", "last"])
        axes.set_ylabel(title)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
        soften(axes, "y")
        best = [(model, max(stages, key=lambda s: s[1])) for model, stages in models]
        told = "; ".join(f"{model}: best {v:.3f} at {stage}" for model, (stage, v) in best)
        return to_svg(figure, name, f"{title} of a probe at every stage", told)
