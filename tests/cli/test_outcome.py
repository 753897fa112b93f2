"""The page of text after a run, from the content of report.json."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headstart.cli.outcome import print_estimate, print_outcome

ACCURACY = {"value": 0.9871, "low": 0.9782, "high": 0.9923}
DATA: dict[str, Any] = {
    "schema": 1,
    "status": "finished",
    "task": {"name": "label", "kind": "single-label", "classes": ["a", "b"]},
    "data": {"name": "photos", "parts": {"train": 3400, "validation": 600, "test": 1000}, "notes": []},
    "model": {
        "reference": "sample:efficientnet_lite0",
        "stage": "blocks.4",
        "truncated": True,
        "image_size": 96,
    },
    "strategy": {"name": "lp-ft", "asked": "auto", "reasons": ["lp-ft: 0.99 on validation, probe: 0.98"]},
    "metric": "accuracy",
    "metrics": {
        "validation": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}},
        "test": {"accuracy": ACCURACY},
    },
    "baselines": {
        "majority": {"test": {"accuracy": {"value": 0.1, "low": 0.08, "high": 0.12}}},
        "linear_probe": {"test": {"accuracy": {"value": 0.92, "low": 0.9, "high": 0.94}}},
    },
    "guard": {"verdict": "positive", "text": "7 points above the raw features [pixels]."},
    "cost": {"seconds": 131.2},
    "notes": [
        {"level": "warning", "topic": "bad", "text": "2 pictures could not be read: x.png, y.png."},
        {"level": "info", "topic": "split", "text": "Nobody needs this here."},
    ],
}


def shown(data: dict[str, Any], capsys: pytest.CaptureFixture[str], path: str = "runs/my photos") -> str:
    print_outcome(SimpleNamespace(path=Path(path), data=data), as_json=False)
    return capsys.readouterr().out


def test_what_was_chosen_how_good_it_is_and_what_next(capsys: pytest.CaptureFixture[str]) -> None:
    page = shown(DATA, capsys)
    assert max(map(len, page.splitlines())) <= 80
    words = " ".join(page.split())
    assert "3,400 train, 600 validation, 1,000 test" in words
    assert "cut after blocks.4, 96 px, strategy lp-ft (chosen), in 2 min 11 s" in words
    assert "This model 0.987 0.978 to 0.992" in words
    assert words.index("This model") < words.index("Linear probe") < words.index("Majority class 0.100")
    assert "positive. 7 points above the raw features [pixels]." in words
    assert "Note: 2 pictures could not be read" in words
    assert "Nobody needs" not in words
    assert "headstart predict 'runs/my photos' PICTURES..." in page
    assert "resume" not in page


def test_without_a_test_part_validation_is_shown_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    data = copy.deepcopy(DATA)
    del data["metrics"]["test"]
    page = shown(data, capsys)
    assert "validation accuracy" in page
    assert "0.500" in page
    assert "Linear probe" not in page


def test_a_run_that_was_stopped_can_be_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "headstart resume 'runs/my photos'" in shown({**DATA, "status": "running"}, capsys)


def test_a_metric_that_is_not_defined_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    data = copy.deepcopy(DATA)
    data["metrics"]["test"]["accuracy"] = None
    assert "This model – –" in " ".join(shown(data, capsys).split())


def test_long_paths_can_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/".join(["folder"] * 30)
    assert f"headstart predict {path} PICTURES..." in shown(DATA, capsys, path)


def test_json_is_the_report_and_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    print_outcome(SimpleNamespace(path=Path("runs/x"), data=DATA), as_json=True)
    assert json.loads(capsys.readouterr().out) == {**DATA, "run": "runs/x"}


def test_an_estimate_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_estimate({"model": "timm:x", "cost": {"seconds": 12.5, "disk_mb": 40}, "tried": ["probe", "lp-ft"]})
    assert capsys.readouterr().out.splitlines() == [
        "model: timm:x",
        "cost:",
        "  seconds: 12.500",
        "  disk mb: 40",
        "tried: probe, lp-ft",
    ]
