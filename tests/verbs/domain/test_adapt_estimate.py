"""`adapt --dry-run`: the steps that would run, how long they take about, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import headstart as hs
from headstart.cli import failures
from headstart.cli.main import _run
from headstart.core.errors import ConfigError, DataError
from headstart.verbs import estimate_adaptation

MODEL = "scratch:timm:test_efficientnet"
QUICK: dict[str, Any] = {"model": MODEL, "image_size": 32, "engine": "torch", "precision": "float32"}


def digits(part: int, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    rows = np.random.default_rng(0).permutation(np.flatnonzero(found.target < 4))[part * n : (part + 1) * n]
    return (found.images[rows] * 15).astype(np.uint8), found.target[rows]


@pytest.fixture(scope="module")
def source() -> hs.Dataset:
    return hs.load_data(digits(0))


def test_the_plan_names_every_attempt(source: hs.Dataset, tmp_path: Path) -> None:
    given = {**QUICK, "method": "coral,dann+mcc,mcd,shot", "epochs": 4}
    found = estimate_adaptation(source, digits(1), **given)
    steps = {step["name"]: step for step in found["plan"]}
    tried = ["standardize", "coral", "source-network", "adabn", "dann+mcc", "mcd", "shot"]
    assert list(steps) == ["screen", "probe", *tried, "scores", "report"]
    assert all(step["seconds"] >= 0 for step in steps.values())
    assert "8 attempts" in steps["scores"]["detail"]
    assert "3 passes" in steps["mcd"]["detail"]
    assert found["seconds"] == pytest.approx(sum(step["seconds"] for step in found["plan"]), abs=0.6)
    assert found["data"]["parts"]["target"] == 100
    assert min(found["memory_mb"], found["disk_mb"]) > 0
    assert not list(tmp_path.iterdir())


def test_more_to_do_takes_longer(source: hs.Dataset) -> None:
    given = {**QUICK, "method": "dann", "stage": "last"}
    few, many = (estimate_adaptation(source, digits(1), **given, epochs=e) for e in (10, 200))

    def of(found: dict[str, Any], name: str) -> float:
        return next(step["seconds"] for step in found["plan"] if step["name"] == name)

    assert of(many, "dann") > 5 * of(few, "dann")
    assert of(many, "dann") > of(many, "source-network") > of(many, "adabn")
    seeds = estimate_adaptation(source, digits(1), **given, epochs=10, seeds=3)
    assert seeds["plan"][-1]["name"] == "seeds"
    assert seeds["plan"][-1]["seconds"] == pytest.approx(2 * sum(s["seconds"] for s in seeds["plan"][:-1]), abs=0.3)


def test_without_source(source: hs.Dataset, tmp_path: Path, capsys: Any) -> None:
    given = {"strategy": "full", "epochs": 1, "guard": "off", "blend": False, "stage": "last", "out": tmp_path / "run"}
    fitted = hs.fit(source, **QUICK, **given)
    target = tmp_path / "target"
    target.mkdir()
    for i, picture in enumerate(digits(1)[0]):
        Image.fromarray(picture).save(target / f"{i}.png")
    typed = ["adapt", "--target", str(target), "--model", f"run:{fitted.path}", "--epochs", "2", "--dry-run"]
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert _run([*typed, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = ["source-model", "adabn", "shot", "pseudo-labels", "tent", "scores", "report"]
    assert [step["name"] for step in found["plan"]] == names
    assert found["model"] == "run:run"
    assert "5 attempts" in found["plan"][-2]["detail"]
    assert _run(typed) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 epochs of 100 target samples" in said
    assert "Nothing has been written." in said
    assert sorted(tmp_path.rglob("*")) == before
    assert failures.guard(lambda: _run([*typed, "--method", "meda"]), typed) == 2


def test_what_adapt_refuses_is_refused(source: hs.Dataset) -> None:
    x, y = digits(1)
    with pytest.raises(DataError, match="classes that the source does not have: 7"):
        estimate_adaptation(source, (x, np.where(y == 3, 7, y)), **QUICK)
    with pytest.raises(ConfigError, match="no method 'corall'"):
        estimate_adaptation(source, digits(1), **QUICK, method="corall")
