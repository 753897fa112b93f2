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
from headstart.measure.seeds import gap_over_seeds, over_seeds

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
    "gap_over_seeds",
    "mcnemar",
    "metrics_for",
    "over_seeds",
    "paired_difference",
    "reliability_bins",
    "wilson",
    "with_intervals",
]
