"""Weights in between: what they are, when they are taken, and that the model kept is the one that was judged."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import headstart as hs
from headstart.data import Task
from headstart.measure import find_metric
from headstart.train.phase import Phase, Strategy
from headstart.verbs.interpolation import in_between, interpolate, interpolates, settle_share, snapshot
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


def settled(start: float, tuned: float) -> tuple[float, str]:
    """The share that is settled for a line whose slope should be 1, from one slope to another."""
    x = torch.linspace(-1, 1, 200)[:, None]
    y = x[:, 0].numpy() + np.random.default_rng(0).normal(size=200) * 0.1
    task = Task("y", "regression")
    part = SimpleNamespace(inputs=x)
    job: Any = SimpleNamespace(
        task=task,
        metric=find_metric("regression", "mae"),
        labels=lambda _: y,
        reader=lambda _: part,
        dtype=torch.float32,
    )
    model = nn.Linear(1, 1, bias=False)
    model.backbone = None  # type: ignore[assignment]
    with torch.no_grad():
        model.weight.fill_(tuned)
    share, logits, why = settle_share(job, model, {"weight": torch.tensor([[start]])}, tuned * x.numpy())  # type: ignore[arg-type]
    np.testing.assert_allclose(logits, (share * tuned + (1 - share) * start) * x.numpy(), rtol=1e-6)
    assert model.weight.item() == pytest.approx(tuned), "the model is left as it was"
    return share, why


def test_the_share_that_validation_prefers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(model: nn.Module, reader: Any, part: str, dtype: torch.dtype) -> SimpleNamespace:
        return SimpleNamespace(logits={"y": model(reader.inputs).detach().numpy()})

    monkeypatch.setattr("headstart.verbs.interpolation.outputs", answers)
    for start, tuned, expected in ((0.5, 1.5, 0.5), (0.75, 1.75, 0.25), (0.0, 4 / 3, 0.75), (0.0, 1.0, 1.0)):
        share, why = settled(start, tuned)
        assert share == expected
        assert why.startswith("Weights were interpolated" if expected < 1 else "Weights were not interpolated")


@pytest.mark.parametrize("given", [False, True], ids=["out of folds", "on a validation part"])
def test_what_is_kept_is_what_was_judged(given: bool, shapes: ModuleType, tmp_path: Path) -> None:
    """A rate that is too high spoils the network; weights nearer to the probe are better, and the bundle has them."""
    train, test = shapes.arrays(24), shapes.arrays(12, start=60)
    data = hs.load_data(train, test=test, **({"valid": shapes.arrays(24, start=100)} if given else {}))
    options = {**shapes.QUICK, "strategy": "lp-ft", "lr": 0.01 if given else 0.003, "epochs": 4, "augment": "none"}
    options |= {"interpolate": True, "blend": False, "guard": "off", "precision": "float32", "engine": "torch"}
    run = hs.fit(data, **options, out=tmp_path / "run")
    said = " ".join(run.data["strategy"]["reasons"])
    assert "Weights were interpolated: " in said
    assert "weights half-way between" in said or given
    kept = pd.read_parquet(run.path / "predictions.parquet").query("part == 'test'")
    again = hs.predict(run.path, test[0])
    np.testing.assert_allclose([row["confidence"] for row in again], kept.confidence, atol=1e-4)
