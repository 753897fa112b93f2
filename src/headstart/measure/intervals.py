"""How sure is a number? Intervals for metrics, and tests of two models on the same samples.

Accuracies get Wilson's interval. Balanced accuracy and F1, which are means of shares, get Wilson's too, with the
number of samples that a share as uncertain as they are by a bootstrap would rest on, fewer where rare classes decide
(`around_share`). Every other metric gets a percentile bootstrap over samples (B. Efron, R. Tibshirani, "An
Introduction to the Bootstrap", 1993, chapter 13), as do differences between two models, with both on the same
resamples.

tests/measure/test_coverage.py simulates what they cover: of 95% intervals 93 to 97% for accuracy and its paired
differences from 200 samples on and for macro F1 from 500 on, up to an accuracy of .97, classes of five samples
included. Percentile intervals are a little narrow where samples are few: about 93% for the RMSE of 150 normal errors,
and 91 to 94% for macro F1 of 500 samples at .97, which is why it has its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from headstart.core.seeding import derive
from headstart.measure.metrics import Metric, metrics_for
from headstart.measure.weighting import Array, MetricFunction, missing_rows

RESAMPLES = 1000
CHUNK = 2_000_000
"""Weights in memory at a time."""


@dataclass(frozen=True)
class Interval:
    """A value and the interval around it; None where not defined."""

    value: float | None
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, float | None]:
        return {"value": self.value, "low": self.low, "high": self.high}


UNDEFINED = Interval(None, None, None)


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion; (0, 1) without samples.

    Source: E. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    >>> low, high = wilson(90, 100)
    >>> round(low, 4), round(high, 4)
    (0.8256, 0.9448)
    """
    if n <= 0:
        return 0.0, 1.0
    z = float(special.ndtri(0.5 + level / 2))
    p, factor = successes / n, 1 + z * z / n
    centre = (p + z * z / (2 * n)) / factor
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / factor
    # Exactly 0 and 1 at the ends, where rounding would leave 1e-17.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def resamples_of(n: int, seed: int, resamples: int = RESAMPLES) -> Iterator[Array]:
    """Counts (b, n) of bootstrap resamples, in chunks; the same for the same n and seed."""
    rng = np.random.default_rng(derive(seed, "bootstrap", n))
    size = max(1, CHUNK // max(n, 1))
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(float)


def percentiles(values: Array, level: float = 0.95) -> tuple[float, float] | None:
    """The interval that holds the middle `level` of the values; None where more than half are not defined."""
    defined = values[~np.isnan(values)]
    if 2 * len(defined) <= len(values):
        return None
    low, high = np.quantile(defined, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def with_intervals(
    kind: str,
    labels: ArrayLike,
    outputs: ArrayLike,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, float | None]]:
    """Every metric of the kind with its interval, in the form of report.json.

    Parameters
    ----------
    kind, labels, outputs
        As for `compute_all`; samples without labels are left out.
    seed
        Of the bootstrap.
    level
        Probability that the interval is to cover.
    resamples
        Of the bootstrap; fewer, but at least 100, where samples times outputs exceed 30,000.

    Returns
    -------
    dict
        `{"accuracy": {"value": .., "low": .., "high": ..}, ...}`, None where a metric is not defined.
    """
    labels, outputs = _labelled(labels, outputs)
    metrics = metrics_for(kind)
    values = {name: metric.function(labels, outputs) for name, metric in metrics.items()}
    draws: dict[str, list[Array]] = {
        name: [] for name, m in metrics.items() if m.interval != "wilson" and not math.isnan(values[name])
    }
    if draws:
        for weights in resamples_of(len(labels), seed, _affordable(outputs, resamples)):
            for name, parts in draws.items():
                parts.append(_of_resamples(metrics[name])(labels, outputs, weights))
    found = {}
    for name, metric in metrics.items():
        if math.isnan(values[name]):
            found[name] = UNDEFINED.as_json()
        elif metric.interval == "wilson":
            low, high = wilson(round(values[name] * len(labels)), len(labels), level)
            found[name] = Interval(values[name], low, high).as_json()
        elif metric.interval == "effective":
            counts = _counts(kind, labels) if metric.by_class else None
            n = len(labels) if metric.by_class else int(np.nansum(labels))  # micro F1 is of what is positive
            found[name] = around_share(values[name], np.concatenate(draws[name]), n, level, counts).as_json()
        elif metric.of_ranks and values[name] in (0.0, 1.0):
            # Every resample of samples in perfect order is in perfect order.
            worth = _worth_at_ends(_counts(kind, labels))
            found[name] = Interval(values[name], *wilson(values[name] * worth, worth, level)).as_json()
        else:
            found[name] = _around(values[name], np.concatenate(draws[name]), level).as_json()
    return found


def around_share(value: float, draws: Array, n: int, level: float = 0.95, counts: Array | None = None) -> Interval:
    """Wilson's interval of a mean of shares, with the sample size that its bootstrap says it is worth.

    A share of m samples has the variance p (1 - p) / m, so a value v with the bootstrap variance s^2 is worth
    m = v (1 - v) / s^2 samples: about `n` for balanced classes, fewer where rare ones decide. The middle is the value
    less its bias, for which the bootstrap's is taken: F1 of resamples is lower than F1 as a rule. Unlike percentiles
    it is not too narrow near 1.

    The variance itself is known badly where a class of a few samples makes most of it. So m is lowered to
    m (z / t)^2 with t the quantile of Student's distribution, its degrees of freedom those of a mean over classes
    whose variances go as 1 / n_c: (sum 1 / n_c)^2 / sum(1 / n_c^2 / (n_c - 1)).

    Sources: effective sample size, lowered by t: E. Korn, B. Graubard, "Confidence intervals for proportions with small
    expected number of positive counts estimated from survey data", Survey Methodology 24 (1998); degrees of freedom: F.
    Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bulletin 2 (1946); with
    Wilson's interval: N. Dean, M. Pagano, "Evaluating confidence interval methods for binomial proportions in clustered
    surveys", Journal of Survey Statistics and Methodology 3 (2015); bias: B. Efron, R. Tibshirani (above), chapter 10.

    Parameters
    ----------
    value
        The metric, from 0 to 1.
    draws
        (B,) the metric of resamples, NaN where not defined.
    n
        Samples that the value is of: its worth where it is 0 or 1 and the resamples are all the same. A mean over
        classes is worth less where they are not balanced, by `counts`.
    level
        Probability that the interval is to cover.
    counts
        (C,) samples of each class, for a mean over classes.

    Returns
    -------
    Interval
        Without ends where more than half of the draws are not defined.
    """
    defined = draws[~np.isnan(draws)]
    if 2 * len(defined) <= len(draws):
        return Interval(value, None, None)
    spread = float(defined.std(ddof=1)) if len(defined) > 1 else 0.0
    if spread < 1e-12:
        m = n if counts is None else _worth_at_ends(counts)
        ends = wilson(value * m, m, level) if value in (0.0, 1.0) else (value, value)
        return Interval(value, *ends)
    worth = value * (1 - value) / spread**2 * (1.0 if counts is None else _lowered(counts, level))
    middle = min(max(2 * value - float(defined.mean()), 0.0), 1.0)
    low, high = wilson(middle * worth, worth, level)
    return Interval(value, min(low, value), max(high, value))


def _lowered(counts: Array, level: float) -> float:
    """(z / t)^2 for a mean over classes of so many samples; classes without samples are not in the mean."""
    present = counts[counts > 0].astype(float)
    # A class of one sample has no spread of its own; less than two degrees would give intervals from 0 to 1.
    parts = 1 / present**2 / np.maximum(present - 1, 0.5)
    freedom = max(float((1 / present).sum() ** 2 / parts.sum()), 2.0)
    upper = 0.5 + level / 2
    return float((special.ndtri(upper) / special.stdtrit(freedom, upper)) ** 2)


def _worth_at_ends(counts: Array) -> float:
    """Samples that a mean over C classes is worth whose shares are all p, whatever p is: C^2 / sum(1 / n_c).

    The mean has the variance p (1 - p) sum(1 / n_c) / C^2. Balanced classes are worth all their samples;
    without any sample nothing is known.
    """
    present = counts[counts > 0].astype(float)
    if not len(present):
        return 0.0
    return float(len(present) ** 2 / (1 / present).sum())


def _counts(kind: str, labels: Array) -> Array:
    """(C,) samples of each class; of each label, those that have it."""
    return np.bincount(labels) if kind == "single-label" else np.nansum(labels, axis=0)


def paired_difference(
    metric: Metric,
    labels: ArrayLike,
    outputs: ArrayLike,
    baseline: ArrayLike,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Metric of `outputs` minus metric of `baseline` on the same samples, with a paired bootstrap interval.

    Parameters
    ----------
    metric
        From `find_metric`.
    labels, outputs, baseline
        As for `compute_all`; both models on the same samples in the same order.
    seed, level
        As for `with_intervals`.

    Returns
    -------
    Interval
        Positive means a higher value, which for errors and losses is worse. None where either is not defined.
    """
    value, draws = paired_draws(metric, labels, outputs, baseline, seed)
    return UNDEFINED if math.isnan(value) else _around(value, draws, level)


def paired_draws(
    metric: Metric, labels: ArrayLike, outputs: ArrayLike, baseline: ArrayLike, seed: int = 0
) -> tuple[float, Array]:
    """What `paired_difference` is made of: the difference, and (B,) that of each resample; NaN where not defined."""
    labels = np.asarray(labels)
    here = ~missing_rows(labels)
    labels, a, b = labels[here], np.asarray(outputs)[here], np.asarray(baseline)[here]
    value = metric.function(labels, a) - metric.function(labels, b)
    if math.isnan(value):
        return value, np.array([])
    function = _of_resamples(metric)
    draws = [
        function(labels, a, weights) - function(labels, b, weights)
        for weights in resamples_of(len(labels), seed, _affordable(a, RESAMPLES))
    ]
    return value, np.concatenate(draws)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar test that two classifiers are right equally often.

    Parameters
    ----------
    only_first, only_second
        How many samples only the first, and only the second, got right.

    Returns
    -------
    float
        p-value; 1.0 where they never differ.

    >>> round(mcnemar(25, 15), 4), round(mcnemar(11, 1), 5)
    (0.1539, 0.00635)
    """
    n = only_first + only_second
    return min(1.0, 2 * float(special.bdtr(min(only_first, only_second), n, 0.5))) if n else 1.0


def _labelled(labels: ArrayLike, outputs: ArrayLike) -> tuple[Array, Array]:
    labels, outputs = np.asarray(labels), np.asarray(outputs)
    here = ~missing_rows(labels)
    return labels[here], outputs[here]


def _affordable(outputs: Array, resamples: int) -> int:
    """Ranking metrics cost samples x outputs per resample; beyond 3e7 in all there are fewer resamples."""
    return min(resamples, max(100, int(3e7 / max(outputs.size, 1))))


def _of_resamples(metric: Metric) -> MetricFunction:
    return metric.of_resamples or metric.function


def _around(value: float, draws: Array, level: float) -> Interval:
    ends = percentiles(draws, level)
    return Interval(value, *ends) if ends else Interval(value, None, None)
