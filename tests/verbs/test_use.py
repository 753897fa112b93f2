"""Using a model: predict, evaluate, report and resume through Python."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import headstart as hs
from headstart.core.errors import ConfigError, DataError, HeadstartError, StoreError
from headstart.data.schema import Task
from headstart.models import Wanted, open_vision, parse_reference
from headstart.models.bundle import Bundle, save_bundle
from headstart.models.model import Head, Model
from headstart.models.raw import RawPixels
from headstart.verbs.evaluate import _aligned
from headstart.verbs.evaluation import per_class
from headstart.verbs.showing import _is_the_networks


@pytest.fixture(scope="module")
def finished(shapes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> hs.Run:
    root = tmp_path_factory.mktemp("finished")
    shapes.folder(root / "train", 16)
    shapes.folder(root / "held", 6, start=60)
    return hs.fit(root / "train", **shapes.QUICK, strategy="lp-ft", test=root / "held", out=root / "run")


def test_predict_repeats_the_predictions_of_the_run(finished: hs.Run) -> None:
    held = finished.path.parent / "held"
    rows = pd.read_parquet(finished.path / "predictions.parquet").query("part == 'test'").set_index("id")
    found = hs.predict(finished.path, [str(held)], top=5)
    assert len(found) == len(rows) == 12
    for row in found:
        kept = rows.loc["test:" + Path(row["id"]).relative_to(held).as_posix()]
        assert row["predicted"] == kept["predicted"]
        assert row["confidence"] == pytest.approx(kept["confidence"], abs=1e-5)
        assert row["top"][0]["class"] == row["predicted"]
        for entry in row["top"]:
            assert entry["probability"] == pytest.approx(kept[f"p_{entry['class']}"], abs=1e-5)


def test_what_cannot_be_read_is_named_in_its_place(finished: hs.Run, shapes: ModuleType, tmp_path: Path) -> None:
    names = [tmp_path / "1.png", tmp_path / "2: a.png", tmp_path / "3.png"]
    shapes.draw("box", 1).save(names[0])
    names[1].write_bytes(b"no picture")
    shapes.draw("disc", 1).save(names[2])
    found = finished.predict([str(n) for n in names])
    assert [row["id"] for row in found] == [str(n) for n in names]
    assert ["error" in row for row in found] == [False, True, False]
    assert "not a picture" in found[1]["error"]


def test_evaluate_on_the_same_test_says_the_same(finished: hs.Run) -> None:
    found = finished.evaluate(finished.path.parent / "held")
    assert found["n"] == 12
    for name, value in finished.metrics["test"].items():
        assert found["metrics"][name]["value"] == pytest.approx(value["value"], abs=1e-5), name
    assert [row["class"] for row in found["per_class"]] == ["box", "disc"]


def test_evaluate_leaves_out_and_counts_classes_that_the_model_does_not_know(
    finished: hs.Run, shapes: ModuleType, tmp_path: Path
) -> None:
    shapes.folder(tmp_path / "more", 4, ("disc", "line"), start=90)
    found = finished.evaluate(tmp_path / "more")
    assert found["unknown_classes"] == {"line": 4}
    assert 0 <= found["metrics"]["accuracy"]["value"] <= 1
    shapes.folder(tmp_path / "none", 4, ("line",), start=90)
    shutil.copytree(tmp_path / "none" / "line", tmp_path / "none" / "star")
    with pytest.raises(DataError, match="None of the classes"):
        finished.evaluate(tmp_path / "none")


def test_evaluate_takes_data_of_a_single_class(finished: hs.Run, shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "one", 4, ("disc",), start=90)
    found = finished.evaluate(tmp_path / "one")
    assert found["n"] == 4
    assert [row["n"] for row in found["per_class"]] == [0, 4]


def test_evaluate_regression_data_on_a_classifier_is_refused(finished: hs.Run) -> None:
    data = hs.load_data((np.zeros((20, 8, 8, 3), np.uint8), np.linspace(0, 1, 20)))
    with pytest.raises(DataError, match="regression"):
        finished.evaluate(data)


def test_a_run_is_a_start_for_another(finished: hs.Run, shapes: ModuleType) -> None:
    run = hs.fit(shapes.arrays(10), **{**shapes.QUICK, "model": f"run:{finished.path}"}, strategy="probe")
    assert run.data["model"]["reference"] == f"run:{finished.path}"
    assert run.metrics["test"]["accuracy"]["value"] is not None


def test_resume_of_a_finished_run_changes_nothing_but_completes_it(finished: hs.Run, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(finished.path, copied)
    before = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    assert hs.resume(copied).metrics == finished.metrics
    assert {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()} == before
    # Killed between report.json and report.html.
    (copied / "report.html").unlink()
    hs.resume(copied)
    assert (copied / "report.html").exists()


def test_an_unfinished_run_of_objects_asks_for_them_again(finished: hs.Run, shapes: ModuleType, tmp_path: Path) -> None:
    run = hs.fit(shapes.arrays(10), **shapes.QUICK, strategy="full")
    (run.path / "report.json").unlink()
    with pytest.raises(ConfigError, match="given as an object"):
        hs.resume(run.path)
    with pytest.raises(HeadstartError, match="changed since"):
        hs.resume(run.path, shapes.arrays(10, start=3))
    weights = (run.path / "bundle" / "model.safetensors").read_bytes()
    again = hs.resume(run.path, shapes.arrays(10))
    assert (again.path / "bundle" / "model.safetensors").read_bytes() == weights
    assert again.metrics == run.metrics


def test_folders_that_are_no_runs(tmp_path: Path, finished: hs.Run, shapes: ModuleType) -> None:
    for verb in (hs.resume, hs.report, hs.Run):
        with pytest.raises(StoreError, match="not a run folder"):
            verb(tmp_path)
    with pytest.raises(StoreError, match="neither a run nor a bundle"):
        hs.predict(tmp_path, ["x.png"])
    with pytest.raises(StoreError, match="finished run"):
        hs.fit(shapes.arrays(4), **shapes.QUICK, out=finished.path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(StoreError, match="not empty"):
        hs.fit(shapes.arrays(4), **shapes.QUICK, out=tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_labels_that_are_not_known_are_not_judged() -> None:
    """Of a model of a, b and c: data without c, and samples that lack a label, or all of them."""
    there, task = (Task("y", "multi-label", tuple(names)) for names in ("ab", "abc"))
    table = np.array([[1, 0], [np.nan, np.nan], [np.nan, 1]], dtype=np.float32)
    data: Any = SimpleNamespace(labels=lambda name: table)
    labels, unknown = _aligned(data, there, "multi-label", task.classes)
    assert not unknown
    np.testing.assert_array_equal(labels, [[1, 0, 0], [np.nan] * 3, [np.nan, 1, 0]])
    rows = per_class(task, labels, np.array([[0.9, 0.1, 0.1], [0.9, 0.9, 0.9], [0.9, 0.9, 0.1]]))
    assert [(row["n"], row["precision"]) for row in rows] == [(1, 1.0), (1, 1.0), (0, None)]


@pytest.mark.parametrize("blended", [True, False])
def test_a_model_of_grey_pictures_takes_the_same_in_colour(tmp_path: Path, blended: bool) -> None:
    """The network repeats grey for its three channels: what it takes, the linear model on grey pixels takes."""
    rng = np.random.default_rng(0)
    for i in range(3):
        picture = Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8))
        for mode in ("L", "RGB"):
            for label in "ab":
                (tmp_path / mode / label).mkdir(parents=True, exist_ok=True)
                picture.convert(mode).save(tmp_path / mode / label / f"{i}.png")
    task = Task("label", "single-label", ("a", "b"))
    torch.manual_seed(0)
    bundle = Bundle(Model(RawPixels(1), {"label": Head(28 * 28, 2)}), (task,))
    if blended:
        network = open_vision(parse_reference("scratch:timm:test_resnet"), Wanted(size=32, channels=1))
        width = network.pool(network.run({"x": torch.zeros(1, 3, 32, 32)}), 1).shape[1]
        bundle = Bundle(Model(network, {"label": Head(width, 2)}).eval(), (task,), beside=bundle, weight=0.5)
    save_bundle(tmp_path / "bundle", bundle)
    grey, colour = (hs.predict(tmp_path / "bundle", str(tmp_path / mode)) for mode in ("L", "RGB"))
    assert [row["confidence"] for row in colour] == pytest.approx([row["confidence"] for row in grey], abs=1e-5)
    found = [hs.evaluate(tmp_path / "bundle", tmp_path / mode)["metrics"] for mode in ("L", "RGB")]
    assert found[0]["log_loss"]["value"] == pytest.approx(found[1]["log_loss"]["value"], abs=1e-5)
    with pytest.raises(DataError, match="channels"):
        hs.predict(tmp_path / "bundle", np.zeros((2, 40, 40, 5), np.uint8))


def test_only_the_networks_own_answers_are_explained() -> None:
    logits = np.array([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    one, several = (Task("y", kind, ("a", "b", "c")) for kind in ("single-label", "multi-label"))  # type: ignore[arg-type]

    def own(task: Task, outputs: list[list[float]]) -> list[bool]:
        job: Any = SimpleNamespace(task=task)
        return _is_the_networks(job, SimpleNamespace(logits=logits, outputs=np.array(outputs))).tolist()  # type: ignore[arg-type]

    # Of the second another model had the last word.
    assert own(one, [[0.6, 0.3, 0.1], [0.4, 0.5, 0.1]]) == [
        True,
        False,
    ]  # of the second another model had the last word
    assert own(several, [[0.9, 0.2, 0.1], [0.9, 0.8, 0.1]]) == [True, False]
