"""The confusion matrix, readable up to about fifty classes; of more, the block where most is confused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.patches import Rectangle

from headstart.report.figures.palette import BLUE, INK, MUTED
from headstart.report.figures.svg import drawing, new_figure, to_svg
from headstart.report.formats import clean, count

READABLE = 50
BLOCK = 20
ERROR = "#b45309"  # vermillion, dark enough for white figures


@dataclass(frozen=True)
class Block:
    """Rows and columns of a confusion matrix that are shown, and how many classes there are in all."""

    classes: list[str]
    matrix: np.ndarray
    of: int


def most_confused_block(classes: list[str], matrix: np.ndarray, most: int = READABLE, block: int = BLOCK) -> Block:
    """The whole matrix, or of more than `most` classes those `block` which take part in most confusions.

    Parameters
    ----------
    classes
        Names, one for each row.
    matrix
        (K, K) counts, rows true, columns predicted.

    Examples
    --------
    >>> matrix = np.diag([5, 5, 5]); matrix[0, 2] = 3
    >>> most_confused_block(["a", "b", "c"], matrix, most=2, block=2).classes
    ['a', 'c']
    """
    if len(classes) <= most:
        return Block(classes, matrix, len(classes))
    errors = matrix - np.diag(np.diag(matrix))
    # Greedy from the strongest pair, so that the shown classes are confused with each other.
    both = errors + errors.T
    chosen = [int(i) for i in np.unravel_index(int(both.argmax()), both.shape)]
    chosen = list(dict.fromkeys(chosen))
    while len(chosen) < block:
        gain = both[:, chosen].sum(axis=1) + 1e-6 * both.sum(axis=1)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
    chosen.sort()
    return Block([classes[i] for i in chosen], matrix[np.ix_(chosen, chosen)], len(classes))


def confusion_matrix(block: Block, totals: np.ndarray, name: str) -> Markup:
    """Rows are the truth, columns what the model said; blue is right, orange wrong, strength the share.

    Parameters
    ----------
    block
        What to show.
    totals
        Samples of each shown class, those predicted outside of the block included.
    name
        Unique on the page.
    """
    n = len(block.classes)
    cell = 54 if n <= 6 else 40 if n <= 12 else 30 if n <= 20 else 21
    digits = 9.5 if n <= 12 else 8 if n <= 20 else 6
    names = [clean(c, 22) for c in block.classes]
    margin = 40 + 6.2 * max(len(x) for x in names)
    upright = n <= 12 and max(len(x) for x in names) <= 4
    with drawing():
        figure = new_figure(max(300, n * cell + margin), max(240, n * cell + (60 if upright else margin)))
        axes = figure.add_subplot()
        for i, j in np.argwhere(block.matrix > 0):
            share = float(block.matrix[i, j] / max(totals[i], 1))
            strength = 0.10 + 0.90 * (share if i == j else share**0.5)
            axes.add_patch(
                Rectangle(
                    (j - 0.5, i - 0.5),
                    1,
                    1,
                    facecolor=BLUE if i == j else ERROR,
                    alpha=min(strength, 1.0),
                    linewidth=0,
                )
            )
            colour = "#ffffff" if strength > 0.6 else INK
            shown = count(block.matrix[i, j])
            small = digits if len(shown) <= 3 or n <= 12 else digits * 0.75
            axes.text(j, i, shown, ha="center", va="center", fontsize=small, color=colour)
        axes.set_xlim(-0.5, n - 0.5)
        axes.set_ylim(n - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.set_xticks(range(n), names, rotation=0 if upright else 90, color=INK)
        axes.set_yticks(range(n), names, color=INK)
        axes.set_xticks(np.arange(-0.5, n), minor=True)
        axes.set_yticks(np.arange(-0.5, n), minor=True)
        axes.grid(True, which="minor", linewidth=0.6)
        axes.tick_params(which="both", length=0)
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.set_xlabel("what the model said", color=MUTED)
        axes.set_ylabel("what it is", color=MUTED)
        for side in axes.spines.values():
            side.set_visible(False)
        right, all_ = int(np.trace(block.matrix)), int(block.matrix.sum())
        told = f"{n} classes; {count(right)} of {count(all_)} shown samples lie on the diagonal, which is right."
        return to_svg(figure, name, "Confusion matrix", told)
