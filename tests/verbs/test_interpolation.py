"""Weights in between: what they are, when they are taken, and that the model kept is the one that was judged."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import headstart as hs
from headstart.train.phase import Phase, Strategy
from headstart.verbs.interpolation import in_between, interpolate, interpolates, snapshot
from headstart.verbs.options import make_options

TUNED = Strategy("lp-ft", (Phase("all", {"head": 0.1}, epochs=1),), "probe")


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def test_ends_and_middle() -> None:
    model, start = network(0), snapshot(network(1))  # type: ignore[arg-type]
    own = snapshot(model)  # type: ignore[arg-type]
    for share, expected in ((1.0, own), (0.0, start), (0.25, {k: 0.25 * own[k] + 0.75 * start[k] for k in own})):
        with in_between(model, start, share) as between:  # type: ignore[arg-type]
            for name, value in snapshot(between).items():
                torch.testing.assert_close(value, expected[name])
        for name, value in snapshot(model).items():  # type: ignore[arg-type]
            torch.testing.assert_close(value, own[name])


def test_of_a_linear_model_the_outputs_are_interpolated() -> None:
    torch.manual_seed(0)
    a, b, x = nn.Linear(4, 2), nn.Linear(4, 2), torch.randn(5, 4)
    expected = 0.3 * a(x) + 0.7 * b(x)
    interpolate(a, snapshot(b), 0.3)  # type: ignore[arg-type]
    torch.testing.assert_close(a(x), expected)


@pytest.mark.parametrize(
    ("options", "strategy", "said"),
    [
        ({}, TUNED, True),
        ({"strategy": "lp-ft"}, TUNED, False),
        ({"strategy": "lp-ft", "interpolate": True}, TUNED, True),
        ({"interpolate": False}, TUNED, False),
        ({}, Strategy("full", TUNED.phases, "random"), False),
        ({"reinit": 1}, TUNED, False),
    ],
)
def test_only_behind_a_start_that_is_a_model(options: dict, strategy: Strategy, said: bool) -> None:
    assert interpolates(make_options(options), strategy) is said


@pytest.mark.parametrize("given", [False, True], ids=["out of folds", "on a validation part"])
def test_what_is_kept_is_what_was_judged(given: bool, shapes: ModuleType, tmp_path: Path) -> None:
    """A rate far too high spoils the network; weights nearer to the probe are better, and the bundle has them."""
    train, test = shapes.arrays(24), shapes.arrays(12, start=60)
    data = hs.load_data(train, test=test, **({"valid": shapes.arrays(12, start=100)} if given else {}))
    options = {**shapes.QUICK, "strategy": "lp-ft", "lr": 0.05, "epochs": 4, "augment": "none"}
    options |= {"interpolate": True, "blend": False, "guard": "off", "precision": "float32", "engine": "torch"}
    run = hs.fit(data, **options, out=tmp_path / "run")
    said = " ".join(run.data["strategy"]["reasons"])
    assert "interpolated: with" in said if given else "Two folds chose" in said
    kept = pd.read_parquet(run.path / "predictions.parquet").query("part == 'test'")
    again = hs.predict(run.path, test[0])
    np.testing.assert_allclose([row["confidence"] for row in again], kept.confidence, atol=1e-4)
