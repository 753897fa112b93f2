"""`fit --seeds`: runs side by side on one split, what holds over them, and the best of them handed back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import headstart as hs
from headstart.cli.main import _run
from headstart.core.errors import HeadstartError
from headstart.features.cache import features_dir
from headstart.verbs.run import Interrupted

EXACT = {"strategy": "full", "epochs": 2, "precision": "float32", "engine": "torch", "views": "fresh", "seed": 5}
EXACT |= {"guard": "off"}
"""Nothing is measured of the machine, so that runs can be the same to the last bit."""
WEIGHTS = ("bundle/model.safetensors", "bundle/head.safetensors")


@pytest.fixture(scope="module")
def root(shapes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a run over three seeds and a run with the second of them."""
    root = tmp_path_factory.mktemp("seeds")
    data = shapes.folder(root / "data", 24, shapes.KINDS)
    hs.fit(data, **{**shapes.QUICK, **EXACT}, seeds=3, out=root / "run")
    hs.fit(data, **{**shapes.QUICK, **EXACT, "seed": 6}, out=root / "second")
    return root


def report_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "report.json").read_text(encoding="utf-8"))


def test_each_seed_is_the_run_that_it_would_be_alone(root: Path) -> None:
    inside = root / "run" / "seed-1"
    for name in WEIGHTS:
        assert (inside / name).read_bytes() == (root / "second" / name).read_bytes()
    assert report_of(inside)["metrics"] == report_of(root / "second")["metrics"]
    splits = [json.loads((root / "run" / f"seed-{i}" / "data.json").read_text())["split"] for i in range(3)]
    assert splits[0] == splits[1] == splits[2]


def test_the_best_by_validation_is_handed_back(root: Path) -> None:
    whole, each = report_of(root / "run"), [report_of(root / "run" / f"seed-{i}") for i in range(3)]
    values = [r["metrics"]["validation"]["accuracy"]["value"] for r in each]
    best = int(np.argmax(values))
    assert [r["held_out"] for r in each] == values
    assert whole["over_seeds"]["best"] == 5 + best
    assert whole["metrics"] == each[best]["metrics"]
    for name in (*WEIGHTS, "predictions.parquet"):
        assert (root / "run" / name).read_bytes() == (root / "run" / f"seed-{best}" / name).read_bytes()
    row = pd.read_parquet(root / "run" / "predictions.parquet").query("part == 'test'").iloc[0]
    picture = root / "data" / row["id"]
    assert hs.predict(root / "run", [picture])[0]["predicted"] == row["predicted"]
    assert hs.evaluate(root / "run", root / "data")["n"] == 72


def test_the_report_says_what_holds_over_seeds(root: Path) -> None:
    whole, each = report_of(root / "run"), [report_of(root / "run" / f"seed-{i}") for i in range(3)]
    over = whole["over_seeds"]
    assert (whole["seeds"], over["part"], whole["name"]) == ([5, 6, 7], "test", "run")
    assert (whole["options"]["seed"], whole["options"]["seeds"]) == (5, 3)
    values = [r["metrics"]["test"]["accuracy"]["value"] for r in each]
    found = over["metrics"]["test"]["accuracy"]
    assert (found["mean"], found["std"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert [row["test"] for row in over["runs"]] == values
    assert set(over["metrics"]["test"]) == set(whole["metrics"]["test"])
    gaps = {gap["baseline"]: gap for gap in over["gaps"]}
    assert set(gaps) == set(whole["baselines"])
    for name, gap in gaps.items():
        mine = [v - r["baselines"][name]["test"]["accuracy"]["value"] for v, r in zip(values, each, strict=True)]
        assert gap["value"] == pytest.approx(np.mean(mine))
        assert gap["low"] < gap["value"] < gap["high"]
    nearest = min((n for n in gaps if n != "linear_probe"), key=lambda n: gaps[n]["value"])
    assert (whole["guard"]["compared_with"], whole["guard"]["gap"]["value"]) == (nearest, gaps[nearest]["value"])
    assert "over 3 seeds" in whole["guard"]["text"]
    assert whole["cost"]["seconds"] == pytest.approx(sum(r["cost"]["seconds"] for r in each), abs=0.05)
    page = (root / "run" / "report.html").read_text(encoding="utf-8")
    assert "Over several seeds" in page
    assert "Over several seeds" not in (root / "second" / "report.html").read_text(encoding="utf-8")


def test_a_gap_by_an_error_is_above_zero_where_the_model_is_better(shapes: ModuleType) -> None:
    pictures, kinds = shapes.arrays(20)
    given = {**shapes.QUICK, "strategy": "probe", "metric": "log_loss"}
    found = hs.fit((pictures, kinds), **given, seeds=2, examples=False).data
    gap = next(g for g in found["over_seeds"]["gaps"] if g["baseline"] == "majority")
    losses = [found["over_seeds"]["runs"][i]["test"] for i in range(2)]
    majority = found["baselines"]["majority"]["test"]["log_loss"]["value"]
    assert gap["value"] == pytest.approx(majority - np.mean(losses))
    assert gap["low"] < gap["value"] < gap["high"]


def test_seeds_that_an_older_version_ended_are_taken_over(root: Path, tmp_path: Path) -> None:
    """It kept neither the comparable metric nor the network's answers apart from those of what was handed back."""
    from headstart.store.tensors import load_tree, save_tree

    run = Path(shutil.copytree(root / "run", tmp_path / "run"))
    before = report_of(run)
    for i in range(3):
        report = report_of(run / f"seed-{i}")
        del report["held_out"]
        report["fallback"] = {"to": "majority", "text": "for the test"}
        (run / f"seed-{i}" / "report.json").write_text(json.dumps(report))
        answers = run / f"seed-{i}" / "steps" / "answers.safetensors"
        tree = load_tree(answers)
        del tree["network"]
        save_tree(answers, tree)
    for name in ("report.json", "report.html"):
        (run / name).unlink()
    hs.resume(run)
    after = report_of(run)
    assert after["over_seeds"] == before["over_seeds"]
    assert after["guard"] == before["guard"], "the network's own answers are lost: what was handed back is compared"


class Stop(BaseException):
    """As if the process had been killed."""


@pytest.mark.parametrize("moment", ["in the first seed", "between seeds", "in the last seed", "while copying"])
def test_what_was_stopped_goes_on_and_ends_the_same(
    moment: str, root: Path, shapes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.store.runfolder import RunFolder
    from headstart.verbs import seeds

    done: list[str] = []

    def step(self: RunFolder, name: str, compute: Any, do: Any = RunFolder.step) -> Any:
        stops = {"in the first seed": "seed-0", "in the last seed": "seed-2"}
        if name == "answers" and self.path.name == stops.get(moment):
            raise Stop
        return do(self, name, compute)

    def copy(run: Path, to: Path, do: Any = seeds.hand_back) -> None:
        do(run, to)
        if moment == "while copying":
            raise Stop

    def resume(run: Path, *more: Any, do: Any = seeds.resume) -> Any:
        done.append(run.name)
        if moment == "between seeds":
            shutil.rmtree(run)  # not even begun
            raise Stop
        return do(run, *more)

    monkeypatch.setattr(RunFolder, "step", step)
    monkeypatch.setattr(seeds, "hand_back", copy)
    monkeypatch.setattr(seeds, "resume", resume)
    shutil.copytree(root / "data", tmp_path / "data")
    with pytest.raises(Stop):
        hs.fit("data", **{**shapes.QUICK, **EXACT}, seeds=3, out="run")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert not Path("run/report.json").exists()
    kept = {p: p.stat().st_mtime_ns for p in Path("run").glob("seed-*/report.json")}
    assert len(kept) == {"in the first seed": 0, "between seeds": 1, "in the last seed": 2, "while copying": 3}[moment]
    hs.resume("run")
    assert {p: p.stat().st_mtime_ns for p in kept} == kept, "seeds that had ended are not run again"
    for i in range(3):
        for name in WEIGHTS:
            assert (Path("run") / f"seed-{i}" / name).read_bytes() == (root / "run" / f"seed-{i}" / name).read_bytes()
        assert report_of(Path("run") / f"seed-{i}")["data"]["name"] == "data"
    mine, whole = report_of(Path("run")), report_of(root / "run")
    for key in ("metrics", "seeds"):
        assert mine[key] == whole[key]
    for key in ("best", "metrics", "gaps"):
        assert mine["over_seeds"][key] == whole["over_seeds"][key]
    assert not list(Path("run").glob(".*"))
    assert hs.resume("run").data == mine


def test_ctrl_c_names_the_whole_run(root: Path, shapes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.verbs import seeds

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(seeds, "resume", interrupted)
        with pytest.raises(Interrupted) as caught:
            hs.fit(root / "data", **{**shapes.QUICK, **EXACT}, seeds=2, out="run")
    assert caught.value.run == Path("run")
    assert len(hs.resume("run").data["over_seeds"]["runs"]) == 2


def test_objects_are_given_again(shapes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.verbs import seeds

    data = shapes.arrays(16)
    with monkeypatch.context() as patch:
        patch.setattr(seeds, "hand_back", lambda *_: (_ for _ in ()).throw(Stop))
        with pytest.raises(Stop):
            hs.fit(data, **shapes.QUICK, strategy="probe", seeds=2, out="run")
    shutil.rmtree("run/seed-1")
    with pytest.raises(HeadstartError, match="given as an object"):
        hs.resume("run")
    assert hs.resume("run", data=data).data["seeds"] == [0, 1]


def test_frozen_work_is_shared(root: Path, shapes: ModuleType) -> None:
    """A pretrained network's features do not depend on the seed: the second one finds all of them."""
    given: dict[str, Any] = {
        "model": f"run:{root / 'second'}",
        "image_size": 32,
        "strategy": "probe",
        "engine": "torch",
    }
    hs.fit(root / "data", **given, out="one")
    kept = sorted(features_dir().iterdir())
    assert kept
    hs.fit(root / "data", **given, seeds=2, out="two")
    assert sorted(features_dir().iterdir()) == kept


def test_a_number_of_seeds_that_is_none_is_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from headstart.cli import failures

    def code(*typed: str) -> int:
        return failures.guard(lambda: _run(list(typed)), list(typed))

    for value in ("0", "-1", "two", "1.5"):
        assert code("fit", str(root / "data"), "--seeds", value) == 2, value
    assert "seeds" in capsys.readouterr().err
    assert code("fit", str(root / "nothing"), "--seeds", "2", "--out", "x") == 2
    assert code("fit", str(root / "data"), "--seeds", "2", "--out", str(root / "run")) == 2
    assert code("resume", "nothing") == 2
    assert list(tmp_path.iterdir()) == [], "a refused run leaves nothing"


def test_bad_data_leave_nothing(shapes: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(HeadstartError):
        hs.fit(shapes.arrays(1), **shapes.QUICK, seeds=2, out="run")
    assert list(tmp_path.iterdir()) == []


def test_a_person_reads_it_and_a_program_too(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["resume", str(root / "run")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Over 3 seeds: test accuracy" in said
    assert "is handed back: the best on validation." in said
    assert _run(["resume", str(root / "run"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {**report_of(root / "run"), "run": str(root / "run")}
    assert {*report_of(root / "second")} <= {*printed}


def test_an_estimate_counts_the_seeds(root: Path, shapes: ModuleType) -> None:
    given = {**shapes.QUICK, "strategy": "full"}
    found = hs.verbs.estimate(root / "data", **given, seeds=3)
    assert found["plan"][-1]["name"] == "seeds"
    assert found["plan"][-1]["seconds"] == pytest.approx(2 * sum(s["seconds"] for s in found["plan"][:-1]), abs=0.2)
