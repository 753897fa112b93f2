"""The learning curve of a linear probe: its metric against the number of labels, and what more labels are worth.

Subsets are nested and stratified, and every size is scored on the same samples: a validation part, or, where there is
none, every training sample by the fold that held it out. Features are rotated once for all subsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.data.schema import Task, missing
from headstart.data.stratify import indicators, nested_order
from headstart.features.following import follow, joined
from headstart.features.probe import ROUGH, as_outputs, label_scale, target_of
from headstart.features.solver import shared_design
from headstart.measure import Metric
from headstart.measure.intervals import percentiles, resamples_of
from headstart.measure.learning_curve import fit_power_law, round_number

SIZES = 5
"""Each half of the next."""

LEAST = 8
"""Labels of the smallest subset."""

ORDERS = 2
"""Nested orders that are averaged; the largest subset is the same in all."""

RESAMPLES = 200

PENALTIES = (0.3, 0.03, 0.003)
"""Of which each size takes the best; weaker ones take the most steps and are the best of few."""


LEAST_VARIANCE = 0.05
"""Of the mean over all sizes: so well at most is the metric of one size known."""


def learning_curve(
    x: Tensor,
    labels: np.ndarray,
    task: Task,
    metric: Metric,
    assignment: Tensor,
    held: tuple[Tensor, np.ndarray] | None = None,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Measure and fit the curve.

    Parameters
    ----------
    x, labels
        (N, D) features and labels of the training part.
    assignment
        (N,) the fold that holds a sample out; used where `held` is None.
    held
        Features and labels of the validation part.
    seed
        Of the orders and the bootstrap.

    Returns
    -------
    dict or None
        `points`: n, value, low, high of the metric; `law`: a, b, c of error = a n^-b + c; `gains`: for `more` labels,
        how much the metric would improve by the fitted curve, value, low, high (95%, of resampled evaluation samples).
        None where there are too few labels for three sizes, or the metric is not defined.
    """
    known = np.flatnonzero(~missing(labels))
    sizes = [n for n in (len(known) // 2**i for i in range(SIZES - 1, -1, -1)) if n >= LEAST]
    folds = 0 if held is not None else int(assignment.max()) + 1
    if len(sizes) < 3 or (held is None and folds < 2):
        return None
    shift, spread = label_scale(task, labels)
    y = target_of(task, labels)
    y = (y - shift) / spread if task.kind == "regression" else y
    design = shared_design(x)
    strata = indicators(task, labels[known])
    orders = [known[nested_order(strata, seed + i)] for i in range(ORDERS)]
    x_held, y_held = (x, labels) if held is None else held
    scored = ~missing(y_held) if held is not None else (assignment.numpy() >= 0) & ~missing(y_held)

    def outputs_of(rows: np.ndarray) -> list[np.ndarray]:
        """Outputs on what is scored, for each penalty."""
        some = replace(design, matrix=design.matrix[rows])
        inside = torch.ones(1, len(rows))
        if held is None:
            inside = (assignment[rows][None] != torch.arange(folds)[:, None]).float()
            inside = torch.where(inside.sum(1, keepdim=True) > 0, inside, torch.ones_like(inside))
        path = joined(follow(some, y[rows], task.kind, task.outputs, PENALTIES, inside, ROUGH))
        z = (x_held - path.mean) / path.scale
        of = torch.zeros(len(z), dtype=torch.long) if held is not None else assignment.clamp(min=0)
        made = []
        for s in range(len(PENALTIES)):
            logits = z.new_empty(len(z), task.outputs)
            for fold in range(len(inside)):
                where = of == fold
                logits[where] = z[where] @ path.weights[s, fold].T + path.biases[s, fold]
            made.append(as_outputs(task, (logits * spread + shift).numpy())[scored])
        return made

    truth, share = y_held[scored], 1.0 if held is not None else (folds - 1) / folds
    weights = np.concatenate(list(resamples_of(len(truth), seed, RESAMPLES)))
    values, draws = [], []
    for n in sizes:
        every = [outputs_of(order[:n]) for order in (orders if n < sizes[-1] else orders[:1])]
        value, drawn = _best_penalty(metric, truth, every, weights)
        if np.isnan(value):
            return None
        values.append(value)
        draws.append(drawn)
    numbers = np.array(sizes) * share
    return described(metric, numbers, np.array(values), np.stack(draws, axis=1))


def _best_penalty(
    metric: Metric, truth: np.ndarray, every: Sequence[list[np.ndarray]], weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """The metric, mean over orders, at the penalty that does best, and its resamples (B,)."""
    sign = 1 if metric.higher_is_better else -1
    means = [float(np.mean([metric.function(truth, made[s]) for made in every])) for s in range(len(PENALTIES))]
    best = int(np.argmax([sign * m if not np.isnan(m) else -np.inf for m in means]))
    function = metric.of_resamples or metric.function
    return means[best], np.mean([function(truth, made[best], weights) for made in every], axis=0)


def described(metric: Metric, n: np.ndarray, values: np.ndarray, draws: np.ndarray) -> dict[str, Any]:
    """The curve through (S,) numbers of labels and values of the metric, with (B, S) resampled values for doubt."""

    def as_error(v: np.ndarray) -> np.ndarray:
        return 1 - v if metric.higher_is_better else v

    draws = draws[~np.isnan(draws).any(axis=1)]
    # A size without an error has no spread in resamples, and is not known without doubt for that.
    variance = draws.var(axis=0)
    variance = np.maximum(variance, LEAST_VARIANCE * variance.mean()) + 1e-10
    both = fit_power_law(n, np.vstack([as_error(values), as_error(draws)]), 1 / variance)
    last = float(n[-1])
    gains = []
    for more in dict.fromkeys([round_number(last / 2), round_number(last)]):
        better = both.at(last) - both.at(last + more)
        low, high = percentiles(better[1:]) or (None, None)
        gains.append({"more": more, "value": float(better[0]), "low": low, "high": high})
    points = []
    for i, value in enumerate(values):
        low, high = percentiles(draws[:, i]) or (None, None)
        points.append({"n": round(float(n[i])), "value": float(value), "low": low, "high": high})
    law = {name: float(getattr(both, name)[0]) for name in ("a", "b", "c")}
    return {"metric": metric.name, "points": points, "law": law, "gains": gains}
