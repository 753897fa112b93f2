"""Solved probes are read again where everything is the same, and solved anew where anything differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.data import Task
from headstart.features import solved
from headstart.features.cache import clear, entries
from headstart.features.probe import fit_probe
from headstart.features.solved import remembered

TASK = Task("y", "single-label", ("a", "b", "c"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(solved, "WORTH_KEEPING", 100)


def features(n: int = 90, d: int = 8) -> tuple[torch.Tensor, np.ndarray]:
    r = np.random.default_rng(0)
    y = r.integers(0, 3, n)
    return torch.from_numpy(np.eye(3)[y] @ r.normal(size=(3, d)) + r.normal(size=(n, d))).float(), y


def test_a_probe_that_was_solved_is_read_and_equals_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features()
    first = fit_probe(x, y, TASK, "accuracy", torch.arange(90) % 3)
    monkeypatch.setattr("headstart.features.probe.fit_paths", lambda *a, **k: pytest.fail("solved again"))
    again = fit_probe(x, y, TASK, "accuracy", torch.arange(90) % 3)
    assert (again.strength, again.scores) == (first.strength, first.scores)
    for name in ("weight", "bias", "mean", "scale", "held_out"):
        assert torch.equal(getattr(again, name), getattr(first, name)), name


@pytest.mark.parametrize("change", ["features", "labels", "metric", "folds", "weights", "strengths", "code"])
def test_any_difference_is_solved_anew(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features()
    given: dict[str, Any] = {"weights": None, "strengths": (1.0, 0.1), "metric": "accuracy"}
    folds = torch.arange(90) % 3
    fit_probe(x, y, TASK, given["metric"], folds, given["weights"], given["strengths"])
    before = len(entries())
    if change == "features":
        x = x.clone()
        x[0, 0] += 1e-3
    elif change == "labels":
        y = np.roll(y, 1)
    elif change == "metric":
        given["metric"] = "log_loss"
    elif change == "folds":
        folds = torch.arange(90) % 5
    elif change == "weights":
        given["weights"] = torch.ones(90) * 2
    elif change == "strengths":
        given["strengths"] = (1.0, 0.01)
    else:
        monkeypatch.setattr(solved, "_code", lambda: "another version")
    fit_probe(x, y, TASK, given["metric"], folds, given["weights"], given["strengths"])
    assert len(entries()) == before + 1


def test_damage_and_refusal_cost_no_more_than_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = features()
    calls = []

    def compute() -> dict[str, Any]:
        calls.append(1)
        return {"value": torch.ones(2), "n": 3}

    remembered("it", x, [], compute)
    path = entries()[0].path / "solved.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    found = remembered("it", x, [], compute)
    assert (found["n"], len(calls)) == (3, 2)
    assert remembered("it", x, [], compute)["value"].tolist() == [1.0, 1.0]
    assert len(calls) == 2
    monkeypatch.setenv("HEADSTART_CACHE_LIMIT", "0")
    remembered("it", x, [], compute)
    assert len(calls) == 3


def test_they_are_listed_and_cleared_with_the_features(capsys: Any) -> None:
    from headstart.cli.main import _run

    x, _ = features()
    remembered("probe", x, ["a"], lambda: {"n": 1})
    assert _run(["cache", "list"]) == 0
    assert "solved: probe" in capsys.readouterr().out
    assert len(clear()) == 1
    assert entries() == []
    remembered("probe", x[:2], ["a"], lambda: {"n": 1})
    assert entries() == [], "small ones are not worth a file"
