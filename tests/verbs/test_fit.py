"""`fit` through Python: every strategy, every way to give data and tasks, and what stays behind."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import headstart as hs
from headstart.core.errors import ConfigError, HeadstartError
from headstart.store.tensors import load_tree


def split_of(run: hs.Run) -> dict[str, Any]:
    return json.loads((run.path / "data.json").read_text())["split"]


def said(run: hs.Run) -> str:
    return " ".join(n["text"] for n in run.data["data"]["notes"])


def finite(metrics: dict[str, dict[str, float | None]], *names: str) -> None:
    for name in names:
        value, low, high = (metrics[name][k] for k in ("value", "low", "high"))
        assert value is not None, name
        assert low is not None, name
        assert high is not None, name
        assert low <= value <= high, name


# -- strategies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["probe", "partial", "full", "gradual", "lp-ft", "auto"])
def test_every_strategy_on_a_folder_by_class(strategy: str, shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "shapes")
    # After one step of training the guard would hand back the probe.
    run = hs.fit(tmp_path / "shapes", **shapes.QUICK, strategy=strategy, guard="off")
    assert run.path == Path("runs/shapes")
    data = run.data
    assert data["strategy"]["asked"] == strategy
    assert data["strategy"]["name"] in (("probe", "lp-ft") if strategy == "auto" else (strategy,))
    assert [t["name"] for t in data["tried"] if t["chosen"]] == [data["strategy"]["name"]]
    assert data["data"]["parts"] == {"train": 26, "test": 6}
    assert data["data"]["protocol"] == "cross-validation"
    assert data["task"] == {"name": "label", "kind": "single-label", "classes": ["box", "disc"]}
    for part in ("validation", "test"):
        finite(run.metrics[part], "accuracy", "balanced_accuracy", "macro_f1", "log_loss")
    assert set(data["baselines"]) == {"majority", "raw_features", "linear_probe"}
    # Two equal classes: always guessing one is right half of the time.
    assert data["baselines"]["majority"]["test"]["accuracy"]["value"] == 0.5
    trained, total = data["cost"]["parameters"]["trained"], data["cost"]["parameters"]["total"]
    if strategy in ("probe", "partial"):
        assert 0 < trained < total
    if strategy == "full":
        assert trained == total
    files = {p.name for p in run.path.iterdir()}
    expected = {"config.yaml", "data.json", "predictions.parquet", "report.json", "report.html", "bundle", "pictures"}
    assert expected <= files
    assert "checkpoints" not in files
    assert ".lock" not in files
    rows = pd.read_parquet(run.path / "predictions.parquet")
    assert rows["part"].value_counts().to_dict() == {"validation": 26, "test": 6}
    assert np.allclose(rows[["p_box", "p_disc"]].sum(axis=1), 1)
    correct = (rows["label"] == rows["predicted"])[rows["part"] == "test"].mean()
    assert correct == pytest.approx(run.metrics["test"]["accuracy"]["value"])


def test_a_module_is_no_backbone_yet(shapes: ModuleType) -> None:
    with pytest.raises(ConfigError, match="model is a Linear, not a reference or a Backbone"):
        hs.fit(shapes.arrays(4), model=torch.nn.Linear(2, 2))  # type: ignore[arg-type]
    assert not Path("runs").exists()


def test_unknown_names_are_refused_before_anything_is_written(shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "shapes", 4)
    wrong = [
        ({"strategy": "lpft"}, "lpft"),
        ({"metric": "acuracy"}, "accuracy"),
        ({"stage": "layer9"}, "layer"),
        ({"model": "timm:resnet5O"}, "resnet50"),
        ({"image_size": 4}, "between 8 and 2048"),
        ({"train_sizes": 5}, "train_size"),
        ({"device": "gpu"}, "'cuda'"),
    ]
    for options, near in wrong:
        with pytest.raises(HeadstartError) as caught:
            hs.fit(tmp_path / "shapes", **{**shapes.QUICK, **options})
        assert near in str(caught.value)
        assert not Path("runs").exists(), options


def test_a_refused_run_leaves_the_folders_that_were_there(shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "shapes", 4)
    (tmp_path / "mine").mkdir()
    for out in ("mine", "mine/deep/er"):
        with pytest.raises(HeadstartError):
            hs.fit(tmp_path / "shapes", **{**shapes.QUICK, "stage": "none"}, out=out)
        assert list((tmp_path / "mine").iterdir()) == []


# -- ways to give data -----------------------------------------------------------------------------------------------


def test_tables_frames_arrays_and_datasets_are_the_same_data(shapes: ModuleType, tmp_path: Path) -> None:
    import datasets

    shapes.folder(tmp_path / "shapes", 12)
    rows = [(f"shapes/{k}/{i:03}.png", k) for k in ("box", "disc") for i in range(12)]
    frame = pd.DataFrame(rows, columns=["file", "kind"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    pictures = np.stack([np.asarray(Image.open(tmp_path / f)) for f, _ in rows])
    names = np.array([k for _, k in rows])
    blobs = [(tmp_path / f).read_bytes() for f, _ in rows]
    arrow = datasets.Dataset.from_dict({"image": blobs, "label": list(names)})
    tensors = torch.utils.data.TensorDataset(
        torch.from_numpy(pictures).permute(0, 3, 1, 2), torch.from_numpy((names == "disc").astype(np.int64))
    )
    columns = {"image": "file", "label": "kind"}
    accuracies = {}
    for name, source, options in (
        ("csv", tmp_path / "t.csv", columns),
        ("parquet", str(tmp_path / "t.parquet"), columns),
        ("jsonl", tmp_path / "t.jsonl", columns),
        ("pandas", frame, columns),
        ("arrays", (pictures, names), {}),
        ("datasets", arrow, {}),
        ("torch", tensors, {}),
    ):
        run = hs.fit(source, **shapes.QUICK, strategy="probe", out=tmp_path / "out" / name, **options)
        assert run.data["data"]["samples"] == 24, name
        assert len(run.data["task"]["classes"]) == 2, name
        accuracies[name] = run.metrics["test"]["accuracy"]["value"]
    # The ids differ (and so the split); the pictures do not. A box and a disc are told apart by all of them alike.
    assert accuracies["csv"] == accuracies["parquet"] == accuracies["jsonl"] == accuracies["pandas"]


def test_multi_label(shapes: ModuleType) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 60, (48, 16, 16, 3), dtype=np.uint8)
    truth = np.stack([np.arange(48) % 2, np.arange(48) // 2 % 2, np.arange(48) // 4 % 2], 1)
    for row, flags in enumerate(truth):
        for channel in np.flatnonzero(flags):
            pictures[row, :, :, channel] += 150
    frame = pd.DataFrame(truth, columns=["red", "green", "blue"]).assign(image=list(pictures))
    run = hs.fit(frame, **shapes.QUICK, strategy="full", labels=("red", "green", "blue"), task="multi-label", lr=1e-2)
    assert run.data["task"]["kind"] == "multi-label"
    assert run.data["task"]["classes"] == ["red", "green", "blue"]
    finite(run.metrics["test"], "map", "micro_f1", "macro_f1", "subset_accuracy")
    rows = pd.read_parquet(run.path / "predictions.parquet")
    assert set(json.loads(rows["predicted"][0])) <= {"red", "green", "blue"}
    found = run.predict([pictures[1]])[0]
    assert isinstance(found["predicted"], list)


def test_regression_learns_brightness_and_predicts_numbers(shapes: ModuleType) -> None:
    rng = np.random.default_rng(0)
    target = np.linspace(1000, 2000, 60)
    rng.shuffle(target)
    noise = rng.integers(0, 40, (60, 16, 16, 3))
    pictures = (noise + (target[:, None, None, None] - 1000) / 5).clip(0, 255).astype(np.uint8)
    run = hs.fit((pictures, target), **shapes.QUICK, strategy="probe")
    assert run.data["task"]["kind"] == "regression"
    test = run.metrics["test"]
    finite(test, "mae", "rmse")
    assert test["r2"]["value"] is not None
    assert test["r2"]["value"] > 0.8
    assert test["mae"]["value"] < run.data["baselines"]["majority"]["test"]["mae"]["value"] / 2
    assert run.data["guard"]["gap"]["low"] <= run.data["guard"]["gap"]["value"]
    dark, bright = run.predict([np.full((16, 16, 3), 30, np.uint8), np.full((16, 16, 3), 210, np.uint8)])
    assert set(dark) == {"id", "predicted"}
    assert all(row["score"] > 0 for row in run.data["screen"]["rows"])  # errors, as the page shows them
    assert run.data["raw_features_name"] == "Ridge regression, pixels"
    assert 800 < dark["predicted"] < bright["predicted"] < 2200


def test_every_kind_of_picture_in_one_folder(shapes: ModuleType, tmp_path: Path) -> None:
    import pillow_heif

    root = shapes.folder(tmp_path / "mixed", 12)
    turned = Image.Exif()
    turned[0x0112] = 6
    for kind in ("box", "disc"):
        make = [shapes.draw(kind, 100 + i, 24) for i in range(8)]
        make[0].convert("L").save(root / kind / "grey.png")
        make[1].convert("RGBA").save(root / kind / "alpha.png")
        make[2].convert("CMYK").save(root / kind / "cmyk.jpg")
        deep = np.asarray(make[3].convert("L")).astype(np.uint16) * 257
        Image.fromarray(deep).save(root / kind / "deep.png")
        make[4].save(root / kind / "turned.jpg", exif=turned)
        pillow_heif.from_pillow(make[5].resize((64, 48))).save(root / kind / "phone.heic")
        make[6].convert("P").save(root / kind / "palette.gif", save_all=True, append_images=[make[7]])
    run = hs.fit(root, **shapes.QUICK, strategy="probe")
    assert run.data["data"]["samples"] == 2 * (12 + 7)
    assert run.data["data"]["channels"] == 3
    every = [str(p) for p in sorted(root.rglob("*.*"))]
    found = run.predict(every)
    assert [row["id"] for row in found] == every
    assert all(row["predicted"] in ("box", "disc") for row in found)


# -- parts -----------------------------------------------------------------------------------------------------------


def test_given_parts_are_taken_as_they_are(shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "train", 12)
    shapes.folder(tmp_path / "valid", 5, start=50)
    shapes.folder(tmp_path / "held", 4, start=70)
    run = hs.fit(tmp_path / "train", **shapes.QUICK, strategy="lp-ft", valid=tmp_path / "valid", test=tmp_path / "held")
    assert run.data["data"]["parts"] == {"train": 24, "validation": 10, "test": 8}
    assert run.data["data"]["protocol"] == "held-out"
    split = split_of(run)
    assert all(name.startswith("test:") for name in split["test"])
    rows = pd.read_parquet(run.path / "predictions.parquet")
    assert rows["part"].value_counts().to_dict() == {"validation": 10, "test": 8}


def test_options_of_reading_beside_data_that_are_read_are_not_ignored(shapes: ModuleType, tmp_path: Path) -> None:
    data = hs.load_data(shapes.arrays(8))
    shapes.folder(tmp_path / "held", 4, start=70)
    with pytest.raises(ConfigError, match="loaded already"):
        hs.fit(data, **shapes.QUICK, test=tmp_path / "held")
    assert not Path("runs").exists()


def test_groups_stay_together_and_time_orders(shapes: ModuleType) -> None:
    pictures, names = shapes.arrays(24)
    frame = pd.DataFrame({"image": list(pictures), "kind": names, "who": [f"p{i // 4 % 8}" for i in range(48)]})
    run = hs.fit(frame, **shapes.QUICK, strategy="probe", label="kind", group="who")
    split = split_of(run)
    who = dict(zip(hs.load_data(frame, label="kind", group="who").ids, frame["who"], strict=True))
    assert not {who[i] for i in split["train"]} & {who[i] for i in split["test"]}
    frame["day"] = pd.date_range("2026-01-01", periods=48).astype(str)
    run = hs.fit(frame.drop(columns="who"), **shapes.QUICK, strategy="probe", label="kind", split_by="day")
    days = dict(zip(hs.load_data(frame, label="kind", split_by="day").ids, frame["day"], strict=True))
    split = split_of(run)
    assert max(days[i] for i in split["train"]) < min(days[i] for i in split["test"])


def test_train_size_and_seeds(shapes: ModuleType) -> None:
    """`--seed` never moves the split; the same seed gives the same predictions to the last bit, another does not."""
    data = hs.load_data(shapes.arrays(30))
    options = {**shapes.QUICK, "strategy": "full", "train_size": 24, "lr": 1e-3, "batch_size": 8, "mixup": 0.2}
    options |= {"engine": "torch", "precision": "float32"}  # else measured, and a busy machine measures as it likes
    runs = [hs.fit(data, **options, seed=seed) for seed in (0, 0, 1)]
    assert [r.path.name for r in runs] == ["arrays", "arrays-2", "arrays-3"]
    assert runs[0].data["data"]["parts"] == {"train": 24, "test": 12}
    splits = [split_of(r) for r in runs]
    assert splits[0] == splits[1] == splits[2]
    weights = [(r.path / "bundle" / "model.safetensors").read_bytes() for r in runs]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]
    tables = [pd.read_parquet(r.path / "predictions.parquet") for r in runs]
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)
    assert runs[0].metrics == runs[1].metrics
    moved = hs.fit(data, **{**options, "strategy": "probe"}, split_seed=3)
    assert split_of(moved)["test"] != splits[0]["test"]


def test_from_a_thousand_samples_on_a_part_is_held_out(shapes: ModuleType) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(1300) % 2
    pictures = (rng.integers(0, 120, (1300, 8, 8, 3)) + 100 * labels[:, None, None, None]).astype(np.uint8)
    run = hs.fit((pictures, labels), **{**shapes.QUICK, "image_size": 32}, strategy="lp-ft", augment="none")
    parts = run.data["data"]["parts"]
    assert parts == {"train": 884, "validation": 156, "test": 260}
    assert run.data["data"]["protocol"] == "held-out"
    assert run.metrics["test"]["accuracy"]["value"] > 0.9
    # One epoch on the training part, judged by the held-out part; nothing is refitted.
    records = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert {r["fold"] for r in records} == {None}
    assert all("validation_metric" in r for r in records if r["kind"] == "epoch")


def test_a_class_of_one_and_a_class_only_in_the_test(shapes: ModuleType, tmp_path: Path) -> None:
    shapes.folder(tmp_path / "data" / "train", 12)
    shapes.folder(tmp_path / "data" / "train", 1, ("line",))
    shapes.folder(tmp_path / "data" / "test", 3, start=40)
    (tmp_path / "data" / "test" / "star").mkdir()
    shapes.draw("line", 90).save(tmp_path / "data" / "test" / "star" / "0.png")
    run = hs.fit(tmp_path / "data", **shapes.QUICK, strategy="lp-ft")
    assert run.data["data"]["parts"]["test"] == 7
    assert run.data["data"]["counts"]["train"]["line"] == 1
    assert "star" in said(run)
    assert "line" in said(run)
    # The picture of an unknown class counts, and counts as wrong.
    assert run.metrics["test"]["accuracy"]["value"] <= 6 / 7
    json.loads((run.path / "report.json").read_text(), parse_constant=lambda c: pytest.fail(c))


# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "lp-ft", "metric": "macro_f1", "class_weights": "balanced", "augment": "none"},
        {"strategy": "full", "lr": "find", "augment": "strong", "schedule": "one-cycle"},
        {"strategy": "full", "mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1, "augment": "none", "accumulate": 2},
        {"strategy": "partial", "last_k": 1, "bn": "adapt", "ema": False, "schedule": "slanted-triangular"},
        {"strategy": "lp-ft", "model": "scratch:timm:test_vit", "stage": "auto"},
    ],
    ids=["weighted", "find", "mixes", "partial", "vit"],
)
def test_options_run_and_are_written_down(options: dict[str, Any], shapes: ModuleType) -> None:
    x, y = shapes.arrays(16)
    keep = (y == "box") | (np.arange(len(y)) % 4 == 1)  # twice as many boxes as discs
    run = hs.fit((x[keep], y[keep]), **{**shapes.QUICK, "batch_size": 8, **options})
    kept = run.data["options"]
    for name, value in options.items():
        assert kept[name] == value
    assert run.data["metric"] == options.get("metric", "accuracy")
    assert run.data["strategy"]["name"] == options["strategy"]
    finite(run.metrics["test"], "accuracy", "macro_f1", "log_loss")


def test_no_examples_leaves_no_picture_behind(shapes: ModuleType) -> None:
    run = hs.fit(shapes.arrays(10), **shapes.QUICK, strategy="probe", examples=False)
    assert not (run.path / "pictures").exists()
    assert not any("picture" in row for row in run.data["worst"] + run.data["data"]["examples"])
    page = (run.path / "report.html").read_text()
    assert "data:image/png" not in page
    assert "data:image/jpeg" not in page


def test_verbs_are_functions_whatever_was_imported_first(shapes: ModuleType) -> None:
    """Importing the submodule `fit` must not put a module in the place of the verb."""
    import importlib

    for name in ("evaluate", "fit", "predict", "report", "estimate"):
        importlib.import_module(f"headstart.verbs.{name}")
        assert callable(getattr(importlib.import_module("headstart.verbs"), name))
    run = hs.fit(shapes.arrays(8), **shapes.QUICK, strategy="probe")
    before = (run.path / "report.html").read_bytes()
    assert hs.report(run.path) == run.path / "report.html"
    assert run.report().read_bytes() == before


def test_the_report_says_the_headline_number(shapes: ModuleType) -> None:
    run = hs.fit(shapes.arrays(16), **shapes.QUICK, strategy="lp-ft")
    page = (run.path / "report.html").read_text(encoding="utf-8")
    accuracy = run.metrics["test"]["accuracy"]
    assert f"{accuracy['value']:.3f}" in page or f"{accuracy['value'] * 100:.1f}" in page
    assert "<script src" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert len(page) < 2_000_000


def test_weights_in_bytes_and_no_pickle(shapes: ModuleType, tmp_path: Path) -> None:
    run = hs.fit(shapes.arrays(12), **shapes.QUICK, strategy="lp-ft")
    for path in run.path.rglob("*"):
        if path.is_file():
            assert path.suffix in {".safetensors", ".json", ".jsonl", ".yaml", ".parquet", ".html", ".png", ".txt"}, (
                path
            )
    import pickletools

    for path in run.path.rglob("*.safetensors"):
        with pytest.raises(ValueError):
            pickletools.dis(path.read_bytes(), out=io.StringIO())
    assert load_tree(run.path / "steps" / "screen.safetensors")
