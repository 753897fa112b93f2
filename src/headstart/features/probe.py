"""The linear probe on frozen features: strength by cross-validation, then fitted on all; and its plain use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.data.schema import Task, missing
from headstart.features.following import follow
from headstart.features.solved import remembered
from headstart.features.solver import ProbePath, fit_paths, fold_weights_of, out_of_fold, shared_design
from headstart.measure import find_metric, fit_temperature

STRENGTHS = tuple(float(s) for s in np.logspace(1, -5, 10))
"""The full path, strongest first."""

ROUGH = 1e-3
"""Tolerance of the solver where models are only compared."""

SCREENING = (0.3, 0.01, 0.0003)
"""Three strengths for screening: strong for few samples in many dimensions, weak for the opposite."""


@dataclass
class Probe:
    """A linear model on pooled features.

    Attributes
    ----------
    weight, bias, mean, scale
        (K, D), (K,), (D,), (D,): logits are ((x - mean) / scale) weight' + bias.
    strength
        Of the L2 penalty, chosen by cross-validation.
    held_out
        (N, K) out-of-fold logits (values for regression) at that strength; NaN for samples never held out.
    scores
        Strength -> cross-validated metric.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor
    strength: float
    held_out: Tensor
    scores: dict[float, float]

    def logits(self, x: Tensor) -> Tensor:
        """(N, K) outputs for features (N, D)."""
        return ((x - self.mean) / self.scale) @ self.weight.T + self.bias


def as_outputs(task: Task, logits: np.ndarray) -> np.ndarray:
    """Logits -> what metrics take: probabilities, or plain values for regression."""
    z = torch.from_numpy(np.ascontiguousarray(logits, dtype=np.float64))
    if task.kind == "single-label":
        return z.softmax(1).numpy()
    if task.kind == "multi-label":
        return z.sigmoid().numpy()
    return z.numpy().reshape(-1)


def score(task: Task, metric: str, labels: np.ndarray, logits: np.ndarray) -> float:
    """The metric on the samples that have outputs, negated where lower is better, so that higher is better."""
    have = ~np.isnan(logits).any(axis=1)
    found = find_metric(task.kind, metric)
    value = float(found.function(labels[have], as_outputs(task, logits[have])))
    return value if found.higher_is_better else -value


def as_metric(task: Task, metric: str, scored: float) -> float:
    """The metric itself out of a `score`."""
    return scored if find_metric(task.kind, metric).higher_is_better else 0.0 - scored


def sample_losses(task: Task, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """(N,) loss of each sample at the temperature that fits them best; squared error for regression."""
    if task.kind == "regression":
        return plain_losses(task, labels, logits)
    return plain_losses(task, labels, logits / fit_temperature(logits, labels, task.kind))


def plain_losses(task: Task, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """(N,) loss of each sample by the outputs as they are."""
    if task.kind == "regression":
        return (logits[:, 0] - labels) ** 2
    p = np.clip(as_outputs(task, logits), 1e-12, 1.0)
    if task.kind == "single-label":
        return -np.log(p[np.arange(len(labels)), labels])
    p = np.minimum(p, 1 - 1e-12)
    return np.nan_to_num(-(labels * np.log(p) + (1 - labels) * np.log(1 - p))).mean(1)


def per_sample(task: Task, labels: np.ndarray, logits: np.ndarray, metric: str) -> np.ndarray:
    """(N,) a number per sample in the metric's unit, higher is better, to tell how sure a `score` is.

    Log loss, the mean absolute error, accuracy and R² are means of these; other metrics are not means over samples,
    and correctness (or minus the error) stands for them.
    """
    if metric == "log_loss":
        return -plain_losses(task, labels, logits)
    outputs = as_outputs(task, logits)
    if metric == "r2":
        return 1 - (outputs - labels) ** 2 / max(float(np.var(labels)), 1e-12)
    if task.kind == "single-label":
        return (outputs.argmax(1) == labels).astype(float)
    if task.kind == "multi-label":
        return ((outputs >= 0.5) == (labels > 0.5)).mean(1)
    return -np.abs(outputs - labels)


def target_of(task: Task, labels: np.ndarray) -> Tensor:
    """Labels as the solver takes them."""
    return torch.as_tensor(labels).long() if task.kind == "single-label" else torch.as_tensor(labels).float()


def label_scale(task: Task, labels: np.ndarray) -> tuple[float, float]:
    """Mean and deviation of a regression's labels, so that penalties mean the same on every scale; else 0 and 1."""
    if task.kind != "regression":
        return 0.0, 1.0
    return float(np.nanmean(labels)), float(np.nanstd(labels)) or 1.0


def class_weights(task: Task, labels: np.ndarray) -> Tensor | None:
    """(N,) weights that make every class count the same ("balanced"), mean 1; None for other tasks."""
    if task.kind != "single-label":
        return None
    counts = np.bincount(labels[labels >= 0], minlength=len(task.classes)).astype(float)
    per_class = np.divide(1.0, counts, out=np.zeros_like(counts), where=counts > 0)
    weights = np.where(labels >= 0, per_class[np.maximum(labels, 0)], 0.0)
    return torch.from_numpy(weights / weights[weights > 0].mean()).float()


def fold_numbers(n: int, folds: Sequence[tuple[np.ndarray, np.ndarray]]) -> Tensor:
    """(N,) which fold holds a sample out; -1 where none does. Positions are those of the training part."""
    assignment = torch.full((n,), -1, dtype=torch.long)
    for number, (_, held) in enumerate(folds):
        assignment[torch.as_tensor(held)] = number
    return assignment


LEAST_SEEN = 6
"""Strengths that are looked at before a path may end."""


class _Path:
    """Cross-validated models along the strengths, strongest first, and what their held-out predictions are worth."""

    def __init__(self, task: Task, metric: str, labels: np.ndarray) -> None:
        self.task, self.metric, self.labels = task, metric, labels
        self.held_out: list[Tensor] = []
        self.values: list[float] = []
        # As the outputs are, and at the temperature that fits them best.
        self._losses: tuple[list[float], list[float]] = [], []
        self._errors: list[float] = []
        self._models: list[tuple[Tensor, Tensor]] = []

    def middle(self, i: int) -> tuple[Tensor, Tensor]:
        """The mean of the folds' models of strength i, as one fold."""
        weights, biases = self._models[i]
        return weights.mean(0, keepdim=True), biases.mean(0, keepdim=True)

    def add(self, path: ProbePath, held_out: Tensor) -> None:
        """The next strength: its models and (N, K) held-out outputs."""
        logits = held_out.numpy()
        have = ~(np.isnan(logits).any(1) | missing(self.labels))
        right = per_sample(self.task, self.labels[have], logits[have], self.metric)
        self._models.append((path.weights[0], path.biases[0]))
        self.held_out.append(held_out)
        self.values.append(score(self.task, self.metric, self.labels, logits))
        for kept, of_samples in zip(self._losses, (plain_losses, sample_losses), strict=True):
            kept.append(float(of_samples(self.task, self.labels[have], logits[have]).mean()))
        self._errors.append(float(right.std() / np.sqrt(max(1, have.sum()))))

    def is_over(self) -> bool:
        """Whether the last two have a higher loss than an earlier one, and no better metric beyond a standard error.

        Along the path both losses fall and then rise: what is weaker still would not be chosen either.
        """
        if len(self.values) < LEAST_SEEN:
            return False
        lowest = min(int(np.argmin(losses)) for losses in self._losses)
        if lowest >= len(self.values) - 2:
            return False
        return max(self.values[-2:]) <= self.values[lowest] + self._errors[lowest]

    def best(self) -> int:
        """Of the strengths within one standard error of the best metric, the stronger of those with the lowest losses.

        Over few samples the metric of a hundred-fold weaker penalty is often the same by chance; its loss is not, and
        its large weights are a poor start for fine-tuning. The loss of the outputs as they are counts against penalties
        that make them too sure, even where those rank samples as well; at the best temperature, weak penalties hardly
        differ, and where the path began would decide. That one counts against penalties whose outputs are worth
        less once they are scaled: where classes are far apart, the plain loss only asks for larger outputs.
        """
        top = int(np.argmax(self.values))
        near = [i for i, v in enumerate(self.values) if v >= self.values[top] - self._errors[top]]
        return min(min(near, key=lambda i: losses[i]) for losses in self._losses)


def fit_probe(
    x: Tensor,
    labels: np.ndarray,
    task: Task,
    metric: str,
    assignment: Tensor,
    weights: Tensor | None = None,
    strengths: Sequence[float] = STRENGTHS,
) -> Probe:
    """Choose the strength by cross-validation, then fit on all samples.

    Parameters
    ----------
    x
        (N, D) features.
    labels
        (N,) or (N, K) as `Dataset.labels` gives them.
    metric
        Name of the metric that decides; among the strengths within one standard error of the best, the loss does.
    assignment
        (N,) from `fold_numbers`.
    weights
        (N,) sample weights.
    strengths
        Strongest first. The weakest take the most steps, so the path ends where it has become clearly worse.
    """
    inputs = [labels, task.kind, task.outputs, metric, assignment, weights, tuple(strengths)]
    tree = remembered("probe", x, inputs, lambda: _fit(x, labels, task, metric, assignment, weights, strengths))
    return Probe(**{**tree, "scores": dict(tree["scores"])})


def _fit(
    x: Tensor,
    labels: np.ndarray,
    task: Task,
    metric: str,
    assignment: Tensor,
    weights: Tensor | None,
    strengths: Sequence[float],
) -> dict[str, Any]:
    """The fields of a `Probe`."""
    y = target_of(task, labels)
    shift, spread = label_scale(task, labels)
    y = (y - shift) / spread if task.kind == "regression" else y
    ones = torch.ones(len(x)) if weights is None else weights
    folds = int(assignment.max()) + 1
    design = shared_design(x)
    path = _Path(task, metric, labels)
    if folds:
        of_folds = fold_weights_of(assignment, folds, ones)
        # Choosing needs no more than held-out predictions that rank the strengths.
        for found in follow(design, y, task.kind, task.outputs, strengths, of_folds, ROUGH):
            path.add(found, out_of_fold(found, x, assignment)[0] * spread + shift)
            if path.is_over():
                break
    best = path.best() if folds else 0
    start = path.middle(best) if folds else None
    final = fit_paths(design, y, task.kind, task.outputs, [strengths[best]], ones[None], start=start)
    return {
        "weight": final.weights[0, 0] * spread,
        "bias": final.biases[0, 0] * spread + shift,
        "mean": final.mean,
        "scale": final.scale,
        "strength": float(strengths[best]),
        "held_out": path.held_out[best] if folds else x.new_full((len(x), task.outputs), torch.nan),
        "scores": [[float(s), v] for s, v in zip(strengths, path.values if folds else [0.0], strict=False)],
    }
