"""A model of several tasks as one graph with an output for each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from PIL import Image

import headstart as hs
from headstart.core.errors import ModelError
from headstart.core.registry import names
from headstart.data.schema import Task
from headstart.models import Wanted, open_vision, parse_reference
from headstart.models.backbone import Backbone
from headstart.models.bundle import Bundle, save_bundle
from headstart.models.model import Head, Model
from headstart.multitask import make_architecture

EXAMPLE = Path(__file__).parents[2] / "examples" / "predict_onnx.py"
TASKS = (
    Task("kind", "single-label", ("cat", "dog", "sun")),
    Task("age", "regression"),
    Task("hat+scarf", "multi-label", ("hat", "scarf")),
)


def network(size: int = 64, name: str = "test_resnet") -> Backbone:
    return open_vision(parse_reference(f"scratch:timm:{name}"), Wanted(size=size)).eval()


def heads(backbone: Backbone, tasks: tuple[Task, ...]) -> dict[str, Head]:
    side = backbone.input_spec.size
    width = backbone.pool(backbone.run(backbone.begin({"x": torch.zeros(1, 3, side, side)}))).shape[1]
    torch.manual_seed(1)
    made = {task.name: Head(width, task.outputs) for task in tasks}
    for head in made.values():
        torch.nn.init.normal_(head.linear.weight, std=0.3)
    return made


def kept(folder: Path, architecture: str = "hard", own: int | None = None, name: str = "test_resnet") -> Path:
    """A bundle of three tasks, the last with a model of its own for inputs of another size, where one is said."""
    backbone = network(name=name)
    model = make_architecture(architecture, backbone, heads(backbone, TASKS))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    bundles = {}
    if own is not None:
        alone = network(own)
        task = TASKS[2]
        bundles[task.name] = Bundle(Model(alone, heads(alone, (task,))).eval(), (task,), {task.name: 3.0})
    save_bundle(folder, Bundle(model.eval(), TASKS, {"kind": 1.7, "hat+scarf": 3.0}, own=bundles))
    return folder


def said(bundle: Path, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """What predict says of (N, 64, 64, 3) pictures: probabilities of every class in the task's order, values."""
    rows = [row["tasks"] for row in hs.predict(bundle, pictures, top=3)]
    found = {"age": np.array([[row["age"]["predicted"]] for row in rows])}
    for task in (TASKS[0], TASKS[2]):
        each = [{e["class"]: e["probability"] for e in row[task.name]["top"]} for row in rows]
        found[task.name] = np.array([[row[c] for c in task.classes] for row in each])
    return found


PICTURES = np.random.default_rng(1).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)
NAMES = {"kind": "kind.probabilities", "age": "age.value", "hat+scarf": "hat+scarf.probabilities"}


@pytest.mark.parametrize("architecture", names("architecture"))
def test_every_architecture_is_one_graph(architecture: str, tmp_path: Path) -> None:
    bundle = kept(tmp_path / "b", architecture)
    about = hs.export(bundle)
    assert [(o["task"], o["name"]) for o in about["outputs"]] == list(NAMES.items())
    assert about["outputs"][0]["temperature"] == 1.7
    assert "task" not in about
    session = onnxruntime.InferenceSession(Path(about["folder"]) / "model.onnx")
    found = said(bundle, PICTURES)
    for task, name in NAMES.items():
        (made,) = session.run([name], {"x": PICTURES.transpose(0, 3, 1, 2)})
        np.testing.assert_allclose(made, found[task], atol=2e-3, rtol=1e-3)


def test_openvino_and_a_model_of_a_tasks_own(tmp_path: Path) -> None:
    bundle = kept(tmp_path / "b", "branching", own=64)
    folder = Path(hs.export(bundle, "openvino")["folder"])
    compiled = openvino.Core().compile_model(folder / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    made = compiled({"x": PICTURES.transpose(0, 3, 1, 2)})
    for task, values in said(bundle, PICTURES).items():
        np.testing.assert_allclose(made[NAMES[task]], values, atol=2e-3, rtol=1e-3)
    without = kept(tmp_path / "without", "branching")
    assert not np.allclose(said(without, PICTURES)["hat+scarf"], said(bundle, PICTURES)["hat+scarf"], atol=1e-2)


def test_models_that_take_other_inputs_are_refused(tmp_path: Path) -> None:
    bundle = kept(tmp_path / "b", own=96)
    with pytest.raises(ModelError, match="'hat\\+scarf' has of its own takes inputs of size 96"):
        hs.export(bundle)
    assert not (bundle / "export-onnx").exists()


def test_the_example_names_the_task(tmp_path: Path) -> None:
    Image.fromarray(PICTURES[0]).save(tmp_path / "p.png")
    about = hs.export(kept(tmp_path / "b"), out=tmp_path / "out")
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), about["folder"], str(tmp_path / "p.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[1] for row in rows] == ["kind", "age", "hat+scarf"]
    (found,) = hs.predict(tmp_path / "b", [str(tmp_path / "p.png")])
    assert rows[0][2] == found["tasks"]["kind"]["predicted"]
    assert float(rows[1][3]) == pytest.approx(found["tasks"]["age"]["predicted"], rel=1e-3, abs=1e-3)
    assert json.loads((tmp_path / "out" / "model.json").read_text(encoding="utf-8"))["outputs"] == about["outputs"]
