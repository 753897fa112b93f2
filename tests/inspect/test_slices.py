"""Weak slices: planted ones are found and named, chance is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from headstart.inspect.slices import Slice, all_slices, slices_of, weak_slices

N = 600
IDS = [str(i) for i in range(N)]


def names(found: dict) -> list[str]:
    return [w["name"] for w in found["weak"]]


def test_a_planted_weak_camera_is_found_with_its_errors() -> None:
    r = np.random.default_rng(0)
    camera = r.choice(["a", "b", "c"], N)
    errors = (r.random(N) < np.where(camera == "b", 0.4, 0.05)).astype(float)
    found = weak_slices(errors, all_slices({"camera": camera, "noise": r.normal(size=N)}), IDS)
    assert names(found) == ["camera = b"]
    assert found["tested"] == 6
    assert found["level"] == pytest.approx(1 - 0.05 / 6)
    (weak,) = found["weak"]
    inside = camera == "b"
    assert weak["n"] == inside.sum()
    assert weak["errors"] == pytest.approx(errors[inside].mean())
    assert weak["difference"]["value"] == pytest.approx(errors[inside].mean() - errors[~inside].mean())
    assert all(errors[int(i)] == 1 and camera[int(i)] == "b" for i in weak["ids"])


def test_of_losses_the_interval_is_welchs() -> None:
    r = np.random.default_rng(0)
    dark = r.random(N)
    loss = r.exponential(1.0, N) + 2 * (dark < 0.3)
    found = weak_slices(loss, slices_of("brightness", dark), IDS)
    assert names(found)[0].startswith("brightness: lowest third (up to 0.3")
    inside = dark < np.quantile(dark, 1 / 3)
    expected = stats.ttest_ind(loss[inside], loss[~inside], equal_var=False).confidence_interval(1 - 0.05 / 3)
    assert found["weak"][0]["difference"]["low"] == pytest.approx(expected.low)


def test_the_interval_of_shares_is_newcombes() -> None:
    """56 of 70 against 48 of 80: .0524 to .3339 (Newcombe 1998, table II, method 10)."""
    errors = np.r_[np.ones(56), np.zeros(14), np.ones(48), np.zeros(32)]
    whole = Slice("first", np.arange(150) < 70)
    gap = weak_slices(errors, [whole], [str(i) for i in range(150)])["weak"][0]["difference"]
    assert (gap["low"], gap["high"]) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_where_nothing_is_weak_hardly_anything_is_called_so() -> None:
    """400 reports with 21 slices each and no weak one: at most 5% have a false alarm, within simulation error."""
    r = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        columns = {f"x{i}": r.normal(size=N) for i in range(5)} | {"label": r.integers(0, 6, N)}
        alarms += bool(weak_slices((r.random(N) < 0.15).astype(float), all_slices(columns), IDS)["weak"])
    assert alarms / 400 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


def test_samples_without_a_label_or_a_value_are_in_no_slice() -> None:
    errors = np.r_[np.full(50, np.nan), np.zeros(N - 50)]
    values = [None] * 100 + ["a"] * 250 + ["b"] * 250
    found = slices_of("x", values)
    assert [int(s.members.sum()) for s in found] == [250, 250]
    assert weak_slices(errors, found, IDS) == {"tested": 2, "level": pytest.approx(0.975), "weak": []}


@pytest.mark.parametrize(
    "values",
    [["a"] * N, IDS, [["a"]] * N, [None] * N, ["a"] * (N - 3) + ["b"] * 3, [f"text {i}" for i in range(N)]],
    ids=["constant", "numbered once each as text", "lists", "missing", "too rare", "all different"],
)
def test_columns_that_say_nothing_make_no_slices(values: list) -> None:
    assert slices_of("x", values) == [] or values is IDS


def test_thirds_of_few_whole_numbers_and_booleans() -> None:
    assert [s.name for s in slices_of("ok", [True, False] * 100)] == ["ok = False", "ok = True"]
    assert [s.name for s in slices_of("stars", [1, 2] * 100)] == ["stars = 1", "stars = 2"]
    assert len(slices_of("age", np.arange(200) % 50)) == 3
