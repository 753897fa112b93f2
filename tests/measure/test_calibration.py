from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from headstart.measure import calibration
from headstart.measure.calibration import (
    apply_temperature,
    calibration_error,
    ece,
    fit_temperature,
    reliability_bins,
    squared_error_debiased,
)
from headstart.measure.weighting import Array

CONFIDENCE, CORRECT = [0.25, 0.25, 0.55, 0.75, 0.75], [0, 0, 1, 1, 1]


def calibrated(seed: int, samples: int) -> tuple[Array, Array, Array]:
    """Logits, labels drawn from exactly their softmax, and that softmax."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(samples, 4))
    p = special.softmax(logits, axis=1)
    labels = (rng.random((samples, 1)) > p.cumsum(axis=1)).sum(axis=1)
    return logits, labels, p


@pytest.mark.parametrize(("norm", "value"), [("l1", 0.29), ("l2", 0.2918), ("max", 0.3167)])
def test_the_documented_example_of_torchmetrics(norm: str, value: float) -> None:
    assert calibration_error(CONFIDENCE, CORRECT, bins=2, norm=norm) == pytest.approx(value, abs=5e-5)  # type: ignore[arg-type]


def test_bins_of_equal_width() -> None:
    first, second = reliability_bins(CONFIDENCE, CORRECT, bins=2)
    assert (first.low, first.high, first.n, first.confidence, first.accuracy) == (0.0, 0.5, 2, 0.25, 0.0)
    assert (second.low, second.high, second.n, second.accuracy) == (0.5, 1.0, 3, 1.0)
    assert [b.low for b in reliability_bins([0.05, 0.95, 1.0], [0, 1, 1], bins=10)] == [0.0, 0.9]


@settings(max_examples=50, deadline=None)
@given(
    confidence=st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]) | st.floats(0, 1), min_size=1, max_size=60),
    bins=st.integers(1, 20),
    by=st.sampled_from(["width", "mass"]),
)
def test_bins_are_a_partition(confidence: list[float], bins: int, by: str) -> None:
    found = reliability_bins(confidence, np.ones(len(confidence)), bins, by)  # type: ignore[arg-type]
    assert sum(b.n for b in found) == len(confidence)
    assert len(found) <= bins
    assert all(b.low - 1e-12 <= b.confidence <= b.high + 1e-12 for b in found)
    assert all(a.high <= b.low for a, b in pairwise(found))
    plain = [calibration_error(confidence, np.ones(len(confidence)), bins, by, norm) for norm in ("l1", "l2", "max")]  # type: ignore[arg-type]
    assert 0 <= plain[0] <= plain[1] + 1e-12
    assert plain[1] <= plain[2] + 1e-12


def test_bins_of_equal_mass_hold_about_equal_numbers() -> None:
    confidence = np.random.default_rng(0).beta(8, 1, size=600)
    assert {b.n for b in reliability_bins(confidence, np.ones(600), 15, "mass")} <= {39, 40, 41}


def test_debiasing_takes_away_what_noise_adds() -> None:
    plain, squared, root = [], [], []
    for seed in range(150):
        _, labels, p = calibrated(seed, 400)
        confidence, correct = p.max(axis=1), (p.argmax(axis=1) == labels).astype(float)
        plain.append(calibration_error(confidence, correct, by="mass", norm="l2"))
        squared.append(squared_error_debiased(confidence, correct, np.ones((1, 400)))[0])
        root.append(ece(labels, p))
    assert np.mean(plain) > 0.07
    assert abs(np.mean(squared)) < 3 * np.std(squared) / np.sqrt(len(squared))
    assert np.mean(root) < 0.4 * np.mean(plain)
    assert np.median(root) < 0.03


def test_debiased_error_finds_the_true_gap() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(100):
        confidence = rng.uniform(0.5, 0.9, size=500)
        correct = (rng.random(500) < confidence - 0.2).astype(float)
        found.append(squared_error_debiased(confidence, correct, np.ones((1, 500)))[0])
    assert np.mean(found) == pytest.approx(0.04, abs=0.002)


def test_resamples_of_a_calibrated_model_stay_near_zero() -> None:
    _, labels, p = calibrated(1, 1000)
    counts = np.random.default_rng(0).multinomial(1000, np.full(1000, 1e-3), size=200)
    once, twice = ece(labels, p, counts), calibration.ece_of_resamples(labels, p, counts)
    assert abs(np.median(twice) - ece(labels, p)) < abs(np.median(once) - ece(labels, p))


def test_few_samples_give_a_number() -> None:
    assert math.isnan(ece(np.array([], dtype=int), np.zeros((0, 3))))
    assert math.isnan(calibration_error([], []))
    assert ece([0], [[0.9, 0.1]]) == 0.0
    assert ece([0, 0, 0], [[0.6, 0.4]] * 3) == pytest.approx(0.4)
    assert ece([0] * 40, [[1.0, 0.0]] * 40) == 0.0


@pytest.mark.parametrize("factor", [0.2, 1.0, 4.0])
def test_temperature_undoes_a_factor(factor: float) -> None:
    logits, labels, _ = calibrated(0, 4000)
    assert fit_temperature(factor * logits, labels, "single-label") == pytest.approx(factor, rel=0.06)
    rng = np.random.default_rng(0)
    many = (rng.random(logits.shape) < special.expit(logits)).astype(float)
    many[::3, 1] = np.nan
    assert fit_temperature(factor * logits, many, "multi-label") == pytest.approx(factor, rel=0.06)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), samples=st.integers(1, 40), scale=st.sampled_from([1e-3, 1.0, 30.0, 1e4]))
def test_temperature_is_within_bounds_and_never_raises_the_loss(seed: int, samples: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = scale * rng.normal(size=(samples, 3)), rng.integers(3, size=samples)
    many = np.eye(3)[labels]

    def softmax_loss(t: float) -> float:
        return float(-special.log_softmax(logits / t, axis=1)[np.arange(samples), labels].mean())

    def sigmoid_loss(t: float) -> float:
        return float(-special.log_expit(np.where(many > 0, logits, -logits) / t).mean())

    t = fit_temperature(logits, labels, "single-label")
    assert 0.05 <= t <= 20
    assert softmax_loss(t) <= min(softmax_loss(1.0), softmax_loss(0.9 * t + 0.1)) + 1e-7 * scale
    t = fit_temperature(logits, many, "multi-label")
    assert 0.05 <= t <= 20
    assert sigmoid_loss(t) <= min(sigmoid_loss(1.0), sigmoid_loss(0.9 * t + 0.1)) + 1e-7 * scale


def test_where_the_data_do_not_determine_a_temperature() -> None:
    right = np.array([[3.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(right, [0, 1], "single-label") == 1.0
    assert fit_temperature(right - 0.5, [[1, 0], [0, 1]], "multi-label") == 1.0
    assert fit_temperature(np.ones((4, 3)), [0, 1, 2, 0], "single-label") == 1.0
    assert fit_temperature(np.zeros((2, 2)), [[0, 1], [1, 1]], "multi-label") == 1.0
    assert fit_temperature(right, [-1, -1], "single-label") == 1.0
    assert fit_temperature(right, np.full((2, 2), np.nan), "multi-label") == 1.0
    assert fit_temperature(np.zeros((0, 2)), np.zeros(0, dtype=int), "single-label") == 1.0
    assert fit_temperature([[np.nan, 0.0], [0.0, 1.0]], [0, 1], "single-label") == 1.0
    assert fit_temperature(right, [1, 0], "single-label") == pytest.approx(20, rel=1e-3)


def test_temperature_moves_confidence_and_not_the_choice() -> None:
    logits, _, p = calibrated(2, 100)
    softer = apply_temperature(logits, 3.0, "single-label")
    assert (softer.argmax(axis=1) == p.argmax(axis=1)).all()
    assert (softer.max(axis=1) < p.max(axis=1)).all()
    np.testing.assert_allclose(softer.sum(axis=1), 1)
    assert np.isfinite(apply_temperature([[1e4, -1e4]], 0.05, "single-label")).all()
    assert np.isfinite(apply_temperature([[1e4, -1e4]], 0.05, "multi-label")).all()
