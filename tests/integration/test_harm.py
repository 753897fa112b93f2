"""Transfer that hurts, planted in the real thing: it is told by held-out samples, and a baseline takes its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import headstart as hs
from headstart.models.opening import open_model
from headstart.models.wanted import Wanted

MODEL = "sample:efficientnet_lite0"
OPTIONS: dict[str, Any] = {"train_size": 500, "strategy": "probe", "stage": "last", "examples": False}


def shuffled() -> Any:
    """The network with its weights in another order within every tensor: all statistics, nothing learned."""
    network = open_model(MODEL, Wanted(size=64))
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(p.flatten()[torch.randperm(p.numel(), generator=random)].view_as(p))
    return network


@pytest.mark.parametrize("harm", ["digits far too small for the network", "shuffled weights"])
def test_a_baseline_takes_the_place_of_a_network_that_hurts(harm: str, tmp_path: Path) -> None:
    if harm == "shuffled weights":
        run = hs.fit("sample:mnist5k", model=shuffled(), **OPTIONS, out=tmp_path / "run")
    else:
        run = hs.fit("sample:mnist5k", model=MODEL, image_size=32, **OPTIONS, out=tmp_path / "run")
    tests = {name: parts["test"]["accuracy"]["value"] for name, parts in run.data["baselines"].items()}
    assert tests["network"] < 0.55 < 0.8 < tests["raw_features"]
    assert run.data["fallback"]["to"] == "raw_features"
    assert run.data["guard"]["verdict"] == "negative"
    assert run.metrics["test"]["accuracy"]["value"] == tests["raw_features"]
    again = hs.evaluate(run.path, "sample:mnist5k")
    assert again["metrics"]["accuracy"]["value"] == pytest.approx(tests["raw_features"])


def test_the_stage_is_chosen_so_that_even_shuffled_weights_do_no_harm(tmp_path: Path) -> None:
    """Random first layers are a fair basis for digits: auto finds them, where the last layer is of no use."""
    run = hs.fit("sample:mnist5k", model=shuffled(), **{**OPTIONS, "stage": "auto"}, out=tmp_path / "run")
    assert run.metrics["test"]["accuracy"]["value"] > 0.8
