"""The verdict on transfer, from outputs made by hand."""

from __future__ import annotations

import html
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import headstart as hs
from headstart.core.errors import ModelError
from headstart.measure import find_metric, mcnemar
from headstart.verbs.fallback import Fallback
from headstart.verbs.guard import verdict, verdict_over_seeds

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


def test_the_best_baseline_without_a_network_is_the_measure_and_the_probe_stands_beside() -> None:
    """A probe transfers too: a worse network says that fine-tuning does not pay, not that transfer does not."""
    baselines = {"raw_features": right_on(0.6, 1), "majority": right_on(0.7, 2), "linear_probe": right_on(0.99, 3)}
    ours = right_on(0.85, 0)
    found = verdict(ACCURACY, Y, ours, baselines, "test", "pixels")
    assert (found["verdict"], found["compared_with"]) == ("positive", "majority")
    over = found["over_probe"]
    assert over["gap"]["value"] == pytest.approx(-0.14)
    assert over["gap"]["high"] < 0
    wins = int(((ours.argmax(1) == Y) & (baselines["linear_probe"].argmax(1) != Y)).sum())
    assert over["mcnemar"] == pytest.approx(mcnemar(wins, wins + 28))
    assert "Beside a linear probe on the last layer, on the test part the model is 0.140 worse" in over["text"]
    assert "chance" not in over["text"]


def test_a_model_that_is_the_linear_probe_has_nothing_over_it() -> None:
    ours = right_on(0.8, 0)
    baselines = {"raw_features": right_on(0.6, 1), "linear_probe": ours + 1e-8}
    assert verdict(ACCURACY, Y, ours, baselines, "test", "pixels")["over_probe"] is None


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0.01, 0.09, "positive"), (-0.09, -0.01, "negative"), (-0.01, 0.09, "inconclusive")]
)
def test_the_verdict_over_seeds_is_that_of_the_best_baseline_over_seeds(low: float, high: float, said: str) -> None:
    gaps = [
        {"baseline": "majority", "value": 0.5, "low": 0.4, "high": 0.6, "seed_error": 0.1},
        {"baseline": "linear_probe", "value": -0.3, "low": -0.4, "high": 0.1},
        {"baseline": "raw_features", "value": (low + high) / 2, "low": low, "high": high},
    ]
    found = verdict_over_seeds("accuracy", gaps, 3, "test", "pixels")
    assert (found["verdict"], found["compared_with"]) == (said, "raw_features")
    assert found["gap"] == {"value": (low + high) / 2, "low": low, "high": high}
    assert "over 3 seeds" in found["text"]
    assert "which may be chance" in found["over_probe"]["text"]


def test_numbers_have_no_mcnemar_and_lower_errors_are_better() -> None:
    y = np.linspace(0, 1, 50)
    found = verdict(find_metric("regression", "mae"), y, y + 0.01, {"raw_features": y + 0.3}, "test", "pixels")
    assert found["verdict"] == "positive"
    assert found["gap"]["value"] == pytest.approx(0.29)
    assert found["mcnemar"] is None


# -- the same network from random weights ------------------------------------------------------------------------------


def test_the_full_guard_trains_the_network_from_random_weights(shapes: ModuleType, tmp_path: Path) -> None:
    """A run of its own within the run; a killed one goes on, and its numbers stand beside the model's."""
    here = tmp_path / "run"
    start = save_timm(tmp_path / "weights.safetensors")
    options = {**shapes.QUICK, "model": f"file:{start}", "arch": "test_resnet", "strategy": "lp-ft", "guard": "full"}
    run = hs.fit(shapes.folder(tmp_path / "data", 30), **options, examples=False, out=here)
    inner = hs.Run(here / "scratch")
    assert inner.data["model"]["reference"] == f"scratch:file:{start}"
    assert inner.data["strategy"]["name"] == "full"
    for part in ("validation", "test"):
        ours, its = run.data["baselines"]["scratch"][part]["accuracy"], inner.metrics[part]["accuracy"]
        assert ours["value"] == pytest.approx(its["value"])
    assert run.data["cost"]["parts"]["scratch"] > 0
    assert "From random weights" in (here / "report.html").read_text()


def test_a_network_from_random_weights_that_is_handed_back_keeps_its_calibration(
    shapes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its validation answers are calibrated already: the bundle divides by both temperatures."""

    hand_back("scratch", monkeypatch)
    start = save_timm(tmp_path / "weights.safetensors")
    options = {**shapes.QUICK, "model": f"file:{start}", "arch": "test_resnet", "strategy": "probe", "guard": "full"}
    train, held = shapes.folder(tmp_path / "train", 30), shapes.folder(tmp_path / "held", 20, start=60)
    run = hs.fit(train, **{**options, "epochs": 4}, test=held, examples=False, out=tmp_path / "run")
    inner = hs.Run(tmp_path / "run" / "scratch")
    assert abs(inner.data["calibration"]["temperature"] - 1) > 0.05  # else nothing could go wrong
    assert run.data["calibration"]["temperature"] == pytest.approx(inner.data["calibration"]["temperature"], rel=0.02)
    for when in ("before", "after"):
        ours, its = (r.data["calibration"][when]["ece"] for r in (run, inner))
        assert ours == pytest.approx(its, abs=0.01)
    for part in ("validation", "test"):
        for metric in ("accuracy", "log_loss"):
            ours, its = (r.metrics[part][metric]["value"] for r in (run, inner))
            assert ours == pytest.approx(its, abs=0.01)
    kept = pd.read_parquet(run.path / "predictions.parquet").query("part == 'test'").set_index("id")
    for row in run.predict([str(held)]):
        name = "test:" + Path(row["id"]).relative_to(held).as_posix()
        assert row["confidence"] == pytest.approx(kept.loc[name, "confidence"], abs=1e-5)


def test_a_linear_probe_that_is_handed_back_is_what_predicts(
    shapes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_back("linear_probe", monkeypatch)
    start = save_timm(tmp_path / "weights.safetensors")
    options = {**shapes.QUICK, "model": f"file:{start}", "arch": "test_resnet", "strategy": "full", "epochs": 2}
    test = shapes.arrays(20, start=60)
    run = hs.fit(hs.load_data(shapes.arrays(30), test=test), **options, examples=False, out=tmp_path / "run")
    assert (run.data["strategy"]["name"], run.data["strategy"]["network"]) == ("linear_probe", "full")
    probe = run.data["baselines"]["linear_probe"]
    for part in ("validation", "test"):
        assert run.metrics[part] == probe[part]
    assert run.data["guard"]["text"].split(": ")[1].startswith("on the test part the network is")
    kept = pd.read_parquet(run.path / "predictions.parquet").query("part == 'test'")
    np.testing.assert_allclose([row["confidence"] for row in run.predict(test[0])], kept.confidence, atol=1e-5)
    assert "A baseline took the network's place" in html.unescape((run.path / "report.html").read_text())


def test_there_is_no_baseline_from_random_weights_for_random_weights(shapes: ModuleType, tmp_path: Path) -> None:
    run = hs.fit(shapes.arrays(24), **shapes.QUICK, strategy="probe", guard="full", out=tmp_path / "run")
    assert "starts from random weights already" in " ".join(run.data["strategy"]["reasons"])
    assert not (tmp_path / "run" / "scratch").exists()


def hand_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every fit fall back on this baseline."""

    def always(job: Any, chosen: str, logits: Any, baselines: dict[str, Any], labels: Any) -> tuple[Fallback, str]:
        return Fallback(name, baselines[name], "for the test"), "for the test"

    monkeypatch.setattr(import_module("headstart.verbs.fit"), "fall_back", always)


def save_timm(path: Path) -> Path:
    """Weights of a tiny network, as timm writes them."""
    from headstart.models.torchvision_import import prepare_torchvision

    prepare_torchvision()
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


def test_a_linear_model_is_nothing_to_start_from(
    shapes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_back("raw_features", monkeypatch)
    options = {**shapes.QUICK, "strategy": "probe", "examples": False}
    first = hs.fit(shapes.arrays(24), **options, out=tmp_path / "first")
    with pytest.raises(ModelError, match="holds a linear model without a network"):
        hs.fit(shapes.arrays(24), **{**options, "model": f"run:{first.path}"}, out=tmp_path / "second")
    assert not (tmp_path / "second").exists()
