"""Small curves of a series, written as SVG by hand: a page may hold fifty of them."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from headstart.report.figures.palette import GREY, QUALITATIVE
from headstart.report.formats import clean, number
from headstart.report.schema.given import Curve

WIDTH, HEIGHT, MOST_CHANNELS = 220, 96, 8


def sparkline(
    series: Curve,
    alt: str,
    width: int = WIDTH,
    height: int = HEIGHT,
    shades: Sequence[float] | None = None,
) -> Markup:
    """The channels of a series over one another, each between its own least and largest value.

    Gaps are missing values. The first eight channels have colours of their own, further ones are grey.

    Parameters
    ----------
    shades
        (T,) between 0 and 1: how dark the background is behind each step.
    """
    steps = max((len(channel) for channel in series.values), default=0)
    across = (width - 4) / max(steps - 1, 1)
    parts = []
    if shades is not None:
        for i, shade in enumerate(shades):
            if shade > 0.02:
                left = max(0.0, 2 + (i - 0.5) * across)
                parts.append(
                    f'<rect x="{left:.1f}" y="0" width="{across:.1f}" height="{height}" fill="var(--open)" '
                    f'fill-opacity="{0.55 * min(1.0, shade):.2f}"/>'
                )
    for c, channel in reversed(list(enumerate(series.values))):
        colour = QUALITATIVE[c] if c < MOST_CHANNELS and c < len(QUALITATIVE) else GREY
        for line in _lines(channel, across, height):
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
            if len(line) == 1:
                parts.append(f'<circle cx="{line[0][0]:.1f}" cy="{line[0][1]:.1f}" r="1.6" fill="{colour}"/>')
            else:
                parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
    channels = len(series.values)
    length = f"{steps} points" if series.period is None else f"{number((steps - 1) * series.period, 3)} s"
    title = f"{clean(alt)}: {channels} {'channel' if channels == 1 else 'channels'}, {length}"
    return Markup(
        f'<svg class="spark" role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _lines(channel: Sequence[float | None], across: float, height: int) -> list[list[tuple[float, float]]]:
    known = [v for v in channel if v is not None]
    if not known:
        return []
    low, high = min(known), max(known)
    spread = (high - low) or 1.0
    lines: list[list[tuple[float, float]]] = [[]]
    for i, value in enumerate(channel):
        if value is None:
            lines.append([])
        else:
            middle = 0.5 if high == low else (value - low) / spread
            lines[-1].append((2 + i * across, height - 4 - middle * (height - 8)))
    return [line for line in lines if line]
