"""Learning-rate schedules: share of the phase -> factor on every group's rate."""

from __future__ import annotations

import math
from collections.abc import Callable

from headstart.core.registry import get, register

Schedule = Callable[[float], float]
"""Maps progress in [0, 1] to a factor in [0, 1]."""


@register("schedule", "constant", summary="no change", source="-")
def constant(warmup: float = 0.0) -> Schedule:
    """The full rate after a linear warm-up over the first `warmup` of the steps.

    >>> constant(0.5)(0.25), constant()(0.7)
    (0.5, 1.0)
    """
    return lambda t: t / warmup if t < warmup else 1.0


@register(
    "schedule",
    "cosine",
    summary="linear warm-up, then half a cosine to 0",
    source="Loshchilov & Hutter 2017, SGDR, arXiv 1608.03983",
)
def cosine(warmup: float = 0.1) -> Schedule:
    """
    >>> f = cosine(0.1)
    >>> [round(f(t), 3) for t in (0, 0.05, 0.1, 0.55, 1)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def factor(t: float) -> float:
        if t < warmup:
            return t / warmup
        return 0.5 * (1 + math.cos(math.pi * (t - warmup) / (1 - warmup)))

    return factor


@register(
    "schedule",
    "one-cycle",
    summary="cosine up from 1/25 of the rate over the first quarter, cosine down to 1e-5 of it",
    source="Smith 2018, arXiv 1803.09820; defaults of fastai's fit_one_cycle (div 25, final 1e5, pct_start .25)",
)
def one_cycle(warmup: float = 0.25, div: float = 25.0, final: float = 1e5) -> Schedule:
    """
    >>> f = one_cycle(0.25)
    >>> round(f(0), 3), round(f(0.25), 3), f(1) < 1e-4
    (0.04, 1.0, True)
    """

    def between(a: float, b: float, t: float) -> float:
        return b + (a - b) * (1 + math.cos(math.pi * t)) / 2

    def factor(t: float) -> float:
        if t < warmup:
            return between(1 / div, 1.0, t / warmup)
        return between(1.0, 1 / final, (t - warmup) / (1 - warmup))

    return factor


@register(
    "schedule",
    "slanted-triangular",
    summary="short linear rise, long linear fall",
    source="Howard & Ruder 2018, ULMFiT, arXiv 1801.06146, eq. 3 (cut .1, ratio 32)",
)
def slanted_triangular(warmup: float = 0.1, ratio: float = 32.0) -> Schedule:
    """
    >>> f = slanted_triangular(0.1, 32)
    >>> round(f(0), 5), f(0.1), round(f(1), 5)
    (0.03125, 1.0, 0.03125)
    """

    def factor(t: float) -> float:
        p = t / warmup if t < warmup else 1 - (t - warmup) / (1 - warmup)
        return (1 + p * (ratio - 1)) / ratio

    return factor


def make_schedule(name: str, warmup: float | None = None, steps: int | None = None) -> Schedule:
    """The schedule of that name, with its own warm-up unless one is given.

    Parameters
    ----------
    steps
        Of the whole phase, if known. A single one has nothing to rise or fall over, and takes the full rate: a warm-up
        would start it at 0, and nothing would be trained.

    >>> make_schedule("cosine", steps=1)(0.0), make_schedule("cosine", steps=2)(0.0)
    (1.0, 0.0)
    """
    build = get("schedule", name).build
    if steps == 1:
        return constant()
    return build() if warmup is None else build(warmup)
