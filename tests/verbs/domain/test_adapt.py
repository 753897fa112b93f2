"""`adapt` and `shift` on small digits: what is masked, what is refused, what is written, and that it resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import headstart as hs
from headstart.cli.adapt import print_adaptation
from headstart.cli.shift import print_shift
from headstart.core.errors import HeadstartError

MODEL = "scratch:timm:test_efficientnet"
QUICK: dict[str, Any] = {"model": MODEL, "image_size": 32, "engine": "torch", "precision": "float32"}
DEEP: dict[str, Any] = {**QUICK, "stage": "last", "epochs": 2, "batch_size": 32, "augment": "none"}


def digits(part: int, n: int = 150, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """(n, 8, 8) pictures and their digits; parts do not overlap, and are drawn from all writers."""
    found = load_digits()
    rows = np.random.default_rng(0).permutation(np.flatnonzero(found.target < classes))[part * n : (part + 1) * n]
    return (found.images[rows] * 15).astype(np.uint8), found.target[rows]


def shifted(x: np.ndarray) -> np.ndarray:
    """Paler, on a grey ground."""
    return (60 + 0.6 * x).astype(np.uint8)


def far_digits() -> tuple[np.ndarray, np.ndarray]:
    x, y = digits(1)
    return shifted(x), y


def as_folder(root: Path, x: np.ndarray, y: np.ndarray) -> Path:
    """Pictures by class."""
    for i, (picture, digit) in enumerate(zip(x, y, strict=True)):
        (root / str(digit)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / str(digit) / f"{i:03d}.png")
    return root


@pytest.fixture(scope="module")
def source() -> hs.Dataset:
    return hs.load_data(digits(0))


@pytest.fixture(scope="module")
def target() -> tuple[np.ndarray, np.ndarray]:
    x, y = digits(1)
    return shifted(x), y


@pytest.fixture(scope="module")
def run(source: hs.Dataset, target: tuple[np.ndarray, np.ndarray], tmp_path_factory: Any) -> hs.Run:
    out = tmp_path_factory.mktemp("adapt") / "run"
    return hs.adapt(source, target, method="coral,self-training", out=out, **QUICK)


def test_methods_train_in_the_format_asked_for(tmp_path: Path) -> None:
    data = as_folder(tmp_path / "a", *digits(0)), as_folder(tmp_path / "b", *far_digits())
    losses = {}
    for precision in ("float32", "bfloat16"):
        out = tmp_path / precision
        run = hs.adapt(*data, method="coral,dan", out=out, **{**DEEP, "precision": precision})
        assert run.data["cost"]["precision"] == precision
        log = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        losses[precision] = [r["loss"] for r in log if r["kind"] == "step"]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"][0] == pytest.approx(losses["float32"][0], rel=0.05)
    # Written anew from what was kept, it still says so.
    (tmp_path / "bfloat16" / "report.json").unlink()
    assert hs.resume(tmp_path / "bfloat16").data["cost"]["precision"] == "bfloat16"


class TestRun:
    def test_attempts_and_choice(self, run: hs.Run) -> None:
        a = run.data["adaptation"]
        assert [r["method"] for r in a["attempts"]] == ["source-only", "standardize", "coral", "self-training"]
        values = {r["method"]: r["scores"]["infomax"] for r in a["attempts"]}
        taken = next(r["method"] for r in a["attempts"] if r["taken"])
        assert taken == run.data["strategy"]["name"]
        assert values[taken] == max(values.values()) or a["refused"]
        assert a["shift"]["verdict"] in ("clear", "strong")
        assert run.data["kind"] == "adaptation"
        assert set(run.metrics) == {"source", "target (oracle)"}

    def test_predictions_are_those_of_the_bundle(self, run: hs.Run, target: tuple[np.ndarray, np.ndarray]) -> None:
        rows = pd.read_parquet(run.path / "predictions.parquet")
        assert set(rows["part"]) == {"target"}
        again = run.predict(list(target[0]))
        assert [r["predicted"] for r in again] == list(rows["predicted"])

    def test_json_is_plain(self, run: hs.Run) -> None:
        assert json.loads((run.path / "report.json").read_text()) == run.data

    def test_the_page(self, run: hs.Run) -> None:
        page = (run.path / "report.html").read_text()
        for text in ("What was tried", "How far apart the domains are", "Both domains in one map", "oracle", "coral"):
            assert text in page
        assert "<script" not in page
        before = page
        run.report()
        assert (run.path / "report.html").read_text() == before

    def test_the_terminal(self, run: hs.Run, capsys: Any) -> None:
        print_adaptation(run, False)
        said = capsys.readouterr().out
        assert "by the oracle" in said
        assert "masked" in said
        print_adaptation(run, True)
        assert json.loads(capsys.readouterr().out)["run"] == str(run.path)

    def test_it_is_a_model_for_fit(self, run: hs.Run, target: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
        fitted = hs.fit(target, model=f"run:{run.path}", strategy="probe", out=tmp_path / "fit", engine="torch")
        assert fitted.metrics["test"]["accuracy"]["value"] > 0.5

    def test_resuming_a_finished_run_does_nothing(self, run: hs.Run) -> None:
        assert hs.resume(run.path).path == run.path


def without(data: Any, *keys: str) -> Any:
    """A report without what differs from run to run, and without what the oracle may say."""
    if isinstance(data, dict):
        return {k: without(v, *keys) for k, v in data.items() if k not in keys}
    return [without(v, *keys) for v in data] if isinstance(data, list) else data


VARYING = (
    "seconds",
    "fit_seconds",
    "cost",
    "created",
    "name",
    "versions",
    "oracle",
    "unseen",
    "verdict",
    "agreement",
    "bins",
)


def test_the_targets_labels_change_nothing_but_the_oracle(
    run: hs.Run, source: hs.Dataset, target: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    x, y = target
    mixed = np.random.default_rng(3).permutation(y)
    other = hs.adapt(source, (x, mixed), method="coral,self-training", out=tmp_path / "mixed", **QUICK)
    a, b = (without(r.data, *VARYING, "metrics") for r in (run, other))
    assert a == b
    one, two = (pd.read_parquet(r.path / "predictions.parquet") for r in (run, other))
    pd.testing.assert_frame_equal(one.drop(columns=["label", "loss"]), two.drop(columns=["label", "loss"]))
    assert run.metrics["target (oracle)"] != other.metrics["target (oracle)"]
    unlabelled = hs.adapt(source, list(x), method="coral,self-training", out=tmp_path / "none", **QUICK)
    three = pd.read_parquet(unlabelled.path / "predictions.parquet")
    assert list(three["predicted"]) == list(one["predicted"])
    assert unlabelled.data["adaptation"]["verdict"] is None
    assert "target (oracle)" not in unlabelled.metrics
    page = (unlabelled.path / "report.html").read_text()
    assert "How right it is on the target is not known" in page
    assert "No result yet" not in page


@pytest.fixture(scope="module")
def deep(source: hs.Dataset, target: tuple[np.ndarray, np.ndarray], tmp_path_factory: Any) -> hs.Run:
    out = tmp_path_factory.mktemp("deep") / "run"
    return hs.adapt(source, target, method="dann+mcc,mcd,shot", out=out, **DEEP)


class TestDeep:
    def test_attempts(self, deep: hs.Run) -> None:
        rows = deep.data["adaptation"]["attempts"]
        names = [r["method"] for r in rows]
        assert names == ["source-only", "standardize", "source-network", "adabn", "dann+mcc", "mcd", "shot"]
        curves = {r["method"]: r["curve"] for r in rows}
        assert {c["epoch"] for c in curves["mcd"]} == {1, 2}
        assert not curves["source-network"]
        assert all(np.isfinite(c["score"]) and c["oracle"] is not None for c in curves["dann+mcc"])

    def test_killed_and_resumed_ends_the_same(
        self, deep: hs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a folder of pictures by class: objects cannot be read again."""
        folders = {"a": as_folder(tmp_path / "a", *digits(0)), "b": as_folder(tmp_path / "b", *far_digits())}
        given = {"method": "dann+mcc", **DEEP}
        whole = hs.adapt(folders["a"], folders["b"], out=tmp_path / "whole", **given)

        from headstart.train.loop import Trainer

        steps = {"left": 6}
        plain = Trainer._step

        def killed(self: Any, *arguments: Any) -> Any:
            if self.settings.name == "dann+mcc":
                steps["left"] -= 1
                if steps["left"] < 0:
                    raise KeyboardInterrupt
            return plain(self, *arguments)

        monkeypatch.setattr(Trainer, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            hs.adapt(folders["a"], folders["b"], out=tmp_path / "killed", **given)
        monkeypatch.undo()
        again = hs.resume(tmp_path / "killed")
        varying = ("seconds", "fit_seconds", "cost", "created", "name", "versions")
        assert without(whole.data, *varying) == without(again.data, *varying)
        assert set(whole.metrics) == {"source", "target (oracle)"}  # labels of folders are found, and masked

    def test_pictures_of_another_size_class_are_predicted(self, deep: hs.Run) -> None:
        assert len(deep.predict(list(shifted(digits(2)[0][:3])))) == 3


class TestTestTime:
    def test_tent_predicts_and_leaves_the_model_as_it_is(self, deep: hs.Run) -> None:
        x = list(shifted(digits(2)[0]))
        before = deep.predict(x)
        for how in ("tent", "tent-episodic"):
            rows = hs.predict(deep.path, x, test_time=how)
            assert len(rows) == len(x)
            assert all(0 < r["confidence"] <= 1 + 1e-9 for r in rows)
            assert rows != before
        assert deep.predict(x) == before

    def test_an_unknown_way(self, deep: hs.Run) -> None:
        with pytest.raises(HeadstartError, match="no adaptation 'tend'"):
            hs.predict(deep.path, list(digits(2)[0][:2]), test_time="tend")


class TestChoice:
    def test_a_few_target_labels_decide(self, source: hs.Dataset, tmp_path: Path) -> None:
        x, _ = digits(1)
        few_x, few_y = digits(2, 60)
        folder = tmp_path / "few"
        for i, (picture, digit) in enumerate(zip(shifted(few_x), few_y, strict=True)):
            (folder / str(digit)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / str(digit) / f"{i}.png")
        found = hs.adapt(
            source, list(shifted(x)), method="coral", target_labels=str(folder), out=tmp_path / "run", **QUICK
        )
        a = found.data["adaptation"]
        assert a["validator"] == "target labels"
        assert "60 labelled target samples" in found.data["strategy"]["reasons"][0]
        assert max(r["decided_by"] for r in a["attempts"]) <= 1

    def test_refusal(self, source: hs.Dataset, tmp_path: Path, capsys: Any) -> None:
        """By accuracy on the source nothing beats a model of the source."""
        x, _ = digits(1)
        found = hs.adapt(
            source,
            list(shifted(x)),
            method="label-propagation",
            validator="source-accuracy",
            out=tmp_path / "run",
            **QUICK,
        )
        a = found.data["adaptation"]
        assert a["refused"]
        assert found.data["strategy"]["name"] == "source-only"
        print_adaptation(found, False)
        assert capsys.readouterr().out.startswith("No adaptation is handed back")
        page = (found.path / "report.html").read_text()
        assert "Adaptation was refused.</strong> No adaptation is handed back" in page


def test_labels_of_the_part_that_is_not_adapted_to(source: hs.Dataset, tmp_path: Path) -> None:
    """They judge that part; of the rest nothing is known, and that is no number."""
    x, y = far_digits()
    for name, rows, labels in (("train", slice(0, 90), [""] * 90), ("test", slice(90, 150), y[90:])):
        pictures = as_folder(tmp_path / name, x[rows], np.zeros(len(labels), int))
        files = sorted(str(p) for p in pictures.rglob("*.png"))
        pd.DataFrame({"picture": files, "label": labels}).to_csv(tmp_path / f"{name}.csv", index=False)
    target = hs.load_data(tmp_path / "train.csv", test=tmp_path / "test.csv", task="single-label")
    options = {"method": "coral,sa,dann", "out": tmp_path / "run"}
    found = hs.adapt(source, target, **{**DEEP, **options, "epochs": 1})
    a = found.data["adaptation"]
    assert all(row["unseen"]["value"] is not None for row in a["attempts"])
    assert all(row["oracle"]["value"] is None for row in a["attempts"])
    assert (found.path / "report.html").exists()


class TestBadInput:
    def refused(self, *data: Any, **options: Any) -> str:
        with pytest.raises(HeadstartError) as error:
            hs.adapt(*data, out="bad", **{**QUICK, **options})
        assert not Path("bad").exists(), "nothing half-written"
        return str(error.value)

    def test_other_classes(self, source: hs.Dataset) -> None:
        x, y = digits(1, classes=7)
        said = self.refused(source, (x, y))
        assert "classes that the source does not have: 5, 6" in said
        assert "--model run:" in said

    def test_other_channels(self, source: hs.Dataset) -> None:
        x, _ = digits(1)
        said = self.refused(source, list(np.stack([x, x // 2, x // 3], -1)))
        assert "3 channels, the source's 1" in said

    def test_other_modality(self, source: hs.Dataset) -> None:
        texts = hs.load_data((["a b", "c d", "e f", "g h"], ["x", "y", "x", "y"]))
        assert "Both must be of one kind" in self.refused(source, texts)

    def test_nothing(self, source: hs.Dataset) -> None:
        assert "empty" in self.refused(source, [])

    def test_no_such_table(self, source: hs.Dataset) -> None:
        assert "There is no file nowhere.csv" in self.refused(source, "nowhere.csv")
        x = list(digits(1)[0])
        assert "There is no file labels.csv" in self.refused(source, x, method="coral", target_labels="labels.csv")

    def test_a_module_without_stages(self, source: hs.Dataset) -> None:
        with pytest.raises(HeadstartError, match="model is a Linear, not a reference or a Backbone"):
            hs.adapt(source, list(digits(1)[0]), out="bad", model=torch.nn.Linear(2, 2))

    def test_regression(self) -> None:
        x, y = digits(0)
        said = self.refused(hs.load_data((x, y + 0.5), task="regression"), list(x))
        assert "Adaptation is there for classes" in said

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"method": "corall"}, "no method 'corall'"),
            ({"method": "dann+nothing"}, "no method 'nothing'"),
            ({"method": "tent"}, "while it predicts"),
            ({"validator": "luck"}, "no validator 'luck'"),
            ({"methods": "coral"}, "Unknown option 'methods'"),
        ],
    )
    def test_options(self, source: hs.Dataset, options: dict[str, Any], message: str) -> None:
        assert message in self.refused(source, list(digits(1)[0]), **options)


class TestShift:
    def test_no_shift(self, source: hs.Dataset) -> None:
        found = hs.shift(source, list(digits(1)[0]), **QUICK)
        assert found["verdict"] in ("none", "mild")
        assert found["distances"]["mmd"]["p"] > 0.01
        assert sum(found["shares"]["em"]) == pytest.approx(1)

    def test_a_shift(
        self, source: hs.Dataset, target: tuple[np.ndarray, np.ndarray], capsys: Any, tmp_path: Path
    ) -> None:
        found = hs.shift(source, target, out=tmp_path / "shift", **QUICK)
        assert found["verdict"] in ("clear", "strong")
        assert found["distances"]["mmd"]["p"] == pytest.approx(0.005)
        assert json.loads((tmp_path / "shift" / "shift.json").read_text()) == found
        assert "Both domains in one map" in (tmp_path / "shift" / "shift.html").read_text()
        print_shift(found)
        said = capsys.readouterr().out
        assert "headstart adapt" in said
        assert max(len(line) for line in said.splitlines()) <= 80

    def test_shares_of_classes(self, source: hs.Dataset) -> None:
        """Planted: three of four target samples are of class 0."""
        x, y = digits(1, 200)
        kept = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y != 0)[:14]])
        found = hs.shift(source, list(x[kept]), **QUICK)
        truth = np.bincount(y[kept], minlength=5) / len(kept)
        assert np.abs(np.array(found["shares"]["em"]) - truth).max() < 0.1
