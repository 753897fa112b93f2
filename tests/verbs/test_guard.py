"""The verdict on transfer, from outputs made by hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import headstart as hs
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


def test_there_is_no_baseline_from_random_weights_for_random_weights(shapes: ModuleType, tmp_path: Path) -> None:
    run = hs.fit(shapes.arrays(24), **shapes.QUICK, strategy="probe", guard="full", out=tmp_path / "run")
    assert "starts from random weights already" in " ".join(run.data["strategy"]["reasons"])
    assert not (tmp_path / "run" / "scratch").exists()


def save_timm(path: Path) -> Path:
    """Weights of a tiny network, as timm writes them."""
    from headstart.models.torchvision_import import prepare_torchvision

    prepare_torchvision()
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=10).state_dict(), path)
    return path
