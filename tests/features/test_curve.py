"""Learning curves of probes on made-up features whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.data import Task
from headstart.features.curve import LEAST, learning_curve
from headstart.measure import find_metric

TASK = Task("y", "single-label", ("a", "b", "c"))
ACCURACY = find_metric("single-label", "accuracy")
NUMBER = Task("y", "regression")


def cloud(n: int, d: int = 30, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    r = np.random.default_rng(seed)
    y = r.integers(0, 3, n)
    x = np.eye(3)[y] @ np.random.default_rng(99).normal(size=(3, d)) + 2.0 * r.normal(size=(n, d))
    return torch.from_numpy(x).float(), y


def none(n: int) -> torch.Tensor:
    return torch.full((n,), -1)


def test_more_labels_help_and_the_promise_is_kept() -> None:
    """What a curve of 400 labels says of 400 more, against a probe that has them."""
    x, y = cloud(400)
    held = cloud(2000, seed=1)
    found = learning_curve(x, y, TASK, ACCURACY, none(400), held)
    assert found is not None
    values = [p["value"] for p in found["points"]]
    assert [p["n"] for p in found["points"]] == [25, 50, 100, 200, 400]
    assert values[-1] > values[0] + 0.1
    more, my = cloud(800)
    truth = learning_curve(more, my, TASK, ACCURACY, none(800), held)
    assert truth is not None
    gain = next(g for g in found["gains"] if g["more"] == 200)
    real = (truth["points"][-1]["value"] - values[-1]) * 0.6
    assert gain["low"] - 0.02 <= real <= gain["high"] + 0.02
    assert 0 <= gain["value"] < 0.1


def test_out_of_fold_where_there_is_no_validation_part() -> None:
    x, y = cloud(200)
    found = learning_curve(x, y, TASK, ACCURACY, torch.arange(200) % 5)
    assert found is not None
    assert found["points"][-1]["n"] == 160, "what a fold is fitted to"
    noise = np.random.default_rng(3).integers(0, 3, 200)
    of_noise = learning_curve(x, noise, TASK, ACCURACY, torch.arange(200) % 5)
    assert of_noise is not None
    assert max(p["value"] for p in of_noise["points"]) < 0.5, "labels that are noise are guessed at chance"


def test_intervals_hold_the_values_and_the_same_seed_gives_the_same() -> None:
    x, y = cloud(200)
    held = cloud(300, seed=1)
    one, other = (learning_curve(x, y, TASK, ACCURACY, none(200), held, seed=4) for _ in range(2))
    assert one == other
    assert one is not None
    assert all(p["low"] <= p["value"] <= p["high"] for p in one["points"])


def test_errors_fall_for_numbers_too() -> None:
    r = np.random.default_rng(0)
    x = torch.from_numpy(r.normal(size=(300, 20))).float()
    y = x.numpy() @ r.normal(size=20) * 100 + 50 * r.normal(size=300)
    found = learning_curve(x, y, NUMBER, find_metric("regression", "rmse"), torch.arange(300) % 5)
    assert found is not None
    assert found["points"][-1]["value"] < found["points"][0]["value"]
    assert all(g["value"] >= 0 for g in found["gains"])


@pytest.mark.parametrize("n", [LEAST, 3 * LEAST])
def test_too_few_labels_give_no_curve(n: int) -> None:
    x, y = cloud(n)
    assert learning_curve(x, y, TASK, ACCURACY, torch.arange(n) % 3) is None


def test_samples_without_labels_count_for_nothing() -> None:
    x, y = cloud(200)
    more, _ = cloud(60, seed=5)
    both, labels = torch.cat([x, more]), np.concatenate([y, np.full(60, -1)])
    found = learning_curve(both, labels, TASK, ACCURACY, torch.arange(260) % 5)
    assert found is not None
    assert found["points"][-1]["n"] == 160
