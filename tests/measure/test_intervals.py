from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headstart.data.schema import Task
from headstart.features.probe import per_sample
from headstart.measure import compute_all, find_metric, mcnemar, metrics_for, paired_difference, wilson, with_intervals
from headstart.measure.intervals import UNDEFINED, Interval, around_share, percentiles, resamples_of
from headstart.measure.weighting import Array
from headstart.verbs.evaluation import per_class, predicted


def draw(kind: str, seed: int, samples: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    if kind == "regression":
        y = rng.normal(size=samples)
        return y, y + rng.normal(size=samples) / 2
    if kind == "multi-label":
        many = (rng.random((samples, 10)) < 0.3).astype(float)
        return many, 0.3 * many + 0.7 * rng.random((samples, 10))
    labels = rng.integers(10, size=samples)
    p = rng.dirichlet(np.ones(10), size=samples) + 0.3 * np.eye(10)[labels]
    return labels, p / p.sum(axis=1, keepdims=True)


def test_wilson_reference_value_and_ends() -> None:
    assert wilson(90, 100) == pytest.approx((0.8256, 0.9448), abs=5e-5)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(90, 100, 0.99)[0] < wilson(90, 100)[0]


@given(n=st.integers(1, 500), share=st.floats(0, 1))
def test_wilson_equals_scipy(n: int, share: float) -> None:
    k = round(share * n)
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_covers_what_it_says() -> None:
    counts = np.random.default_rng(0).binomial(200, 0.9, size=4000)
    ends = np.array([wilson(k, 200) for k in counts])
    assert 0.93 < ((ends[:, 0] <= 0.9) & (ends[:, 1] >= 0.9)).mean() < 0.97


def test_bootstrap_covers_about_what_it_says() -> None:
    rng, hits = np.random.default_rng(0), []
    for seed in range(400):
        found = with_intervals("regression", rng.uniform(-1, 1, 200), np.zeros(200), seed=seed, resamples=200)
        hits.append(found["mae"]["low"] <= 0.5 <= found["mae"]["high"])  # type: ignore[operator]
    assert 0.91 < np.mean(hits) < 0.98


@pytest.mark.parametrize("kind", ["single-label", "multi-label", "regression"])
def test_every_metric_lies_in_its_interval_and_more_samples_narrow_it(kind: str) -> None:
    few, many = (with_intervals(kind, *draw(kind, 0, n), resamples=300) for n in (100, 1600))
    assert set(few) == set(metrics_for(kind))
    for name in few:
        for row in (few[name], many[name]):
            assert row["low"] <= row["value"] <= row["high"]  # type: ignore[operator]
        widths = [row["high"] - row["low"] for row in (few[name], many[name])]  # type: ignore[operator]
        assert widths[1] < widths[0]


@pytest.mark.parametrize("kind", ["single-label", "multi-label", "regression"])
def test_a_seed_fixes_the_interval(kind: str) -> None:
    labels, outputs = draw(kind, 1, 80)
    once, again, other = (with_intervals(kind, labels, outputs, seed=s, resamples=100) for s in (0, 0, 1))
    assert once == again
    assert once != other


def test_a_thousand_resamples_of_a_thousand_samples_take_seconds() -> None:
    start = time.process_time()
    for kind in ("single-label", "multi-label", "regression"):
        with_intervals(kind, *draw(kind, 2, 1000))
    assert time.process_time() - start < 6


def test_samples_without_label_are_left_out() -> None:
    labels, outputs = draw("single-label", 3, 120)
    hidden = labels.copy()
    hidden[::4] = -1
    some = hidden >= 0
    found = with_intervals("single-label", hidden, outputs, resamples=50)
    assert found == with_intervals("single-label", labels[some], outputs[some], resamples=50)
    n = int(some.sum())
    assert found["accuracy"]["low"] == wilson(round(found["accuracy"]["value"] * n), n)[0]  # type: ignore[operator]


def test_undefined_metrics_are_null() -> None:
    found = with_intervals("single-label", [1, 1, 1], [[0.2, 0.8]] * 3)
    assert found["auroc"] == {"value": None, "low": None, "high": None}
    assert found["accuracy"]["value"] == 1.0
    assert found["balanced_accuracy"] == {"value": 1.0, "low": wilson(3, 3)[0], "high": 1.0}
    json.dumps(found, allow_nan=False)
    nothing = with_intervals("single-label", np.array([-1]), [[0.2, 0.8]])
    assert all(row == UNDEFINED.as_json() for row in nothing.values())
    one = with_intervals("regression", [1.0], [2.0])
    assert one["mae"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert one["r2"]["value"] is None


def test_mostly_undefined_resamples_give_no_interval() -> None:
    assert percentiles(np.array([1.0, np.nan, np.nan])) is None
    assert percentiles(np.array([1.0, 1.0, np.nan])) == (1.0, 1.0)


def test_a_share_is_worth_the_samples_that_its_resamples_say() -> None:
    draws = 0.8 + np.array([-0.02, 0.02] * 50)
    worth = 0.8 * 0.2 / draws.var(ddof=1)
    found = around_share(0.8, draws, 500)
    assert (found.low, found.high) == pytest.approx(wilson(0.8 * worth, worth))
    lower = around_share(0.8, draws - 0.01, 500)
    assert lower.low is not None
    assert found.low is not None
    assert found.low < lower.low < 0.8, "resamples that are too low say that the value is"
    assert around_share(0.5, np.full(100, 0.5), 500) == Interval(0.5, 0.5, 0.5)
    assert around_share(0.0, np.zeros(100), 500) == Interval(0.0, *wilson(0, 500))
    assert around_share(0.5, np.array([0.5, np.nan, np.nan]), 3) == Interval(0.5, None, None)


def test_a_share_is_worth_less_where_a_rare_class_decides() -> None:
    draws = 0.8 + np.array([-0.02, 0.02] * 50)
    plain = around_share(0.8, draws, 500)
    # By hand: (1/5 + 1/100)^2 / (1/5^2/4 + 1/100^2/99) = 4.4095 degrees of freedom.
    worth = 0.8 * 0.2 / draws.var(ddof=1) * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 4.40955)) ** 2
    rare = around_share(0.8, draws, 500, counts=np.array([5, 100]))
    assert (rare.low, rare.high) == pytest.approx(wilson(0.8 * worth, worth), rel=1e-5)
    assert around_share(0.8, draws, 500, counts=np.array([5, 0, 100])) == rare, "an absent class is not in the mean"
    even = around_share(0.8, draws, 500, counts=np.array([5000, 5000]))
    assert (even.low, even.high) == pytest.approx((plain.low, plain.high), rel=1e-4)
    alone = around_share(0.8, draws, 500, counts=np.array([1, 50, 50]))
    assert alone.low is not None
    assert 0.5 < alone.low < plain.low  # type: ignore[operator]


def test_only_means_over_classes_look_at_the_classes() -> None:
    random = np.random.default_rng(0)
    labels = (random.random((300, 3)) < [0.5, 0.4, 0.01]).astype(float)
    outputs = np.clip(labels * 0.6 + random.random((300, 3)) * 0.5, 0, 1)
    found = with_intervals("multi-label", labels, outputs)
    metrics = metrics_for("multi-label")
    for name, n, counts in (("macro_f1", 300, labels.sum(0)), ("micro_f1", int(labels.sum()), None)):
        draws = np.concatenate([metrics[name].function(labels, outputs, w) for w in resamples_of(300, 0)])
        value = float(metrics[name].function(labels, outputs))
        assert found[name] == around_share(value, draws, n, counts=counts).as_json()


def test_resamples_draw_as_many_samples_as_there_are() -> None:
    counts = np.concatenate(list(resamples_of(70, 0, 500)))
    assert counts.shape == (500, 70)
    assert (counts.sum(axis=1) == 70).all()
    assert counts.var() == pytest.approx(69 / 70, rel=0.05)


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    base = np.where(rng.random(400) < 0.8, labels, 1 - labels)
    better = np.where(rng.random(400) < 0.4, labels, base)
    metric = find_metric("single-label")
    found = paired_difference(metric, labels, better, base)
    assert found.value == pytest.approx((better == labels).mean() - (base == labels).mean())
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.value < found.high  # type: ignore[operator]
    alone = wilson((better == labels).sum(), 400)
    assert found.high - found.low < 1.2 * (alone[1] - alone[0])
    same = paired_difference(metric, labels, base, base)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_a_paired_difference_leaves_out_what_is_missing_and_may_be_undefined() -> None:
    labels, outputs = draw("single-label", 5, 60)
    hidden = np.where(np.arange(60) % 3 == 0, -1, labels)
    use, uniform = hidden >= 0, np.full((60, 10), 0.1)
    metric = find_metric("single-label", "log_loss")
    found = paired_difference(metric, hidden, outputs, uniform)
    assert found == paired_difference(metric, labels[use], outputs[use], uniform[use])
    assert found.high is not None
    assert found.high < 0
    auroc = find_metric("single-label", "auroc")
    assert paired_difference(auroc, np.ones(9, dtype=int), np.full((9, 2), 0.5), np.full((9, 2), 0.5)) == UNDEFINED


def test_mcnemar_reference_values() -> None:
    assert mcnemar(25, 15) == pytest.approx(0.1539, abs=5e-5)
    assert mcnemar(11, 1) == pytest.approx(0.00635, abs=5e-6)
    assert mcnemar(3, 9) == mcnemar(9, 3)
    assert mcnemar(0, 0) == mcnemar(4, 4) == 1.0


def test_no_error_in_a_rare_class_says_little() -> None:
    """Ten of ten right leave a recall of .72 possible, whatever the 990 of the other class are worth."""
    labels = np.repeat([0, 1], [990, 10])
    found = with_intervals("single-label", labels, np.eye(2)[labels] * 0.8 + 0.1, resamples=50)
    for name in ("balanced_accuracy", "macro_f1", "auroc"):
        assert found[name]["value"] == 1.0
        assert found[name]["low"] == pytest.approx((1 + wilson(10, 10)[0]) / 2, abs=0.06)
        assert found[name]["high"] == 1.0
    several = with_intervals("multi-label", np.eye(2)[labels], np.eye(2)[labels] * 0.8 + 0.1, resamples=50)
    assert several["map"]["low"] == found["auroc"]["low"]
    balanced = np.arange(1000) % 10
    found = with_intervals("single-label", balanced, np.eye(10)[balanced] * 0.8 + 0.02, resamples=50)
    assert found["balanced_accuracy"]["low"] == pytest.approx(wilson(1000, 1000)[0])


def test_labels_may_be_whole_numbers() -> None:
    labels, outputs = np.array([[1, 0], [1, 1], [0, 1]]), np.array([[0.9, 0.2], [0.8, 0.9], [0.1, 0.5]])
    assert with_intervals("multi-label", labels, outputs, resamples=50) == with_intervals(
        "multi-label", labels.astype(float), outputs, resamples=50
    )


def test_a_label_applies_from_a_half_on_as_it_is_said() -> None:
    task = Task("y", "multi-label", ("a",))
    half = np.array([[0.5]])
    assert compute_all("multi-label", [[1.0]], half)["subset_accuracy"] == 1.0
    assert predicted(task, half) == [["a"]]
    assert per_class(task, np.array([[1.0]]), half)[0]["recall"] == 1.0
    assert per_sample(task, np.array([[1.0]]), np.array([[0.0]]), "map").tolist() == [1.0]


def test_several_labels_of_which_none_is_there_have_intervals_without_gaps() -> None:
    """A part of negatives: nothing is known of F1, which is 0 by convention; a NaN would be no JSON."""
    found = with_intervals("multi-label", np.zeros((30, 2)), np.full((30, 2), 0.7))
    assert found["macro_f1"] == {"value": 0.0, "low": 0.0, "high": 1.0}
    numbers = [v for metric in found.values() for v in metric.values() if v is not None]
    assert np.isfinite(numbers).all()
