"""Which model is better for all tasks: by a stated rule on validation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headstart.core.errors import ConfigError, did_you_mean
from headstart.features.probe import as_outputs
from headstart.measure import Metric
from headstart.measure.multitask import relative_changes
from headstart.verbs.tasks.view import TaskJob

MEAN, WORST = "mean", "worst"


def check_rule(rule: str, views: Mapping[str, TaskJob]) -> None:
    """Refuse a rule that is neither "mean", "worst" nor a task.

    Raises
    ------
    ConfigError
        With the names that there are.
    """
    if rule not in (MEAN, WORST, *views):
        raise ConfigError(
            f"No choice can follow {rule!r}: it is neither 'mean', 'worst' nor a task.",
            did_you_mean(rule, [MEAN, WORST, *views]),
        )


def metric_value(view: TaskJob, labels: np.ndarray, logits: np.ndarray) -> float:
    """The task's deciding metric over the samples that have logits."""
    have = ~np.isnan(logits).any(axis=1)
    return float(view.metric.function(labels[have], as_outputs(view.task, logits[have])))


def changes(
    metrics: Mapping[str, Metric], values: Mapping[str, float], baselines: Mapping[str, float]
) -> dict[str, float]:
    """Task -> relative change for the better; the plain difference where the baseline is zero."""
    higher = {name: metric.higher_is_better for name, metric in metrics.items()}
    found = relative_changes(values, baselines, higher)
    for name in found:
        if baselines[name] == 0:
            found[name] = (values[name] - baselines[name]) * (1 if higher[name] else -1)
    return found


def rule_value(rule: str, deltas: Mapping[str, float]) -> float:
    """What a rule makes of the tasks' changes: the mean, the least, or one task's; higher is better.

    A change that is not known (a metric that is not defined) is left out of the mean and of the least.
    """
    if rule in deltas:
        value = deltas[rule]
    else:
        known = [d for d in deltas.values() if np.isfinite(d)]
        value = float("nan") if not known else min(known) if rule == WORST else float(np.mean(known))
    return value if np.isfinite(value) else -np.inf
