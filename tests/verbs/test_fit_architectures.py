"""fit with every architecture: on a CNN, an RNN and a Transformer; bundle, resume, report, and what is refused."""

from __future__ import annotations

import csv
import html
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import headstart as hs
from headstart.core.errors import ConfigError, StoreError
from headstart.core.registry import names
from headstart.data import LoadOptions
from headstart.data.schema import Task
from headstart.models.backbone import Backbone
from headstart.models.bundle import Bundle, load_bundle, save_bundle
from headstart.models.model import Head, Model
from headstart.models.opening import open_model
from headstart.models.wanted import Wanted
from headstart.multitask import make_architecture, read_architecture
from headstart.train.inference import outputs
from headstart.train.phase import Phase, Strategy
from headstart.train.reader import Reader
from headstart.verbs.interpolation import interpolate, snapshot
from headstart.verbs.prefix import cut_of
from headstart.verbs.tasks.model import with_sharing

OTHERS = [name for name in names("architecture") if name != "hard"]
NETWORKS = ("test_resnet", "test_vit", "gru")
TASKS = (
    Task("kind", "single-label", ("box", "disc")),
    Task("bright", "regression"),
    Task("more", "multi-label", ("a",)),
)


def pictures(shapes: ModuleType, root: Path, count: int = 14) -> Path:
    """A table of pictures with a kind and a brightness."""
    from PIL import Image

    x, kinds = shapes.arrays(count)
    for i, picture in enumerate(x):
        Image.fromarray(picture).save(root / f"{i}.png")
    files = [f"{i}.png" for i in range(len(x))]
    pd.DataFrame({"file": files, "kind": kinds, "bright": x.mean(axis=(1, 2, 3)).round(3)}).to_csv(
        root / "people.csv", index=False
    )
    return root / "people.csv"


def series(root: Path, count: int = 28) -> Path:
    """A long table of series with a kind and a mean of each."""
    r = np.random.default_rng(0)
    with open(root / "curves.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "time", "a", "b", "kind", "level"))
        for i in range(count):
            x = r.normal(size=(9, 2)) + (i % 2)
            for t, (a, b) in enumerate(x):
                row = (f"s{i}", t, round(float(a), 3), round(float(b), 3), "box" if i % 2 else "disc")
                writer.writerow((*row, round(float(x.mean()), 3)))
    return root / "curves.csv"


def quick(shapes: ModuleType, **options: Any) -> dict[str, Any]:
    common = {"labels": "kind,bright", "image": "file", "augment": "none", "precision": "float32", "lr": 1e-3}
    # Of a single step the rate would be zero.
    return {**shapes.QUICK, **common, "guard": "off", "epochs": 2, "batch_size": 8, **options}


def opened(name: str) -> Backbone:
    wanted = Wanted(32)
    if name == "gru":
        wanted = Wanted(0, 2, 0, "layers=2,width=8", "sequence", mean=(0.0, 0.0), std=(1.0, 1.0))
    return open_model("scratch:gru" if name == "gru" else f"scratch:timm:{name}", wanted).eval()


def samples(name: str, shapes: ModuleType) -> hs.Dataset:
    x, kinds = shapes.arrays(4)
    if name == "gru":
        x = np.random.default_rng(0).normal(size=(8, 12, 2)).astype(np.float32)
        return hs.load_data((x, kinds), LoadOptions(modality="sequence"))
    return hs.load_data((x, kinds))


def logits(model: Model, data: hs.Dataset) -> dict[str, np.ndarray]:
    return outputs(model.eval(), Reader({"all": data}, model.backbone, 0), "all").logits


def made(name: str, architecture: str, data: hs.Dataset, **options: Any) -> Model:
    """A model of three tasks on a real network, with other weights everywhere."""
    backbone = opened(name)
    batch = Reader({"all": data}, backbone, 0).batch("all", range(2), ("plain",), labels=False)
    with torch.no_grad():
        width = backbone.pool(backbone.run(backbone.begin(batch.views["plain"]))).shape[1]
    torch.manual_seed(0)
    heads = {task.name: Head(width, task.outputs) for task in TASKS}
    model = make_architecture(architecture, backbone, heads, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("architecture", OTHERS)
def test_a_bundle_gives_the_same_answers(architecture: str, network: str, shapes: ModuleType, tmp_path: Path) -> None:
    data = samples(network, shapes)
    model = made(network, architecture, data)
    before = logits(model, data)
    assert not np.allclose(before["kind"][:, 0], before["bright"][:, 0])
    save_bundle(tmp_path / "b", Bundle(model, TASKS))
    found = load_bundle(tmp_path / "b").model
    after = logits(found, data)
    for task in TASKS:
        np.testing.assert_array_equal(before[task.name], after[task.name])
    assert type(found) is type(model)
    meta = json.loads((tmp_path / "b" / "bundle.json").read_text(encoding="utf-8"))["sharing"]
    assert meta["architecture"] == architecture


def test_a_bundle_of_branches_holds_shared_stages_once(shapes: ModuleType, tmp_path: Path) -> None:
    data = samples("test_resnet", shapes)
    for after in ("input", "layer3"):
        model = made("test_resnet", "branching", data, after=after)
        save_bundle(tmp_path / after, Bundle(model, TASKS))
    top = sum(t.nbytes for t in model.backbone.stages["layer4"].state_dict().values())
    size = (tmp_path / "layer3" / "sharing.safetensors").stat().st_size
    assert 2 * top <= size < 2.1 * top
    (tmp_path / "input" / "sharing.safetensors").write_bytes((tmp_path / "layer3" / "sharing.safetensors").read_bytes())
    with pytest.raises(StoreError, match="damaged"):
        load_bundle(tmp_path / "input")
    # What a run: reference asks of a bundle is the network.
    assert list(open_model(f"run:{tmp_path / 'layer3'}", Wanted(32)).stages) == list(opened("test_resnet").stages)


@pytest.mark.parametrize("architecture", OTHERS)
def test_fit_predicts_what_it_says(architecture: str, shapes: ModuleType, tmp_path: Path) -> None:
    table = pictures(shapes, tmp_path)
    run = hs.fit(table, **quick(shapes, architecture=architecture))
    assert run.data["sharing"]["architecture"] == architecture
    rates = run.data["strategy"]["phases"][-1]["rates"]
    assert ("sharing" in rates) == (architecture not in ("branching", "soft-sharing"))
    assert ("layer4" in rates) == (architecture not in ("adapters", "norms"))
    meta = json.loads((run.path / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    assert meta["sharing"]["architecture"] == architecture
    said = {row["id"]: row["tasks"] for row in run.predict(table)}
    test = pd.read_parquet(run.path / "predictions.parquet").query("part == 'test'").set_index(["task", "id"])
    for name in test.loc["bright"].index:
        assert float(test.loc[("bright", name), "predicted"]) == pytest.approx(
            said[name]["bright"]["predicted"], rel=1e-4
        )
        assert test.loc[("kind", name), "predicted"] == said[name]["kind"]["predicted"]
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert f">{architecture}<" in page
    assert run.data["sharing"]["how"] in html.unescape(page)


@pytest.mark.parametrize("architecture", OTHERS)
@pytest.mark.parametrize("family", ["rnn", "transformer"])
def test_fit_on_other_families(architecture: str, family: str, shapes: ModuleType, tmp_path: Path) -> None:
    if family == "rnn":
        gru: dict[str, Any] = {
            "model": "scratch:gru",
            "arch": "layers=2,width=8",
            "epochs": 2,
            "batch_size": 8,
            "lr": 1e-3,
            "precision": "float32",
        }
        of = {"series": "a,b", "id": "id", "time": "time", "labels": "kind,level:regression", "guard": "off"}
        run = hs.fit(series(tmp_path), **gru, **of, architecture=architecture)
    else:
        run = hs.fit(
            pictures(shapes, tmp_path), **quick(shapes, model="scratch:timm:test_vit", architecture=architecture)
        )
    assert run.data["model"]["family"] == family
    for task in run.tasks.values():
        assert task["metrics"]["test"][task["metric"]]["value"] is not None
    assert [t.name for t in load_bundle(run.path / "bundle").tasks] == list(run.tasks)


@pytest.mark.parametrize("architecture", ["mmoe:2", "branching:layer2"])
def test_a_killed_run_ends_as_it_would_have(architecture: str, shapes: ModuleType, tmp_path: Path) -> None:
    """What an architecture draws at random is drawn again; a held-out part lets weights be averaged with the start."""
    table = pictures(shapes, tmp_path)
    frame = pd.read_csv(table)
    frame.iloc[:16].to_csv(tmp_path / "train.csv", index=False)
    frame.iloc[16:22].to_csv(tmp_path / "valid.csv", index=False)
    frame.iloc[22:].to_csv(tmp_path / "test.csv", index=False)
    given = {"valid": tmp_path / "valid.csv", "test": tmp_path / "test.csv", "interpolate": True}
    run = hs.fit(tmp_path / "train.csv", **quick(shapes, architecture=architecture, **given))
    again = tmp_path / "again"
    shutil.copytree(run.path, again)
    for left in (*again.glob("steps/shared*"), again / "report.json", again / "report.html"):
        left.unlink()
    shutil.rmtree(again / "bundle")
    assert hs.resume(again).metrics == run.metrics
    a, b = (load_bundle(path / "bundle").model.state_dict() for path in (run.path, again))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_another_process_predicts_the_same(shapes: ModuleType, tmp_path: Path) -> None:
    table = pictures(shapes, tmp_path)
    run = hs.fit(table, **quick(shapes, architecture="cgc:1"))
    command = [sys.executable, "-m", "headstart.cli", "predict", str(run.path), str(table), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    there = json.loads(done.stdout)
    rows = there["predictions"] if isinstance(there, dict) else there
    here = run.predict(table)
    assert [r["tasks"]["kind"]["predicted"] for r in rows] == [r["tasks"]["kind"]["predicted"] for r in here]
    assert rows[0]["tasks"]["bright"]["predicted"] == pytest.approx(here[0]["tasks"]["bright"]["predicted"], rel=1e-5)


# -- rates, kept activations, averages ---------------------------------------------------------------------------------


def test_what_is_shared_is_given_a_rate(shapes: ModuleType) -> None:
    data = samples("test_resnet", shapes)
    head, all_ = Phase("head", {"head": 1.0}, 1), Phase("all", {"layer3": 0.5, "layer4": 1.0, "head": 0.1}, 2)
    strategy = Strategy("s", (head, all_))
    frozen = with_sharing(strategy, made("test_resnet", "adapters", data))
    assert [phase.rates for phase in frozen.phases] == [{"head": 0.1, "sharing": 10.0}]
    mixed = with_sharing(strategy, made("test_resnet", "mmoe", data))
    assert [phase.rates for phase in mixed.phases] == [{"head": 1.0}, {**all_.rates, "sharing": 3.0}]
    stitched = with_sharing(strategy, made("test_resnet", "cross-stitch", data))
    assert stitched.phases[1].rates["sharing"] == 100.0
    assert with_sharing(strategy, made("test_resnet", "branching", data)) == strategy
    assert with_sharing(strategy, made("test_resnet", "hard", data)) == strategy


def test_activations_are_kept_no_further_than_tasks_share_them(shapes: ModuleType) -> None:
    backbone, top = opened("test_resnet"), Phase("top", {"layer4": 1.0}, 1)
    assert cut_of(backbone, top)[0] == "layer3"
    assert cut_of(backbone, top, common=list(backbone.stages).index("layer1") + 1)[0] == "layer1"
    assert cut_of(backbone, top, common=0) == (None, [])


def test_stages_that_branches_share_are_averaged_once(shapes: ModuleType) -> None:
    data = samples("test_resnet", shapes)
    model = made("test_resnet", "branching", data, after="layer3")
    begun = snapshot(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    interpolate(model, begun, 0.5)
    for name, value in model.named_parameters():
        torch.testing.assert_close(value - begun[name], torch.full_like(value, 0.5), msg=name)


def test_a_branch_may_be_given_to_some_tasks_only(shapes: ModuleType) -> None:
    data = samples("test_resnet", shapes)
    model = made("test_resnet", "branching", data, after="layer2", own=["bright"])
    assert len(model.copies) == 1
    first, second = model.network_of("kind"), model.network_of("bright")  # type: ignore[operator]
    assert model.network_of("more") is first  # type: ignore[operator]
    assert first.stages["layer2"] is second.stages["layer2"]
    assert first.stages["layer3"] is not second.stages["layer3"]
    found = logits(model, data)
    alone = Model(second, {"bright": model.head("bright")})
    np.testing.assert_allclose(logits(alone, data)["bright"], found["bright"], atol=1e-5)
    with pytest.raises(ConfigError, match="no task 'x' to branch off"):
        made("test_resnet", "branching", data, own=["x"])


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_how_an_architecture_is_typed() -> None:
    assert read_architecture("cross-stitch:0.8") == ("cross-stitch", {"own": 0.8})
    assert read_architecture("adapters:4") == ("adapters", {"rank": 4})
    assert read_architecture("norms") == ("norms", {})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"architecture": "mmo"}, "Unknown architecture 'mmo'"),
        ({"architecture": "mmoe:many"}, "experts of mmoe must be a whole number"),
        ({"architecture": "soft-sharing:x"}, "must be a number"),
        ({"architecture": "norms:2"}, "takes no value"),
        ({"architecture": "branching:layer9"}, "cannot branch after 'layer9'"),
        ({"architecture": "mmoe:0"}, "0 experts"),
        ({"architecture": "mmoe", "strategy": "probe"}, "trains nothing"),
        ({"architecture": "adapters", "balance": "mgda"}, "no gradients to balance"),
        ({"architecture": "branching:input", "balance": "gradnorm"}, "no gradients to balance"),
    ],
)
def test_architectures_that_do_not_fit_are_refused(
    options: dict[str, Any], said: str, shapes: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        hs.fit(pictures(shapes, tmp_path, 8), **quick(shapes, **options))
    assert not Path("runs").exists()


@pytest.mark.parametrize("architecture", ["branching", "cross-stitch", "cgc"])
def test_gradients_are_balanced_where_tasks_meet(architecture: str, shapes: ModuleType, tmp_path: Path) -> None:
    run = hs.fit(pictures(shapes, tmp_path, 10), **quick(shapes, architecture=architecture, balance="mgda"))
    lines = (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [json.loads(line) for line in lines if '"step"' in line]
    weights = [[s["terms"][f"weight.{task}"] for task in run.tasks] for s in steps if s["kind"] == "step"]
    assert not np.allclose(weights, 1.0)
