"""Predicted against true values, and what is left over."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from headstart.report.figures.palette import BLUE, MUTED, ORANGE
from headstart.report.figures.svg import drawing, new_figure, soften, to_svg
from headstart.report.formats import count, number


def predicted_against_true(true: np.ndarray, predicted: np.ndarray, name: str, most: int = 1000) -> Markup:
    """Left: every sample at (true, predicted). Right: how often which error occurs.

    Parameters
    ----------
    true, predicted
        (n,) finite values, n at least 1.
    name
        Unique on the page.
    most
        More points than this are thinned evenly along the true value; the histogram counts all.
    """
    order = np.argsort(true, kind="stable")
    shown = order if len(order) <= most else order[np.linspace(0, len(order) - 1, most).astype(int)]
    errors = predicted - true
    with drawing():
        figure = new_figure(920, 380)
        left, right = figure.subplots(1, 2)
        left.plot(true[shown], predicted[shown], "o", color=BLUE, alpha=0.5, markersize=3.5, markeredgewidth=0)
        low = float(min(true.min(), predicted.min()))
        high = float(max(true.max(), predicted.max()))
        left.plot([low, high], [low, high], color=MUTED, linestyle="--", linewidth=1)
        left.set(xlabel="true value", ylabel="predicted value", title="Predicted against true")
        spread = float(np.abs(errors).max()) or 1.0
        right.hist(errors, bins=np.linspace(-spread, spread, 41), color=BLUE, alpha=0.8)
        right.axvline(0, color=MUTED, linewidth=1)
        right.axvline(float(errors.mean()), color=ORANGE, linewidth=1.6, linestyle="--", label="mean error")
        right.legend()
        right.set(xlabel="predicted minus true (residual)", ylabel="samples", title="Errors")
        soften(left, "both")
        soften(right)
        told = (
            f"{count(len(true))} samples; mean error {number(float(errors.mean()), 3)}, half of them within "
            f"{number(float(np.median(np.abs(errors))), 3)} of the truth."
        )
        return to_svg(figure, name, "Predicted against true values", told)


def residuals(true: np.ndarray, predicted: np.ndarray, name: str, bands: int = 10) -> Markup:
    """Median error and the middle 80% of errors within bands of the true value."""
    errors = predicted - true
    edges = np.unique(np.quantile(true, np.linspace(0, 1, min(bands, max(1, len(true) // 5)) + 1)))
    if len(edges) < 2:
        edges = np.array([edges[0] - 0.5, edges[0] + 0.5])
    band = np.clip(np.searchsorted(edges, true, side="right") - 1, 0, len(edges) - 2)
    with drawing():
        figure = new_figure(640, 280)
        axes = figure.add_subplot()
        axes.axhline(0, color=MUTED, linewidth=1)
        for b in range(len(edges) - 1):
            inside = errors[band == b]
            if not len(inside):
                continue
            x = float((edges[b] + edges[b + 1]) / 2)
            low, middle, high = np.quantile(inside, [0.1, 0.5, 0.9])
            axes.plot([x, x], [low, high], color=BLUE, linewidth=4, alpha=0.35, solid_capstyle="round")
            axes.plot(x, middle, "o", color=BLUE, markersize=6)
        axes.set(
            xlabel="true value",
            ylabel="predicted minus true",
            title="Where it errs: error along the true value",
        )
        soften(axes, "both")
        told = "For bands of the true value: the middle error as a dot, the middle 80% of errors as a line."
        return to_svg(figure, name, "Residuals along the true value", told)
