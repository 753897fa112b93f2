"""The metrics of each kind of task: which there are, which decides, which way is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

from headstart.core.errors import ConfigError, did_you_mean
from headstart.measure import calibration, multi_label, regression, single_label
from headstart.measure.weighting import MetricFunction


@dataclass(frozen=True)
class Metric:
    """What is known about a metric.

    Attributes
    ----------
    name
        What users type and reports say.
    function
        Of labels, outputs and optional weights (B, N).
    higher_is_better
        Which way is better.
    needs_probabilities
        Whether predicted classes alone do not do.
    interval
        How its interval is computed: "wilson" for the share of samples that are right, "effective" for means of shares
        (`around_share`), otherwise "bootstrap".
    of_resamples
        What takes the place of `function` for bootstrap resamples, where that differs.
    by_class
        Whether it is a mean over classes, each of which counts as much as any other.
    of_ranks
        Whether it is a mean over classes of how well samples are ordered: 1 in perfect order.
    """

    name: str
    function: MetricFunction
    higher_is_better: bool = True
    needs_probabilities: bool = False
    interval: Literal["wilson", "effective", "bootstrap"] = "bootstrap"
    of_resamples: MetricFunction | None = None
    by_class: bool = False
    of_ranks: bool = False

    def better(self, a: float | None, b: float | None) -> bool:
        """Whether `a` is strictly better than `b`; what is undefined is worse than any number."""
        if a is None or math.isnan(a):
            return False
        if b is None or math.isnan(b):
            return True
        return a > b if self.higher_is_better else a < b


def _table(*metrics: Metric) -> Mapping[str, Metric]:
    return {metric.name: metric for metric in metrics}


_METRICS: Mapping[str, Mapping[str, Metric]] = {
    "single-label": _table(
        Metric("accuracy", single_label.accuracy, interval="wilson"),
        Metric("balanced_accuracy", single_label.balanced_accuracy, interval="effective", by_class=True),
        Metric("macro_f1", single_label.macro_f1, interval="effective", by_class=True),
        Metric("auroc", single_label.auroc, needs_probabilities=True, of_ranks=True),
        Metric("log_loss", single_label.log_loss, higher_is_better=False, needs_probabilities=True),
        Metric(
            "ece",
            calibration.ece,
            higher_is_better=False,
            needs_probabilities=True,
            of_resamples=calibration.ece_of_resamples,
        ),
    ),
    "multi-label": _table(
        Metric("map", multi_label.mean_average_precision, needs_probabilities=True, of_ranks=True),
        Metric("micro_f1", multi_label.micro_f1, interval="effective"),
        Metric("macro_f1", multi_label.macro_f1, interval="effective", by_class=True),
        Metric("subset_accuracy", multi_label.subset_accuracy, interval="wilson"),
        Metric("log_loss", multi_label.log_loss, higher_is_better=False, needs_probabilities=True),
    ),
    "regression": _table(
        Metric("rmse", regression.rmse, higher_is_better=False),
        Metric("mae", regression.mae, higher_is_better=False),
        Metric("r2", regression.r2),
    ),
}


def metrics_for(kind: str) -> Mapping[str, Metric]:
    """Every metric of a kind of task by name; the first one decides unless the user names another."""
    return _METRICS[kind]


def find_metric(kind: str, name: str = "auto") -> Metric:
    """The metric of that name; "auto" is accuracy, map or rmse.

    Raises
    ------
    ConfigError
        If tasks of this kind have no such metric.

    >>> find_metric("regression").name
    'rmse'
    """
    known = metrics_for(kind)
    if name == "auto":
        return next(iter(known.values()))
    if name not in known:
        raise ConfigError(f"There is no metric {name!r} for {kind} tasks.", did_you_mean(name, known))
    return known[name]


def compute_all(kind: str, labels: ArrayLike, outputs: ArrayLike) -> dict[str, float | None]:
    """Every metric of the kind; None where one is not defined.

    Parameters
    ----------
    kind
        The kind of task.
    labels
        (N,) class indices, negative where missing; (N, K) zeros and ones, or (N,) numbers, NaN where missing.
    outputs
        (N, K) probabilities, for regression (N,) or (N, 1) values.

    >>> compute_all("regression", [1.0, 1.0], [1.0, 2.0])
    {'rmse': 0.7071067811865476, 'mae': 0.5, 'r2': None}
    """
    values = {name: metric.function(labels, outputs) for name, metric in metrics_for(kind).items()}
    return {name: None if math.isnan(value) else value for name, value in values.items()}
