"""What several seeds say: a metric's mean and spread over them, and a gap that is sure of seeds and samples.

Seeds alone do not say how sure a number is, nor do test samples alone: both vary, and a comparison has to count both
(X. Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys 2021, arXiv 2103.03098).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from headstart.measure.intervals import UNDEFINED, Interval, paired_draws
from headstart.measure.metrics import Metric

RANGES = {"log_loss": (0.0, math.inf), "rmse": (0.0, math.inf), "mae": (0.0, math.inf), "r2": (-math.inf, 1.0)}
"""Least and largest value of a metric; of others 0 and 1."""


@dataclass(frozen=True)
class OverSeeds:
    """A metric of several seeds: mean, standard deviation and interval of the mean; None where not defined."""

    mean: float | None
    std: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class GapOverSeeds:
    """A gap of several pairs on the same samples.

    Attributes
    ----------
    gap
        Mean over pairs, and its interval over seeds and samples.
    seed_error, sample_error
        The standard errors that it is made of.
    """

    gap: Interval
    seed_error: float | None
    sample_error: float | None


def over_seeds(
    name: str, values: Sequence[float | None], level: float = 0.95, within: tuple[float, float] | None = None
) -> OverSeeds:
    """Mean, standard deviation and Student's t interval of a metric over seeds.

    The interval is of what training with yet other seeds would give on the same samples, on average; it ends where
    the metric `name` does, or at `within`. One seed has neither spread nor interval.

    >>> found = over_seeds("accuracy", [0.90, 0.92, 0.94])
    >>> [round(v, 4) for v in (found.mean, found.std, found.low, found.high)]
    [0.92, 0.02, 0.8703, 0.9697]
    """
    if not values or any(v is None or math.isnan(v) for v in values):
        return OverSeeds(None, None, None, None)
    x = np.array(values, dtype=float)
    mean, n = float(x.mean()), len(x)
    if n == 1:
        return OverSeeds(mean, None, None, None)
    std = float(x.std(ddof=1))
    half = float(special.stdtrit(n - 1, 0.5 + level / 2)) * std / math.sqrt(n)
    least, most = within or RANGES.get(name, (0.0, 1.0))
    return OverSeeds(mean, std, max(mean - half, least), min(mean + half, most))


def gap_over_seeds(
    metric: Metric,
    labels: ArrayLike,
    outputs: Sequence[ArrayLike],
    baselines: Sequence[ArrayLike],
    seed: int = 0,
    level: float = 0.95,
) -> GapOverSeeds:
    """Metric of models minus that of their baselines, mean over seeds, with an interval over seeds and samples.

    With gaps g_1 .. g_K of K seeds, the mean is uncertain because other samples would give another one (s^2, its
    variance over bootstrap resamples that all seeds share), and because other seeds would (t^2 = var(g) / K). The two
    are independent, so the variance is their sum; the interval is Student's, with the degrees of freedom (s^2 + t^2)^2
    / (t^4 / (K - 1)) that F. Satterthwaite, "An approximate distribution of estimates of variance components",
    Biometrics Bulletin 2 (1946), gives the sum. It becomes the bootstrap's normal interval where seeds agree, and
    Student's over seeds where samples are many. In simulations (tests/measure/test_over_seeds.py) it covers 95% from
    three seeds on, and about 91% with two, of which a spread is hardly known.

    Parameters
    ----------
    metric, labels, seed, level
        As for `paired_difference`.
    outputs, baselines
        Of each seed; all of the same samples in the same order.

    Returns
    -------
    GapOverSeeds
        Positive means a higher value, which for errors and losses is worse. Without ends for a single seed whose
        resamples are not defined.
    """
    pairs = [paired_draws(metric, labels, a, b, seed) for a, b in zip(outputs, baselines, strict=True)]
    gaps = np.array([value for value, _ in pairs])
    if not pairs or np.isnan(gaps).any():
        return GapOverSeeds(UNDEFINED, None, None)
    value, count = float(gaps.mean()), len(gaps)
    resampled = np.mean([draws for _, draws in pairs], axis=0)
    defined = resampled[~np.isnan(resampled)]
    if 2 * len(defined) <= len(resampled):
        return GapOverSeeds(Interval(value, None, None), None, None)
    of_samples = float(defined.var(ddof=1))
    of_seeds = float(gaps.var(ddof=1)) / count if count > 1 else 0.0
    freedom = (of_samples + of_seeds) ** 2 / (of_seeds**2 / (count - 1)) if of_seeds > 0 else math.inf
    half = float(special.stdtrit(freedom, 0.5 + level / 2)) * math.sqrt(of_samples + of_seeds)
    return GapOverSeeds(Interval(value, value - half, value + half), math.sqrt(of_seeds), math.sqrt(of_samples))
