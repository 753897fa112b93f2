"""How a model's logits become answers, and whether a linear model without a network has a say in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.data import Task
from headstart.data.schema import missing
from headstart.measure import Metric, fit_temperature
from headstart.verbs.evaluation import calibrated, losses

WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Shares of the model without a network that are compared."""

CLEAR = 2.0
"""Standard errors by which the loss must fall: a second model has to be carried along and run for ever."""


@dataclass(frozen=True)
class Mixture:
    """(1 - weight) · the model's outputs + weight · those of the linear model without a network.

    Attributes
    ----------
    temperature, raw_temperature
        What the logits of either are divided by (1 for regression).
    weight
        0: the model alone.
    """

    temperature: float = 1.0
    raw_temperature: float = 1.0
    weight: float = 0.0

    def outputs(self, task: Task, logits: np.ndarray, raw: np.ndarray | None = None) -> np.ndarray:
        """Probabilities, or values of a regression, out of (N, K) logits of the model and of the one beside it."""
        own = calibrated(task, logits, self.temperature)
        if not self.weight:
            return own
        if raw is None:
            raise ValueError("a mixture needs the logits of both models")
        return mixed(own, calibrated(task, raw, self.raw_temperature), self.weight)


def mixed(own: np.ndarray, beside: np.ndarray, weight: float) -> np.ndarray:
    """The average of two models' outputs; `weight` is the share of the one beside."""
    return (1 - weight) * own + weight * beside


def temperature_of(task: Task, labels: np.ndarray, logits: np.ndarray) -> float:
    """The temperature that fits held-out logits best; 1 for regression."""
    if task.kind == "regression":
        return 1.0
    have = ~np.isnan(logits).any(1)
    return fit_temperature(logits[have], labels[have], task.kind)


def settle_mixture(
    task: Task, metric: Metric, labels: np.ndarray, logits: np.ndarray, raw: np.ndarray, name: str
) -> tuple[Mixture, str]:
    """Fit temperatures on held-out logits, and let the model without a network have a say where that pays.

    It pays where the mean loss falls by more than `CLEAR` paired standard errors and the metric improves. The weight
    is the one with the lowest loss: one number, chosen on hundreds of samples, can hardly be overfitted.

    Parameters
    ----------
    labels, logits, raw
        Of the same held-out samples: (N,) or (N, K), (N, K), (N, K); NaN where a sample was never held out.
    name
        What the model without a network is called.

    Returns
    -------
    Mixture, str
        And why.
    """
    have = ~(np.isnan(logits).any(1) | np.isnan(raw).any(1) | missing(labels))
    y, temperature, other = labels[have], temperature_of(task, labels, logits), temperature_of(task, labels, raw)
    own, beside = calibrated(task, logits[have], temperature), calibrated(task, raw[have], other)
    alone = losses(task, y, own)
    tried = {w: losses(task, y, mixed(own, beside, w)) for w in WEIGHTS}
    weight = min(tried, key=lambda w: float(tried[w].mean()))
    less = alone - tried[weight]
    error = float(less.std() / np.sqrt(max(1, len(less))))
    before, after = (float(metric.function(y, z)) for z in (own, mixed(own, beside, weight)))
    better = after > before if metric.higher_is_better else after < before
    pays = bool(less.mean() > CLEAR * error and better)
    said = (
        f"with {weight:.0%} of {name}, the loss on held-out samples changes by {-less.mean():+.3f} "
        f"(standard error {error:.3f}) and {metric.name} from {before:.3f} to {after:.3f}"
    )
    why = f"Blended: {said}." if pays else f"Not blended: {said}."
    return Mixture(temperature, other, weight if pays else 0.0), why


def constant_outputs(task: Task, labels: np.ndarray, n: int) -> np.ndarray:
    """Class frequencies (or the mean) of the training labels, for each of n samples."""
    if task.kind == "single-label":
        counts = np.bincount(labels[labels >= 0], minlength=len(task.classes))
        return np.tile(counts / counts.sum(), (n, 1))
    return np.tile(np.nanmean(labels, axis=0), (n, 1)) if labels.ndim == 2 else np.full(n, np.nanmean(labels))


def constant_logits(task: Task, labels: np.ndarray) -> np.ndarray:
    """(K,) logits (the value, for regression) whose outputs are `constant_outputs`."""
    p = np.atleast_1d(constant_outputs(task, labels, 1)[0]).astype(float)
    if task.kind == "regression":
        return p
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(p) if task.kind == "single-label" else np.log(p / (1 - p))
