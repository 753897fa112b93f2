from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from headstart.measure import find_metric, gap_over_seeds, over_seeds, paired_difference
from headstart.measure.intervals import UNDEFINED

ACCURACY = find_metric("single-label")


def test_a_metric_over_seeds_is_students() -> None:
    values = [0.80, 0.82, 0.81, 0.85]
    found = over_seeds("accuracy", values)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.mean, found.std) == pytest.approx((np.mean(values), np.std(values, ddof=1)))


def test_it_ends_where_the_metric_does() -> None:
    assert over_seeds("accuracy", [0.90, 0.99]).high == 1.0
    assert over_seeds("rmse", [0.1, 3.0]).low == 0.0
    assert over_seeds("rmse", [0.1, 3.0]).high > 3.0  # type: ignore[operator]
    assert over_seeds("r2", [-1.0, 0.9]).low < -1.0  # type: ignore[operator]


def test_one_seed_has_no_spread_and_what_is_undefined_stays_so() -> None:
    one = over_seeds("accuracy", [0.9])
    assert (one.mean, one.std, one.low, one.high) == (0.9, None, None, None)
    for values in ([], [0.9, None], [0.9, math.nan]):
        assert over_seeds("auroc", values).mean is None


def answers(seeds: int, n: int, spread: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(seeds, n) whether models are right and (n,) whether the baseline is, both more often on easy samples."""
    ease = random.normal(1.0, 1.0, n)
    of_seed = random.normal(0.5, spread, (seeds, 1))
    noise = random.logistic(size=(seeds, n))
    return ease + of_seed + noise > 0, ease + random.logistic(size=n) > 0


def test_where_seeds_agree_the_gap_is_that_of_one() -> None:
    random = np.random.default_rng(0)
    (model,), base = answers(1, 400, 0.0, random)
    ones = np.ones(400, dtype=int)
    found = gap_over_seeds(ACCURACY, ones, [model.astype(int)] * 3, [base.astype(int)] * 3)
    single = paired_difference(ACCURACY, ones, model.astype(int), base.astype(int))
    assert found.gap.value == pytest.approx(single.value)
    assert found.seed_error == 0.0
    assert (found.gap.low, found.gap.high) == pytest.approx((single.low, single.high), abs=0.005)


def test_where_seeds_differ_the_gap_is_students() -> None:
    ones, right = np.ones(20_000, dtype=int), [0.5, 0.6, 0.7]
    models = [(np.arange(20_000) % 100 < 100 * share).astype(int) for share in right]
    found = gap_over_seeds(ACCURACY, ones, models, [(np.arange(20_000) % 2)] * 3)
    expected = stats.ttest_1samp(np.array(right) - 0.5, 0).confidence_interval()
    assert (found.gap.low, found.gap.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_a_gap_over_seeds_and_samples_covers_what_it_says() -> None:
    """400 times: the share of 95% has a standard error of 1.1 points."""
    random = np.random.default_rng(1)
    ease = random.normal(1.0, 1.0, 400_000)
    truth = float(
        np.mean(ease + random.normal(0.5, 0.3, 400_000) + random.logistic(size=400_000) > 0)
        - np.mean(ease + random.logistic(size=400_000) > 0)
    )
    hits, ones = [], np.ones(300, dtype=int)
    for _ in range(400):
        models, base = answers(4, 300, 0.3, random)
        found = gap_over_seeds(ACCURACY, ones, list(models.astype(int)), [base.astype(int)] * 4).gap
        hits.append(found.low <= truth <= found.high)  # type: ignore[operator]
    assert 0.92 <= np.mean(hits) <= 0.985, np.mean(hits)


def test_an_undefined_gap() -> None:
    auroc = find_metric("single-label", "auroc")
    one = np.full((9, 2), 0.5)
    assert gap_over_seeds(auroc, np.ones(9, dtype=int), [one], [one]).gap == UNDEFINED
