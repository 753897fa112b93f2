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


def test_that_a_baseline_took_the_networks_place_is_the_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    data = copy.deepcopy(DATA)
    data["fallback"] = {"to": "raw_features", "text": "The network is not handed back: pixels do better."}
    data["strategy"] |= {"network": "lp-ft", "reasons": [data["fallback"]["text"], "lp-ft was chosen."]}
    data["guard"]["over_probe"] = {"text": "Beside a linear probe, the network is 0.010 worse."}
    page = shown(data, capsys)
    assert page.splitlines()[0] == "The network is not handed back: pixels do better."
    assert page.count("not handed back") == 1
    assert "strategy lp-ft (chosen), not taken" in " ".join(page.split())
    assert "Beside a linear probe, the network is 0.010 worse." in page


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


def test_an_estimate_is_a_plan_and_its_sums(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [
        {"name": "screen", "detail": "1000 samples at 96 px", "seconds": 12.4},
        {"name": "lp-ft", "detail": "8 epochs", "seconds": 80.0},
    ]
    estimate = {"data": {"name": "photos", "parts": {"train": 3400, "test": 1000}}, "model": "timm:x", "size": 96}
    print_estimate(
        {**estimate, "size_unit": "px", "device": "cpu", "plan": steps, "seconds": 92, "memory_mb": 1850, "disk_mb": 40}
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "photos (3,400 train, 1,000 test): timm:x, 96 px, on cpu."
    assert [line.split() for line in lines if line.startswith(("screen", "lp-ft"))] == [
        ["screen", "1000", "samples", "at", "96", "px", "12", "s"],
        ["lp-ft", "8", "epochs", "1", "min", "20", "s"],
    ]
    assert " ".join(lines[-2:]).startswith("In all about 1 min 32 s, 1,850 MB of memory and 40 MB of disk.")
