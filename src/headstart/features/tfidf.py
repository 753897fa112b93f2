"""The cheap baseline on words: TF-IDF and a linear model with its strength tuned."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.data.schema import Task, missing
from headstart.features.probe import label_scale, score
from headstart.models.model import Head, Model
from headstart.models.raw_words import RawWords, Text, WordCounter

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Inverse strengths (C) of the penalty that are compared; weights of TF-IDF are small, so weak penalties do well."""

NEVER = -10.0
"""The logit of what training has never seen."""

_INNER_FOLDS = 3


@dataclass
class Tfidf:
    """A fitted baseline.

    Attributes
    ----------
    strength
        Inverse strength (C) chosen.
    held_out
        (N, K) out-of-fold logits at that strength; NaN for samples never held out.
    """

    strength: float
    held_out: np.ndarray
    task: Task
    counter: WordCounter
    model: Any

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """(M, K) logits (values for regression) of further texts."""
        return _outputs(self.task, self.model, self.counter.count(texts))

    def as_model(self) -> Model:
        """The same as a model that a bundle can hold."""
        weight, bias = self._weights()
        backbone = RawWords(self.counter, *weight.shape)
        head = Head(self.task.outputs, self.task.outputs)
        with torch.no_grad():
            backbone.stages["words"].weight.copy_(torch.from_numpy(weight))  # type: ignore[operator]
            head.linear.weight.copy_(torch.eye(self.task.outputs))
            head.linear.bias.copy_(torch.from_numpy(bias))
        return Model(backbone, {self.task.name: head}).eval()

    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        """(words, outputs) weights and (outputs,) biases: logits = x · weights + biases."""
        words = self.counter.count([("", "") if len(self.counter.vectorizers) > 1 else ""]).shape[1]
        if self.task.kind == "regression":
            ridge, shift, spread = self.model
            return (ridge.coef_.reshape(-1, 1) * spread), np.array([ridge.intercept_ * spread + shift])
        columns = [(np.zeros(words), m) if isinstance(m, float) else (m.coef_[0], m.intercept_[0]) for m in self.model]
        weight, bias = np.stack([c[0] for c in columns], axis=1), np.array([c[1] for c in columns])
        if self.task.kind == "single-label" and len(columns) == 1:
            both = np.array([-0.5, 0.5])
            return weight * both, bias * both
        return weight, bias


def fit_tfidf(
    texts: Sequence[Text],
    labels: np.ndarray,
    task: Task,
    metric: str,
    assignment: Tensor,
    weights: Tensor | None = None,
    strengths: Sequence[float] = STRENGTHS,
) -> Tfidf:
    """Count words, weigh them, choose the strength by cross-validation, fit on all.

    Vectors as `WordCounter` makes them; logistic regression of each class against the others, ridge for regression.
    The vocabulary of a fold is made without its held-out texts.

    Parameters
    ----------
    texts
        Training texts, or pairs: then each side has a vocabulary of its own.
    labels
        As `Dataset.labels` gives them; unlabelled samples are left out.
    assignment
        (N,) which fold holds a sample out; -1 never. Where all are -1, three folds of its own choose the strength.
    weights
        (N,) of the samples.
    """
    known = ~missing(labels)
    given = assignment.numpy()
    folded = bool((given >= 0).any())
    folds = given if folded else _inner_folds(labels, known)
    weigh = np.ones(len(labels)) if weights is None else weights.numpy()
    held = np.full((len(strengths), len(labels), task.outputs), np.nan, np.float32)
    if len(strengths) > 1 or folded:
        for fold in range(int(folds.max()) + 1):
            out, fit = np.flatnonzero(folds == fold), np.flatnonzero((folds != fold) & known)
            train = [texts[int(i)] for i in fit]
            counter = WordCounter.fitted(train)
            x, z = counter.count(train), counter.count([texts[int(i)] for i in out])
            for k, strength in enumerate(strengths):
                held[k, out] = _outputs(task, _linear(task, x, labels[fit], weigh[fit], strength), z)
    values = [score(task, metric, labels[known], h[known]) for h in held] if len(strengths) > 1 else [0.0]
    best = int(np.argmax(values))
    every = np.flatnonzero(known)
    train = [texts[int(i)] for i in every]
    counter = WordCounter.fitted(train)
    model = _linear(task, counter.count(train), labels[every], weigh[every], strengths[best])
    held_out = held[best] if folded else np.full_like(held[best], np.nan)
    return Tfidf(float(strengths[best]), held_out, task, counter, model)


def _inner_folds(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(N,) folds with equal shares of each class (of small and of large numbers); -1 where there is no label."""
    folds = np.full(len(labels), -1)
    rows = np.random.default_rng(0).permutation(np.flatnonzero(known))
    if labels.ndim == 1:
        rows = rows[np.argsort(labels[rows], kind="stable")]
    folds[rows] = np.arange(len(rows)) % _INNER_FOLDS
    return folds


def _linear(task: Task, x: Any, labels: np.ndarray, weights: np.ndarray, strength: float) -> Any:
    """A fitted model: one logistic regression per class (each against the others), or ridge."""
    if task.kind == "regression":
        from sklearn.linear_model import Ridge

        shift, spread = label_scale(task, labels)
        ridge = Ridge(alpha=1 / strength).fit(x, (labels - shift) / spread, sample_weight=weights)
        return ridge, shift, spread
    if task.kind == "single-label":
        classes = range(task.outputs) if task.outputs > 2 else (1,)
        return [_logistic(x, labels == k, weights, strength) for k in classes]
    known = ~np.isnan(labels)
    columns = [np.flatnonzero(known[:, k]) for k in range(labels.shape[1])]
    return [_logistic(x[rows], labels[rows, k] > 0, weights[rows], strength) for k, rows in enumerate(columns)]


def _logistic(x: Any, y: np.ndarray, weights: np.ndarray, strength: float) -> Any:
    """A fitted model of one class; its logit where all samples say the same.

    The dual coordinate descent of liblinear is ten times as fast here as L-BFGS on all classes together. Where labels
    contradict each other and the penalty is weak it may end before it converges; that strength is compared as it is.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if y.all() or not y.any():
        return -NEVER if y.any() else NEVER
    solver = LogisticRegression(C=strength, solver="liblinear", dual=True, tol=0.1, max_iter=300, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return solver.fit(x, y, sample_weight=weights)


def _outputs(task: Task, model: Any, x: Any) -> np.ndarray:
    if task.kind == "regression":
        ridge, shift, spread = model
        return (ridge.predict(x) * spread + shift).reshape(-1, 1).astype(np.float32)
    count = x.shape[0]
    columns = [np.full(count, m) if isinstance(m, float) else m.decision_function(x) for m in model]
    if task.kind == "single-label" and len(columns) == 1:
        columns = [-columns[0] / 2, columns[0] / 2]
    return np.stack(columns, axis=1).astype(np.float32)
