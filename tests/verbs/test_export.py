"""What is exported computes what PyTorch computes, at any batch size, and the example needs neither of us."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from PIL import Image

import headstart as hs
from headstart.core.errors import ConfigError, ModelError, StoreError
from headstart.data.schema import Task
from headstart.models import Wanted, open_vision, parse_reference
from headstart.models.backbone import Backbone
from headstart.models.bundle import Bundle, save_bundle
from headstart.models.model import Head, Model
from headstart.models.opening import open_model
from headstart.verbs import export as verb  # the function: verbs win over modules of the same name

EXAMPLE = Path(__file__).parents[2] / "examples" / "predict_onnx.py"
CLASSES = ("cat", "dog", "sun")


def kept(folder: Path, backbone: Backbone, task: Task, width: int, grid: int = 1, temperature: float = 1.7) -> Path:
    """A bundle with a random head."""
    head = Head(width * grid * grid, task.outputs)
    with torch.no_grad():
        head.linear.weight.normal_(generator=torch.Generator().manual_seed(0))
    model = Model(backbone, {task.name: head}, grid).eval()
    save_bundle(folder, Bundle(model, (task,), {task.name: temperature}))
    return folder


def resnet(folder: Path, kind: str = "single-label") -> Path:
    backbone = open_vision(parse_reference("scratch:timm:test_resnet"), Wanted(size=64)).eval()
    backbone.end_at("layer3")
    task = Task("label", kind, () if kind == "regression" else CLASSES)  # type: ignore[arg-type]
    state = backbone.run({"x": torch.zeros(1, 3, 64, 64)})
    return kept(folder, backbone, task, state["x"].shape[1], 2)


def minilm(folder: Path) -> Path:
    backbone = open_model("sample:all-minilm-l6-v2", Wanted(size=32, channels=3, modality="text")).eval()
    return kept(folder, backbone, Task("label", "single-label", CLASSES), 384)


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    r = np.random.default_rng(0)
    paths = []
    for i, shape in enumerate([(50, 70, 3), (64, 64, 3), (90, 40, 3)]):
        Image.fromarray(r.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / f"{i}.png")
        paths.append(str(tmp_path / f"{i}.png"))
    return paths


def told(folder: str, *given: str) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), folder, *given], capture_output=True, text=True, check=True, timeout=120
    )
    return [line.split("\t") for line in done.stdout.splitlines()]


def same(rows: list[list[str]], found: list[dict[str, Any]]) -> None:
    assert [row[1] for row in rows] == [d["predicted"] for d in found]
    assert np.allclose([float(row[2]) for row in rows], [d["confidence"] for d in found], atol=1e-3)


def test_the_example_predicts_what_headstart_predicts(tmp_path: Path, photos: list[str]) -> None:
    bundle = resnet(tmp_path / "bundle")
    about = hs.export(bundle, out=tmp_path / "exported")
    assert about["agreement"]["largest_difference"] < 1e-4
    same(told(about["folder"], *photos), hs.predict(bundle, photos))


def test_the_example_reads_texts_too(tmp_path: Path) -> None:
    bundle = minilm(tmp_path / "bundle")
    about = hs.export(bundle)
    assert about["folder"] == str(bundle / "export-onnx")
    texts = ["the dog sleeps", "a warm afternoon in the sun, and more words than before"]
    same(told(about["folder"], *texts), hs.predict(bundle, texts))


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize("kind", ["single-label", "multi-label", "regression"])
def test_every_task_in_every_format(tmp_path: Path, kind: str, format: str) -> None:
    about = hs.export(resnet(tmp_path / "b", kind), format)
    assert about["agreement"]["largest_difference"] <= 1e-3
    assert about["output"]["calibrated"] == (kind != "regression")
    assert all((Path(about["folder"]) / name).stat().st_size for name in about["files"])
    assert json.loads((Path(about["folder"]) / "model.json").read_text())["task"]["kind"] == kind


def test_probabilities_are_calibrated_and_batches_of_any_size(tmp_path: Path) -> None:
    bundle = resnet(tmp_path / "b")
    session = onnxruntime.InferenceSession(Path(hs.export(bundle)["folder"]) / "model.onnx")
    pictures = np.random.default_rng(1).integers(0, 256, (7, 3, 64, 64), dtype=np.uint8)
    (made,) = session.run(None, {"x": pictures})
    assert np.allclose(made.sum(1), 1, atol=1e-5)
    found = hs.predict(bundle, pictures.transpose(0, 2, 3, 1))
    assert np.allclose(made.max(1), [d["confidence"] for d in found], atol=1e-3)
    (one,) = session.run(None, {"x": pictures[:1]})
    assert np.allclose(one, made[:1], atol=1e-5)


def test_inception_time_can_and_recurrent_networks_cannot(tmp_path: Path) -> None:
    wanted = {"size": 0, "channels": 2, "modality": "sequence", "mean": (0.5, 0), "std": (2, 1)}
    task = Task("label", "single-label", CLASSES)
    net = open_model("scratch:inception-time", Wanted(**wanted)).eval()  # type: ignore[arg-type]
    state = net.begin({"x": torch.zeros(1, 30, 2), "mask": torch.ones(1, 30, dtype=torch.bool)})
    bundle = kept(tmp_path / "net", net, task, net.pool(net.run(state)).shape[1])
    with pytest.raises(ModelError, match="--format openvino"):  # PyTorch's exporter takes its length for fixed
        hs.export(bundle)
    compiled = openvino.Core().compile_model(Path(hs.export(bundle, "openvino")["folder"]) / "model.xml", "CPU")
    series = [np.random.default_rng(i).normal(size=(n, 2)).astype(np.float32) for i, n in enumerate((40, 25, 33))]
    x, mask = np.zeros((3, 40, 2), np.float32), np.zeros((3, 40), bool)
    for i, s in enumerate(series):
        x[i, : len(s)], mask[i, : len(s)] = s, True
    made = compiled({"x": x, "mask": mask})[0]
    assert np.allclose(made.max(1), [d["confidence"] for d in hs.predict(bundle, series)], atol=2e-2)

    gru = open_model("scratch:gru", Wanted(arch="width=4,layers=1", **wanted)).eval()  # type: ignore[arg-type]
    state = gru.begin({"x": torch.zeros(1, 5, 2), "mask": torch.ones(1, 5, dtype=torch.bool)})
    width = gru.pool(gru.run(state)).shape[1]
    with pytest.raises(ModelError, match="Recurrent"):
        hs.export(kept(tmp_path / "gru", gru, task, width))
    assert not (tmp_path / "gru" / "export-onnx").exists()


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    bundle = resnet(tmp_path / "b")
    hs.export(bundle)
    with pytest.raises(StoreError, match="already"):
        hs.export(bundle)
    hs.export(bundle, force=True)


def test_unknown_formats_and_missing_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = resnet(tmp_path / "b")
    with pytest.raises(ConfigError, match="onx"):
        hs.export(bundle, "onx")
    monkeypatch.setattr(sys.modules[verb.__module__], "is_installed", lambda name: False)
    with pytest.raises(ConfigError, match="further libraries"):
        hs.export(bundle)


def test_a_graph_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[verb.__module__]
    real = module._to_onnx  # type: ignore[attr-defined]

    def wrong(*arguments: Any) -> Any:
        files, run = real(*arguments)
        return files, lambda inputs: [1 - x for x in run(inputs)]

    monkeypatch.setattr(module, "_to_onnx", wrong)
    bundle = resnet(tmp_path / "b")
    with pytest.raises(ModelError, match="differs"):
        hs.export(bundle)
    assert not (bundle / "export-onnx").exists()
    with pytest.raises(ModelError, match="differs"):
        hs.export(bundle, out=tmp_path / "deep" / "er")
    assert not (tmp_path / "deep").exists()


def test_pairs_and_windows(tmp_path: Path) -> None:
    task = Task("label", "single-label", CLASSES)
    bundle = minilm(tmp_path / "a")
    about = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps({**about, "columns": ["a", "b"]}))
    assert {x["name"] for x in hs.export(bundle)["inputs"]} == {"ids", "mask", "types"}
    windows = open_model("sample:all-minilm-l6-v2", Wanted(size=32, channels=3, modality="text", long="windows")).eval()
    with pytest.raises(ModelError, match="windows"):
        hs.export(kept(tmp_path / "b", windows, task, 384))


def test_a_folder_that_cannot_be_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[verb.__module__], "_exported", lambda *_: pytest.fail("converted"))
    bundle, real = resnet(tmp_path / "b"), Path.mkdir
    (tmp_path / "model.onnx").write_bytes(b"mine")
    with pytest.raises(StoreError, match=r"model\.onnx is a file"):
        hs.export(bundle, out=tmp_path / "model.onnx", force=True)
    with pytest.raises(StoreError, match="Not a directory"):
        hs.export(bundle, out=tmp_path / "model.onnx" / "below")

    def closed(path: Path, *arguments: Any, **named: Any) -> None:
        if path == tmp_path / "closed":
            raise PermissionError(errno.EACCES, "Permission denied")
        real(path, *arguments, **named)

    monkeypatch.setattr(Path, "mkdir", closed)
    with pytest.raises(StoreError, match="Permission denied") as caught:
        hs.export(bundle, out=tmp_path / "closed")
    assert "may not write" in caught.value.hint
