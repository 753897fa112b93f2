"""Pure maths on arrays: metrics, intervals, calibration."""

from headstart.measure.calibration import (
    Bin,
    apply_temperature,
    calibration_error,
    ece,
    fit_temperature,
    reliability_bins,
)
from headstart.measure.intervals import Interval, mcnemar, paired_difference, wilson, with_intervals
from headstart.measure.metrics import Metric, compute_all, find_metric, metrics_for

__all__ = [
    "Bin",
    "Interval",
    "Metric",
    "apply_temperature",
    "calibration_error",
    "compute_all",
    "ece",
    "find_metric",
    "fit_temperature",
    "mcnemar",
    "metrics_for",
    "paired_difference",
    "reliability_bins",
    "wilson",
    "with_intervals",
]
