"""`adapt --seeds`: runs side by side, what holds over them, which is handed back, and that it resumes."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn.datasets import load_digits

import headstart as hs
from headstart.cli import failures
from headstart.cli.adapt import print_adaptation
from headstart.cli.main import _run
from headstart.verbs.domain.seeds import over_attempts
from headstart.verbs.run import Interrupted

GIVEN: dict[str, Any] = {
    "model": "scratch:timm:test_efficientnet",
    "image_size": 32,
    "stage": "last",
    "engine": "torch",
    "precision": "float32",
    "method": "coral,self-training",
    "seed": 5,
}


def by_class(folder: Path, part: int, shift: bool) -> Path:
    """120 digits of four classes; the target's lie deeper, in a folder `train`."""
    found = load_digits()
    rows = np.random.default_rng(0).permutation(np.flatnonzero(found.target < 4))[part * 120 : (part + 1) * 120]
    for i, row in enumerate(rows):
        place = (folder / "train" if shift else folder) / str(found.target[row])
        place.mkdir(parents=True, exist_ok=True)
        x = found.images[row] * 15
        Image.fromarray((60 + 0.6 * x if shift else x).astype(np.uint8)).save(place / f"{i:03d}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("seeds")
    return by_class(root / "source", 0, False), by_class(root / "target", 1, True)


@pytest.fixture(scope="module")
def run(data: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> hs.Run:
    return hs.adapt(*data, **GIVEN, seeds=3, out=tmp_path_factory.mktemp("seeds") / "run")


def report_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_each_seed_is_the_run_that_it_would_be_alone(run: hs.Run, data: tuple[Path, Path], tmp_path: Path) -> None:
    alone = hs.adapt(*data, **{**GIVEN, "seed": 6}, out=tmp_path / "alone")
    one, two = report_of(run.path / "seed-1"), report_of(alone.path)
    assert [r["scores"] for r in one["adaptation"]["attempts"]] == [r["scores"] for r in two["adaptation"]["attempts"]]
    assert one["metrics"] == two["metrics"]
    splits = [json.loads((run.path / f"seed-{i}" / "data.json").read_text())["split"] for i in range(3)]
    assert splits[0] == splits[1] == splits[2]


def test_intervals_are_students_over_the_seeds(run: hs.Run) -> None:
    each = [report_of(run.path / f"seed-{i}") for i in range(3)]
    over = run.data["adaptation"]["over_seeds"]
    assert [row["method"] for row in over["attempts"]] == ["source-only", "standardize", "coral", "self-training"]
    for i, row in enumerate(over["attempts"]):
        rows = [r["adaptation"]["attempts"][i] for r in each]
        for found, values in (
            (row["scores"]["infomax"], [r["scores"]["infomax"] for r in rows]),
            (row["scores"]["entropy"], [r["scores"]["entropy"] for r in rows]),
            (row["oracle"], [r["oracle"]["value"] for r in rows]),
        ):
            low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
            assert found["mean"] == pytest.approx(np.mean(values))
            share = found is row["oracle"]
            assert found["low"] == pytest.approx(max(low, 0) if share else low)
            assert found["high"] == pytest.approx(min(high, 1) if share else high)
        assert row["decided_by"] == row["scores"]["infomax"]
    assert over["attempts"][0]["scores"]["entropy"]["mean"] < 0, "scores are not cut off at 0"
    assert sum(row["picked"] for row in over["attempts"]) == 3


def test_the_run_that_is_handed_back(run: hs.Run, data: tuple[Path, Path]) -> None:
    over = run.data["adaptation"]["over_seeds"]
    best = over["best"] - 5
    for name in ("bundle/model.safetensors", "bundle/head.safetensors", "predictions.parquet", "maps.parquet"):
        assert (run.path / name).read_bytes() == (run.path / f"seed-{best}" / name).read_bytes()
    assert run.data["strategy"]["name"] == over["method"] == over["runs"][best]["picked"]
    assert run.data["seeds"] == [5, 6, 7]
    assert (run.data["options"]["seed"], run.data["options"]["seeds"]) == (5, 3)
    each = [report_of(run.path / f"seed-{i}")["cost"]["seconds"] for i in range(3)]
    assert run.data["cost"]["seconds"] == pytest.approx(sum(each), abs=0.05)
    assert len(run.predict([next(data[1].rglob("*.png"))])) == 1


def test_it_is_shown(run: hs.Run, capsys: Any) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    for text in ("Over several seeds", "What each seed picked", "picked by", "target accuracy (oracle)"):
        assert text in page
    assert "Over several seeds" not in (run.path / "seed-0" / "report.html").read_text(encoding="utf-8")
    print_adaptation(run, False)
    said = " ".join(capsys.readouterr().out.split())
    assert "3 seeds were tried" in said
    assert "mean infomax" in said


def reports(scores: list[dict[str, float]], oracle: float | None = None) -> list[dict[str, Any]]:
    """Of seeds whose methods score this; each picks its best."""
    return [
        {
            "seeds": [seed],
            "cost": {"seconds": 1.0},
            "adaptation": {
                "validator": "infomax",
                "refused": None,
                "attempts": [
                    {
                        "method": name,
                        "taken": value == max(row.values()),
                        "decided_by": value,
                        "scores": {"infomax": value},
                        "oracle": None if oracle is None else {"value": (oracle + 7 * seed) % 1},
                        "unseen": None,
                    }
                    for name, value in row.items()
                ],
            },
        }
        for seed, row in enumerate(scores)
    ]


class TestRule:
    def test_the_best_mean_wins_and_not_the_best_seed(self) -> None:
        """Seed 1 has the best score of all, by a method that the other seeds do not confirm."""
        scores = [{"a": 1.2, "b": 0.1}, {"a": 1.1, "b": 1.5}, {"a": 1.3, "b": 0.2}]
        over = over_attempts(reports(scores), ["seed-0", "seed-1", "seed-2"])
        assert (over["method"], over["best"]) == ("a", 2)
        assert {row["method"]: row["picked"] for row in over["attempts"]} == {"a": 2, "b": 1}

    def test_a_method_that_no_seed_picked_is_not_handed_back(self) -> None:
        scores = [{"a": 2.0, "b": 0.0, "c": 1.9}, {"a": 0.0, "b": 2.1, "c": 2.0}]
        over = over_attempts(reports(scores), ["seed-0", "seed-1"])
        assert over["attempts"][2]["decided_by"]["mean"] == pytest.approx(1.95)
        assert (over["method"], over["best"]) == ("b", 1)

    def test_the_oracle_has_no_say(self) -> None:
        scores = [{"a": 1.2, "b": 0.1}, {"a": 1.1, "b": 1.5}]
        found = [over_attempts(reports(scores, oracle), ["0", "1"]) for oracle in (None, 0.1, 0.9)]
        assert [(o["method"], o["best"], o["text"]) for o in found] == [("a", 0, found[0]["text"])] * 3
        assert found[0]["attempts"][0]["oracle"] is None
        assert found[1]["attempts"][0]["oracle"] is not None


class TestResuming:
    def test_what_was_stopped_in_the_second_seed(
        self, run: hs.Run, data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from headstart.store.runfolder import RunFolder

        plain = RunFolder.step

        def stopped(self: Any, name: str, compute: Any) -> Any:
            if self.path.name == "seed-1" and name == "scores-coral":
                raise KeyboardInterrupt
            return plain(self, name, compute)

        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "step", stopped)
            with pytest.raises(Interrupted) as caught:
                hs.adapt(*data, **GIVEN, seeds=3, out=tmp_path / "run")
        assert caught.value.run == tmp_path / "run"
        first = (tmp_path / "run" / "seed-0" / "report.json").stat().st_mtime_ns
        again = hs.resume(tmp_path / "run")
        assert (tmp_path / "run" / "seed-0" / "report.json").stat().st_mtime_ns == first
        kept, mine = (copy.deepcopy(r.data["adaptation"]["over_seeds"]) for r in (run, again))
        for row in (*kept["runs"], *mine["runs"]):
            del row["seconds"]
        assert kept == mine
        assert (again.path / "bundle/head.safetensors").read_bytes() == (
            run.path / "bundle/head.safetensors"
        ).read_bytes()

    def test_a_refusal_leaves_nothing(self, data: tuple[Path, Path], tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        shutil.copytree(data[1] / "train", tmp_path / "other", dirs_exist_ok=True)
        (tmp_path / "other" / "0").rename(tmp_path / "other" / "foreign")
        typed = ["adapt", "--source", str(data[0]), "--target", str(tmp_path / "other"), "--seeds", "2"]
        typed += ["--model", GIVEN["model"], "--image-size", "32", "--out", str(tmp_path / "out")]
        assert failures.guard(lambda: _run(typed), typed) == 2
        assert not (tmp_path / "out").exists()


def test_without_source_and_without_labels(data: tuple[Path, Path], tmp_path: Path) -> None:
    """Two seeds of a model that was given; the target's labels are not there at all."""
    fit = {k: GIVEN[k] for k in ("model", "image_size", "stage", "engine", "precision")}
    source = hs.fit(data[0], strategy="full", epochs=2, guard="off", blend=False, out=tmp_path / "source", **fit)
    pictures = [np.asarray(Image.open(p)) for p in sorted((data[1] / "train").rglob("*.png"))]
    given = {"model": f"run:{source.path}", "engine": "torch", "precision": "float32", "epochs": 1}
    found = hs.adapt(None, pictures, method="shot", seeds=2, out=tmp_path / "run", **given)
    over = found.data["adaptation"]["over_seeds"]
    assert [row["method"] for row in over["attempts"]] == ["source-model", "adabn", "shot"]
    assert {row["oracle"] for row in over["attempts"]} == {None}
    assert over["attempts"][0]["decided_by"]["std"] == 0
    assert over["attempts"][2]["decided_by"]["std"] > 0, "seeds must differ where something is drawn"
    assert found.metrics == {}
