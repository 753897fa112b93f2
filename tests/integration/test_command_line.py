"""From data to a model that travels, through the command line alone."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

QUICK = ("--model", "scratch:timm:test_resnet", "--image-size", "32", "--stage", "last", "--epochs", "1")


@pytest.fixture(scope="module")
def home(shapes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data (p, held), and a run of them."""
    from headstart.cli.main import _run

    root = tmp_path_factory.mktemp("home")
    shapes.folder(root / "p", 16)
    shapes.folder(root / "held", 6, start=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert _run(["fit", "p", *QUICK, "--test", "held", "--strategy", "lp-ft", "--out", "run"]) == 0
    return root


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    return home


def test_json_of_fit_is_the_report_and_the_run(here: Any, shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "p", 8)
    said = here("fit", "p", *QUICK, "--strategy", "probe", "--json")
    assert said.code == 0
    printed = json.loads(said.out)
    assert printed.pop("run") == "runs/p"
    assert printed == json.loads(Path("runs/p/report.json").read_text())
    assert "Screening" in said.err


def test_fit_says_what_it_found_within_80_columns(here: Any, shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "p", 8)
    said = here("fit", "p", *QUICK, "--seed", "1")
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    report = json.loads(Path("runs/p/report.json").read_text())
    assert f"{report['metrics']['test']['accuracy']['value']:.3f}" in said.out
    assert "runs/p/report.html" in said.out
    assert "headstart predict runs/p" in said.out
    assert report["seeds"] == [1]
    for leaked in ("Warning", "warn(", "INFO", "DEBUG", "Traceback"):
        assert leaked not in said.err


def test_dry_run_writes_nothing(here: Any, shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "p", 8)
    before = sorted(tmp_path.rglob("*"))
    said = here("fit", "p", *QUICK, "--dry-run", "--json")
    assert said.code == 0
    plan = json.loads(said.out)
    assert [step["name"] for step in plan["plan"]] == ["screen", "probe", "full", "test"]
    assert plan["seconds"] > 0
    assert plan["memory_mb"] > 0
    text = here("fit", "p", *QUICK, "--dry-run")
    assert text.code == 0
    assert "{" not in text.out
    assert sorted(tmp_path.rglob("*")) == before


def test_options_of_a_file_are_those_of_the_command_line(here: Any, shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "p", 8)
    (tmp_path / "c.yaml").write_text(
        "data: p\nmodel: scratch:timm:test_resnet\nimage-size: 32\nstrategy: full\nepochs: 1\nseed: 5\nexamples: no\n"
    )
    assert here("fit", "--config", "c.yaml", "--strategy", "probe", "--out", "run").code == 0
    options = json.loads(Path("run/report.json").read_text())["options"]
    assert (options["strategy"], options["seed"], options["image_size"]) == ("probe", 5, 32)
    assert not Path("run/pictures").exists()
    # What a run wrote down can be given again.
    assert here("fit", "--config", "run/config.yaml", "--out", "again").code == 0
    same = [json.loads(Path(run, "report.json").read_text())["metrics"] for run in ("run", "again")]
    assert same[0] == same[1]


def test_a_bundle_alone_predicts_the_same_in_an_empty_place(
    home: Path, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Another folder, no hub, no fetched samples, no cache: nothing but the bundle and the package."""
    shutil.copytree(home / "run" / "bundle", tmp_path / "mine")
    shutil.copytree(home / "held", tmp_path / "new")
    empty = {"HEADSTART_HOME": str(tmp_path / "h"), "HEADSTART_CACHE": str(tmp_path / "c")}
    process = start(
        *("predict", "mine", "new", "--csv", "--top", "2"),
        **{**empty, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    found = pd.read_csv(io.StringIO(out), dtype={"id": str})
    kept = pd.read_parquet(home / "run" / "predictions.parquet").query("part == 'test'")
    kept = kept.assign(id="new/" + kept["id"].str.removeprefix("test:"))
    both = found.merge(kept, on="id", suffixes=("", "_kept"))
    assert len(both) == len(found) == 12
    assert (both["predicted"] == both["predicted_kept"]).all()
    assert (both["confidence"] - both["confidence_kept"]).abs().max() <= 1e-5
    assert ((both["confidence"] + both["probability_2"]) - 1).abs().max() < 1e-6


def test_predict_names_what_it_cannot_read_and_goes_on(here: Any, at_home: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    good = "held/box/060.png"
    said = here("predict", "run", tmp_path / "bad.png", good)
    assert said.code == 0
    assert "cannot be read" in said.out
    assert "1 of 2 could not be read" in said.err
    rows = json.loads(here("predict", "run", tmp_path / "bad.png", good, "--json").out)
    assert [row["id"] for row in rows] == [str(tmp_path / "bad.png"), good]
    assert "error" in rows[0]
    table = list(csv.DictReader(io.StringIO(here("predict", "run", tmp_path / "bad.png", good, "--csv").out)))
    assert [bool(row["error"]) for row in table] == [True, False]
    assert here("predict", "run", tmp_path / "bad.png").code == 2


def test_evaluate_says_the_number_of_the_run(here: Any, at_home: Path) -> None:
    metrics = json.loads(Path("run/report.json").read_text())["metrics"]["test"]
    said = here("evaluate", "run", "held", "--json")
    assert said.code == 0
    found = json.loads(said.out)
    for name in metrics:
        assert found["metrics"][name]["value"] == pytest.approx(metrics[name]["value"], abs=1e-5), name
    text = here("evaluate", "run", "held")
    assert f"{metrics['accuracy']['value']:.3f}" in text.out
    assert max(map(len, text.out.splitlines())) <= 80


def test_report_is_made_again_from_the_folder(here: Any, at_home: Path) -> None:
    page = Path("run/report.html")
    before = page.read_bytes()
    page.unlink()
    assert here("report", "run").code == 0
    assert page.read_bytes() == before


@pytest.mark.parametrize("command", ["models", "methods", "samples", "doctor"])
def test_commands_that_look_around(command: str, here: Any, tmp_path: Path) -> None:
    said = here(command)
    assert said.code == 0
    assert said.out.strip()
    assert max(map(len, said.out.splitlines())) <= 80
    assert json.loads(here(command, "--json").out)
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_several_columns(here: Any, shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "p", 12, shapes.KINDS)
    rows = ["file,round,thin,weight"]
    for kind in shapes.KINDS:
        for i in range(12):
            rows.append(f"p/{kind}/{i:03}.png,{int(kind == 'disc')},{int(kind == 'line')},{i / 7 + len(kind):.3f}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    quick = ("fit", "t.csv", *QUICK, "--image", "file", "--strategy", "probe")
    said = here(*quick, "--labels", "round,thin", "--task", "multi-label", "--out", "several", "--json")
    assert json.loads(said.out)["task"] == {"name": "labels", "kind": "multi-label", "classes": ["round", "thin"]}
    said = here(*quick, "--label", "weight", "--metric", "rmse", "--out", "number", "--json")
    found = json.loads(said.out)
    assert found["task"]["kind"] == "regression"
    assert found["metric"] == "rmse"
    text = here("predict", "number", "p/box/000.png")
    assert text.code == 0
    assert "confidence" not in text.out
    text = here("predict", "several", "p/disc/000.png", "p/box/000.png")
    assert text.code == 0
