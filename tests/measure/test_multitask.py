from __future__ import annotations

import math

import numpy as np
import pytest

from headstart.measure.multitask import cosines, delta_m, relative_changes


def test_the_changes_of_reference() -> None:
    """LibMTL's example of `count_improvement`, which is a fraction."""
    new, base = {"a": [93, 99], "b": [0.5]}, {"a": [96, 98], "b": [0.2]}
    changes = relative_changes(new, base, {"a": [True, False], "b": [True]})
    assert changes == pytest.approx({"a": (-3 / 96 - 1 / 98) / 2, "b": 1.5})
    assert delta_m(changes) == pytest.approx(0.739636, abs=1e-6)


def test_better_is_positive_whatever_the_sign_and_the_direction() -> None:
    better = relative_changes({"r2": -0.5, "rmse": 1.0}, {"r2": -1.0, "rmse": 2.0}, {"r2": True, "rmse": False})
    assert better == {"r2": 0.5, "rmse": 0.5}
    assert relative_changes({"a": 0.7}, {"a": 0.7}, {"a": True}) == {"a": 0.0}


def test_what_is_not_known_stays_so() -> None:
    changes = relative_changes(
        {"a": 0.5, "b": math.nan, "c": 1.0}, {"a": 0.0, "b": 1.0, "c": 0.5}, dict.fromkeys("abc", True)
    )
    assert math.isnan(changes["a"])
    assert math.isnan(changes["b"])
    assert changes["c"] == 1.0
    assert math.isnan(delta_m(changes))
    assert math.isnan(delta_m({}))


def test_tasks_and_metrics_must_agree() -> None:
    with pytest.raises(ValueError, match="tasks differ"):
        relative_changes({"a": 1.0}, {"b": 1.0}, {"a": True})
    with pytest.raises(ValueError, match="metrics of 'a' differ"):
        relative_changes({"a": [1.0, 2.0]}, {"a": [1.0]}, {"a": [True, True]})


def test_cosines_are_those_of_the_gradients() -> None:
    j = np.random.default_rng(0).normal(size=(4, 7)) * np.array([1e-6, 1.0, 1e3, 1.0])[:, None]
    found = cosines(j @ j.T)
    unit = j / np.linalg.norm(j, axis=1, keepdims=True)
    assert found == pytest.approx(unit @ unit.T)
    j[2] = 0
    silent = cosines(j @ j.T)
    assert np.isnan(silent[2]).all()
    assert np.isnan(silent[:, 2]).all()
    assert silent[:2, :2] == pytest.approx(found[:2, :2])
