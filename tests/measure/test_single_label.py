from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.measure import single_label
from headstart.measure.weighting import Array


def draw(seed: int, samples: int, classes: int, levels: int | None = None) -> tuple[Array, Array]:
    """Labels, and probabilities that know something; `levels` rounds them so that ties occur."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=samples)
    logits = rng.normal(size=(samples, classes)) + 1.5 * np.eye(classes)[labels]
    if levels:
        logits = np.round(logits * levels) / levels
    p = np.exp(logits)
    return labels, p / p.sum(axis=1, keepdims=True)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), levels=st.sampled_from([None, 1]))
def test_equal_to_scikit_learn_with_and_without_weights(seed: int, classes: int, levels: int | None) -> None:
    labels, p = draw(seed, 60, classes, levels)
    labels[:classes] = np.arange(classes)
    guess = p.argmax(axis=1)
    counts = np.random.default_rng(seed).integers(0, 3, size=60) + (np.arange(60) < classes)
    for w, given_weights in ((None, ()), (counts, (counts[None],))):
        scores = p[:, 1] if classes == 2 else p
        expected = {
            "accuracy": reference.accuracy_score(labels, guess, sample_weight=w),
            "balanced_accuracy": reference.balanced_accuracy_score(labels, guess, sample_weight=w),
            "macro_f1": reference.f1_score(labels, guess, average="macro", sample_weight=w),
            "log_loss": reference.log_loss(labels, p, sample_weight=w),
        }
        if w is None or classes == 2:
            expected["auroc"] = reference.roc_auc_score(labels, scores, multi_class="ovr", sample_weight=w)
        for name, value in expected.items():
            ours = getattr(single_label, name)(labels, p, *given_weights)
            assert np.ravel(ours)[0] == pytest.approx(value, abs=1e-10), name


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "macro_f1", "auroc", "log_loss"])
def test_counts_as_weights_are_repeated_samples(name: str) -> None:
    labels, p = draw(3, 40, 4, levels=1)
    counts = np.random.default_rng(0).integers(0, 4, size=(5, 40))
    metric = getattr(single_label, name)
    repeated = [metric(labels.repeat(c), p.repeat(c, axis=0)) for c in counts]
    np.testing.assert_allclose(metric(labels, p, counts), repeated, atol=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "macro_f1", "auroc", "log_loss"])
def test_missing_labels_are_left_out_and_nothing_left_is_undefined(name: str) -> None:
    labels, p = draw(4, 40, 3)
    hidden = labels.copy()
    hidden[::3] = -1
    metric = getattr(single_label, name)
    assert metric(hidden, p) == metric(labels[hidden >= 0], p[hidden >= 0])
    assert math.isnan(metric(np.full(40, -1), p))
    assert math.isnan(metric(labels[:0], p[:0]))
    broken = p.copy()
    broken[0, 0] = np.nan
    assert math.isnan(metric(labels, broken))


def test_predicted_classes_instead_of_probabilities() -> None:
    labels, p = draw(5, 50, 3)
    for metric in (single_label.accuracy, single_label.balanced_accuracy, single_label.macro_f1):
        assert metric(labels, p.argmax(axis=1)) == metric(labels, p)


def test_classes_without_samples() -> None:
    labels, p = np.array([0, 0, 1, 1]), np.eye(4)[[0, 0, 1, 3]]
    assert single_label.balanced_accuracy(labels, p) == 0.75
    assert single_label.macro_f1(labels, p) == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert single_label.auroc(labels, p) == pytest.approx((1 + 0.75) / 2)
    assert math.isnan(single_label.auroc([1, 1, 1], np.full((3, 2), 0.5)))
    assert math.isnan(single_label.auroc([1, 1, 1], np.full((3, 4), 0.25)))


def test_certain_and_wrong_costs_much_but_not_infinity() -> None:
    wrong = np.array([[1.0, 0.0]])
    assert single_label.log_loss([1], wrong) == pytest.approx(-np.log(np.finfo(np.float64).eps))
    assert single_label.log_loss([1], wrong.astype(np.float32)) == pytest.approx(-np.log(np.finfo(np.float32).eps))


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="2 labels and 3 outputs"):
        single_label.accuracy([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="weights"):
        single_label.accuracy([0, 1], [0, 1], np.ones(2))
