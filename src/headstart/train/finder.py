"""A learning-rate finder that keeps the ratios between stages, and says so when the curve suggests nothing."""

from __future__ import annotations

import math

import numpy as np

from headstart.core.progress import progress
from headstart.models.model import Model
from headstart.train.loop import Settings, Work
from headstart.train.reader import Reader
from headstart.train.trial import trial

STEPS = 60
LOWEST, HIGHEST = 1e-3, 1e2


def suggest(model: Model, reader: Reader, work: Work, settings: Settings) -> tuple[float | None, str]:
    """Train for a moment with rates growing from 1/1000 to 100 times the phase's, and read off a factor.

    Every group's rate is multiplied by the same factor, so the ratios between stages stay. The factor suggested is
    where the smoothed loss falls fastest per decade (Smith 2017, arXiv 1506.01186), at most a third of where it starts
    to rise. The model's weights are restored.

    Returns
    -------
    factor, reason
        None where the loss never fell by a twentieth of its start: then there is no suggestion.
    """
    factors = np.geomspace(LOWEST, HIGHEST, STEPS)
    losses: list[float] = []
    with progress().task("learning-rate finder", STEPS) as advance:
        for loss, _ in trial(model, reader, work, settings, factors):
            losses.append(loss)
            advance(1)
            if not math.isfinite(loss) or loss > 4 * max(losses[0], 1e-3):
                break
    return read_curve(factors[: len(losses)], np.array(losses))


def read_curve(factors: np.ndarray, losses: np.ndarray) -> tuple[float | None, str]:
    """The factor that a sweep's losses suggest, or None.

    >>> f = np.geomspace(1e-3, 1e2, 60)
    >>> read_curve(f, np.full(60, 2.3))[0] is None
    True
    """
    use = np.isfinite(losses)
    factors, losses = factors[use], losses[use]
    nothing = "The learning-rate finder has no suggestion (its curve never falls clearly): the default rates are used."
    if len(losses) < 10:
        return None, nothing
    smooth = np.convolve(np.pad(losses, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    lowest = int(smooth.argmin())
    if smooth[0] - smooth[lowest] < 0.05 * abs(smooth[0]) or lowest < 3:
        return None, nothing
    slope = np.gradient(smooth, np.log10(factors))
    steepest = int(slope[: lowest + 1].argmin())
    factor = float(min(factors[steepest], factors[lowest] / 3))
    return (
        factor,
        f"The learning-rate finder multiplies every rate by {factor:.2g} (ratios between stages kept).",
    )
