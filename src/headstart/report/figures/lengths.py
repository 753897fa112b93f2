"""How long samples are."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from headstart.report.figures.palette import BLUE, INK, VERMILLION
from headstart.report.figures.svg import drawing, new_figure, soften, to_svg
from headstart.report.formats import count
from headstart.report.schema.given import Lengths


def length_histogram(lengths: Lengths, name: str) -> Markup:
    """Bars of how many samples have which length; a line where the network's limit lies, if that is in sight."""
    edges, counts = np.asarray(lengths.edges), np.asarray(lengths.counts)
    with drawing():
        figure = new_figure(600, 190)
        axes = figure.add_subplot()
        axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=BLUE, alpha=0.75, linewidth=0)
        if lengths.limit is not None and lengths.limit < edges[-1]:
            axes.axvline(lengths.limit, color=VERMILLION, linewidth=1.6)
            axes.annotate(
                f" limit {count(lengths.limit)}",
                (lengths.limit, 1),
                xycoords=("data", "axes fraction"),
                va="top",
                color=INK,
            )
        axes.set_xlim(min(0.0, float(edges[0])), float(edges[-1]))
        axes.set_xlabel(f"Length in {lengths.unit}")
        axes.set_ylabel("Training samples")
        soften(axes, "y")
        most = int(counts.argmax())
        told = f"Most samples have {edges[most]:.0f} to {edges[most + 1]:.0f} {lengths.unit}."
        return to_svg(figure, name, "How long samples are", told)
