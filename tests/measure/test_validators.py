"""Validators: reference values and properties."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.measure.validators import (
    accuracy,
    class_ami,
    deep_embedded,
    entropy_score,
    importance_weighted,
    infomax,
    nuclear_norm,
    soft_neighbourhood_density,
)

LOGITS = np.cos((np.arange(12)[:, None] + 1) * (np.arange(4)[None] + 1.0))
P = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
OF_ANSWERS = {
    "entropy": entropy_score,
    "infomax": infomax,
    "nuclear norm": nuclear_norm,
    "soft neighbourhood density": soft_neighbourhood_density,
}


def test_reference_values():
    assert entropy_score(P) == pytest.approx(-1.208535, abs=1e-6)
    assert infomax(P) == pytest.approx(0.177694, abs=1e-6)
    assert nuclear_norm(P) == pytest.approx(0.295632, abs=1e-6)
    assert soft_neighbourhood_density(P) == pytest.approx(0.927371, abs=1e-6)
    losses, weights = np.array([0.2, 0.4, 0.1, 0.8]), np.array([0.5, 1, 1.5, 2])
    assert importance_weighted(losses, weights) == pytest.approx(-0.5625)
    assert deep_embedded(losses, weights) == pytest.approx(-0.35)


@pytest.mark.parametrize("name", OF_ANSWERS)
class TestAnswers:
    def test_order_of_samples_and_classes(self, name):
        value = OF_ANSWERS[name](P)
        assert OF_ANSWERS[name](P[::-1]) == pytest.approx(value)
        assert OF_ANSWERS[name](P[:, [2, 0, 3, 1]]) == pytest.approx(value)

    def test_finite_for_certain_answers(self, name):
        assert np.isfinite(OF_ANSWERS[name](np.eye(4)[[0, 1, 2, 3, 0]]))


def test_bounds():
    certain, equal = np.eye(3)[[0, 1, 2] * 4], np.full((12, 3), 1 / 3)
    assert entropy_score(certain) == 0 >= entropy_score(P)
    assert entropy_score(equal) == pytest.approx(-np.log(3))
    assert infomax(certain) == pytest.approx(np.log(3))
    assert infomax(equal) == pytest.approx(0)
    assert infomax(np.eye(3)[[0] * 12]) == 0  # sure, and all the same
    assert nuclear_norm(certain) > nuclear_norm(equal)


def test_clusters_that_follow_the_answers():
    r = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = np.eye(3)[y] * 10 + r.normal(size=(60, 3))
    assert class_ami(np.eye(3)[y], x) == pytest.approx(1)
    assert abs(class_ami(np.eye(3)[r.permutation(y)], x)) < 0.15


def test_constant_weights_are_no_correction():
    losses = np.random.default_rng(0).random(20)
    assert deep_embedded(losses, np.ones(20)) == pytest.approx(importance_weighted(losses, np.ones(20)))


def test_the_control_variate_lowers_the_variance():
    """Losses that grow with the weight: DEV's estimates of the same target risk spread less than IWCV's."""
    estimates: dict[str, list[float]] = {"iw": [], "dev": []}
    for seed in range(200):
        r = np.random.default_rng(seed)
        x = r.normal(size=200)
        w = np.exp(x - 0.5)  # N(1, 1) over N(0, 1)
        losses = 1 + 0.5 * x
        estimates["iw"].append(-importance_weighted(losses, w))
        estimates["dev"].append(-deep_embedded(losses, w))
    assert np.mean(estimates["dev"]) == pytest.approx(1.5, abs=0.1)
    assert np.std(estimates["dev"]) < 0.7 * np.std(estimates["iw"])


def test_accuracy():
    assert accuracy(np.eye(3)[[0, 1, 2, 2]], np.array([0, 1, 2, 0])) == 0.75


def test_one_sample_has_no_neighbours():
    assert soft_neighbourhood_density(P[:1]) == 0.0
