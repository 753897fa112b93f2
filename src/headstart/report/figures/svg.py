"""Drawing with matplotlib's objects (no pyplot, no global figure) and turning the drawing into inline SVG."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from headstart.report.figures.palette import GRID, INK, MUTED, VARIABLES

CSS_PIXELS_PER_INCH = 96

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: the browser has the fonts for any script
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so the layout is the same everywhere
    "font.size": 9.0,
    "text.parse_math": False,  # a class named "$x$" is a name
    "text.usetex": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
}


@contextmanager
def drawing() -> Iterator[None]:
    """The style of all figures; create, fill and convert a figure inside."""
    with rc_context(_STYLE), warnings.catch_warnings():
        # Widths of scripts that DejaVu lacks are guessed; the browser draws the glyphs.
        warnings.filterwarnings("ignore", message="(?s).*Glyph .* missing from")
        warnings.filterwarnings("ignore", message=".*Matplotlib currently does not support .* natively")
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in CSS pixels, laid out so that nothing is cut off."""
    figure = Figure(figsize=(width / CSS_PIXELS_PER_INCH, height / CSS_PIXELS_PER_INCH))
    # The margin is for browsers whose letters are a little wider than those that the layout was made with.
    figure.set_layout_engine("constrained", w_pad=0.11)
    return figure


def soften(axes: Axes, grid: str = "y") -> None:
    """Light grid lines in one direction ("x", "y" or "both"), no tick marks."""
    axes.grid(True, axis=grid)  # type: ignore[arg-type]
    axes.tick_params(length=0)


def to_svg(figure: Figure, name: str, title: str, description: str) -> Markup:
    """The figure as an `<svg>` element that scales with the page, follows its colours and can be read aloud.

    Parameters
    ----------
    figure
        A figure made inside `drawing()`.
    name
        Unique on the page: letters, digits and hyphens; prefixes the ids inside.
    title, description
        For people who do not see the picture; escaped here.
    """
    stream = io.StringIO()
    canvas = FigureCanvasSVG(figure)
    # The salt makes ids a function of content and name: equal input gives equal bytes.
    with rc_context({"svg.hashsalt": name}):
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        # Not `savefig`, which draws everything a first time for the layout: drawing does that itself.
        canvas.print_svg(stream, metadata=nothing)
    width = figure.get_figwidth() * CSS_PIXELS_PER_INCH
    return Markup(_inline(stream.getvalue(), name, width, title, description))


def _inline(svg: str, name: str, width: float, title: str, description: str) -> str:
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    # matplotlib's style rule would reach the whole page; the page's own sheet has it for figures.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", svg))
    svg = re.sub(r"<[^>]*>", lambda tag: _tidy(tag.group(), name, used), svg)
    svg = re.sub(r">\s*\n\s*<", "><", svg)
    body = svg[svg.index(">") + 1 :]
    box = re.search(r'viewBox="([^"]*)"', svg)
    assert box is not None
    return (
        f'<svg class="figure" role="img" aria-labelledby="{name}-title {name}-desc" viewBox="{box.group(1)}" '
        f'style="max-width:{width:.0f}px" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>{body}'
    )


def _tidy(tag: str, name: str, used: set[str]) -> str:
    """One tag: ids kept only where something refers to them, colours as variables, two decimals."""
    if not tag.startswith("</"):
        tag = re.sub(r'\sid="([^"]*)"', lambda m: f' id="{name}-{m.group(1)}"' if m.group(1) in used else "", tag)
        tag = re.sub(r"url\(#", f"url(#{name}-", tag)
        tag = re.sub(r'href="#', f'href="#{name}-', tag)
        for colour, variable in VARIABLES.items():
            tag = tag.replace(colour, variable)
        tag = re.sub(r"(\d\.\d\d)\d+", r"\1", tag)
    return tag
