"""Colours: Okabe and Ito's palette, safe for any colour vision, and inks that follow the page.

Source: M. Okabe and K. Ito, Color Universal Design, 2008 (yellow darkened so that it shows on white).
"""

from __future__ import annotations

BLUE, ORANGE, GREEN, VERMILLION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
SKY, PURPLE, YELLOW, GREY = "#56b4e9", "#cc79a7", "#c9b800", "#8a8f98"
QUALITATIVE = (BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, YELLOW, GREY)

# These exact colours are replaced by variables of the page's style sheet, so figures follow light and dark.
INK, MUTED, GRID, SURFACE = "#1b1f24", "#57606b", "#d8dee5", "#fffffe"
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", SURFACE: "var(--surface)"}

MARKERS = ("o", "s", "^", "D", "v", "P")


def styles(n: int) -> list[tuple[str, str]]:
    """`n` pairs of colour and marker, all different up to 48 and repeating after that.

    >>> len(set(styles(48)))
    48
    """
    k = len(QUALITATIVE)
    return [(QUALITATIVE[i % k], MARKERS[i // k % len(MARKERS)]) for i in range(n)]


def sequential(n: int) -> list[str]:
    """`n` colours of viridis from dark to light, without its palest end, which fades on white.

    >>> len(sequential(5)), sequential(1)
    (5, ['#440154'])
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](0.88 * i / max(n - 1, 1))) for i in range(n)]
