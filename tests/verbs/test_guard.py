"""The verdict on transfer, from outputs made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.measure import find_metric, mcnemar
from headstart.verbs.guard import verdict

ACCURACY = find_metric("single-label", "accuracy")
Y = np.arange(200) % 2


def right_on(share: float, seed: int) -> np.ndarray:
    """Probabilities that are right on a share of the samples."""
    right = np.random.default_rng(seed).permutation(200) < share * 200
    guess = np.where(right, Y, 1 - Y)
    return np.eye(2)[guess] * 0.8 + 0.1


@pytest.mark.parametrize(
    ("ours", "theirs", "said"), [(0.95, 0.7, "positive"), (0.6, 0.9, "negative"), (0.8, 0.8, "inconclusive")]
)
def test_the_interval_of_the_gap_decides(ours: float, theirs: float, said: str) -> None:
    a, b = right_on(ours, 0), right_on(theirs, 1)
    found = verdict(ACCURACY, Y, a, {"raw_features": b, "majority": right_on(0.5, 2)}, "test", "pixels")
    assert found["verdict"] == said
    assert found["gap"]["value"] == pytest.approx(ours - theirs)
    only_ours = int(((a.argmax(1) == Y) & (b.argmax(1) != Y)).sum())
    only_theirs = int(((a.argmax(1) != Y) & (b.argmax(1) == Y)).sum())
    assert found["mcnemar"] == pytest.approx(mcnemar(only_ours, only_theirs))
    assert "McNemar's exact p" in found["text"]


def test_the_best_baseline_without_a_network_is_the_measure() -> None:
    baselines = {"raw_features": right_on(0.6, 1), "majority": right_on(0.7, 2), "linear_probe": right_on(0.99, 3)}
    assert verdict(ACCURACY, Y, right_on(0.8, 0), baselines, "test", "pixels")["compared_with"] == "majority"


def test_numbers_have_no_mcnemar_and_lower_errors_are_better() -> None:
    y = np.linspace(0, 1, 50)
    found = verdict(find_metric("regression", "mae"), y, y + 0.01, {"raw_features": y + 0.3}, "test", "pixels")
    assert found["verdict"] == "positive"
    assert found["gap"]["value"] == pytest.approx(0.29)
    assert found["mcnemar"] is None
