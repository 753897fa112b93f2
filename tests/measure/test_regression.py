from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference

from headstart.measure import regression


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_equal_to_scikit_learn(offset: float) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=80) + offset
    guess = y + rng.normal(size=80) / 2
    w = rng.integers(0, 3, size=80)
    for function, theirs in (
        (regression.mae, reference.mean_absolute_error),
        (regression.rmse, reference.root_mean_squared_error),
        (regression.r2, reference.r2_score),
    ):
        assert function(y, guess) == pytest.approx(theirs(y, guess), rel=1e-6)
        assert function(y, guess[:, None]) == function(y, guess)
        assert function(y, guess, w[None])[0] == pytest.approx(theirs(y, guess, sample_weight=w), rel=1e-6)


def test_missing_and_undefined() -> None:
    assert regression.mae([1.0, np.nan, 3.0], [2.0, 9.0, 3.0]) == 0.5
    assert math.isnan(regression.rmse([np.nan], [1.0]))
    assert math.isnan(regression.mae([1.0, 2.0], [1.0, np.inf]))
    assert math.isnan(regression.r2([5.0, 5.0], [5.0, 4.0]))
    assert math.isnan(regression.r2([5.0], [5.0]))


def test_r2_of_a_resample_of_equal_labels_is_undefined() -> None:
    values = regression.r2([0.1, 0.1, 0.7], [0.1, 0.2, 0.7], [[2, 1, 0], [1, 1, 1]])
    assert math.isnan(values[0])
    assert 0.9 < values[1] < 1


def test_mean_and_perfect_prediction() -> None:
    y = np.random.default_rng(1).normal(size=30)
    assert regression.r2(y, y) == 1.0
    assert regression.r2(y, np.full(30, y.mean())) == pytest.approx(0.0, abs=1e-12)
