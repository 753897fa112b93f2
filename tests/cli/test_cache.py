"""`headstart cache`: what is kept, in words and as JSON, and removed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.features.extract import extract
from headstart.features.solved import remembered
from headstart.models.opening import open_model
from headstart.models.wanted import Wanted
from headstart.train.reader import Reader


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch) -> None:
    """Features of a network, and something solved."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "kept"))
    backbone = open_model("scratch:timm:test_resnet", Wanted(32, 3))
    pictures = list(np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8))
    data = hs.load_data((pictures, ["a", "b"] * 4))
    extract(backbone, Reader({"train": data}, backbone, 0), "train", [(list(backbone.stages)[-1], 1)])
    remembered("probe", torch.ones(1000, 300), [], lambda: {"x": torch.ones(1)})


def test_what_is_kept_is_listed(here, capsys) -> None:
    assert here("cache", "list") == 0
    said = capsys.readouterr().out
    assert "solved: probe" in said
    assert "grid" in said
    assert "plain" in said
    assert "None" not in said
    assert max(map(len, said.splitlines())) <= 80
    assert here("cache", "list", "--json") == 0
    rows = {row["model"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["solved: probe"]["stage"] == "1,000 samples"
    assert rows["scratch:timm:test_resnet"]["grid"] == 1


def test_pruning_and_clearing_say_what_went(here, capsys) -> None:
    assert here("cache", "prune") == 0
    assert "0 folders" in capsys.readouterr().out
    assert here("cache", "prune", "--limit", "0") == 0
    assert "2 folders" in capsys.readouterr().out
    assert here("cache", "clear") == 0
    assert "0 folders" in capsys.readouterr().out
