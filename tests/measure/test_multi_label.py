from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference

from headstart.measure import multi_label
from headstart.measure.weighting import Array

NAMES = ["mean_average_precision", "micro_f1", "macro_f1", "subset_accuracy", "log_loss"]


def draw(seed: int, samples: int = 50, outputs: int = 4) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((samples, outputs)) < 0.4).astype(float)
    return labels, np.round(np.clip(0.3 * labels + 0.7 * rng.random((samples, outputs)), 0.05, 0.95), 1)


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_scikit_learn(seed: int) -> None:
    labels, p = draw(seed)
    guess = (p >= 0.5).astype(int)
    truth = labels.astype(int)
    assert multi_label.mean_average_precision(labels, p) == pytest.approx(reference.average_precision_score(truth, p))
    assert multi_label.micro_f1(labels, p) == pytest.approx(reference.f1_score(truth, guess, average="micro"))
    assert multi_label.macro_f1(labels, p) == pytest.approx(reference.f1_score(truth, guess, average="macro"))
    assert multi_label.subset_accuracy(labels, p) == pytest.approx(reference.accuracy_score(truth, guess))
    each = [reference.log_loss(truth[:, k], p[:, k]) for k in range(labels.shape[1])]
    assert multi_label.log_loss(labels, p) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("name", NAMES)
def test_counts_as_weights_are_repeated_samples(name: str) -> None:
    labels, p = draw(7)
    labels[::4, 1] = np.nan
    counts = np.random.default_rng(0).integers(0, 4, size=(5, 50))
    metric = getattr(multi_label, name)
    repeated = [metric(labels.repeat(c, axis=0), p.repeat(c, axis=0)) for c in counts]
    np.testing.assert_allclose(metric(labels, p, counts), repeated, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_predicted_for_missing_labels_changes_nothing(name: str) -> None:
    labels, p = draw(8)
    labels[::3, 2] = np.nan
    labels[5] = np.nan
    metric = getattr(multi_label, name)
    assert metric(labels, np.where(np.isnan(labels), 1 - p, p)) == metric(labels, p)
    assert math.isnan(metric(np.full_like(labels, np.nan), p))


def test_labels_without_positives() -> None:
    labels = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    p = np.array([[0.9, 0.1, 0.7], [0.2, 0.3, 0.1]])
    assert multi_label.mean_average_precision(labels, p) == 1.0
    assert multi_label.macro_f1(labels, p) == 0.5
    assert multi_label.subset_accuracy(labels, p) == 0.5
    nothing = np.zeros((2, 2))
    assert math.isnan(multi_label.mean_average_precision(nothing, nothing))
    assert math.isnan(multi_label.micro_f1(nothing, nothing))
    assert math.isnan(multi_label.macro_f1(nothing, nothing))
