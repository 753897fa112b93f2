"""The bundle: opens anywhere, gives the same numbers, and plain timm reads its weights."""

from __future__ import annotations

import json
import pickletools
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from headstart.core.errors import ModelError, StoreError
from headstart.data.augment import POLICIES
from headstart.data.schema import Task
from headstart.models import TracedBackbone, Wanted, from_module, open_vision, parse_reference
from headstart.models.backbone import InputSpec
from headstart.models.bundle import Bundle, find_bundle, load_bundle, save_bundle
from headstart.models.model import Head, Model
from headstart.models.opening import open_model
from headstart.models.torchvision_import import prepare_torchvision

CLASSES = ("bird", "cat", "dog")
TASK = Task("animal", "single-label", CLASSES)


def opened(name: str, stage: str | None = None, **wanted: int) -> TracedBackbone:
    backbone = open_vision(parse_reference(f"scratch:timm:{name}"), Wanted(**wanted)).eval()
    if stage is not None:
        backbone.end_at(stage)
    return backbone


def with_heads(backbone: TracedBackbone, grid: int = 1, tasks: tuple[Task, ...] = (TASK,)) -> Model:
    """A model whose heads have every constant set, as a probe leaves them."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in backbone.net.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for name, buffer in backbone.net.named_buffers():
            if "running_" in name:
                buffer.add_(torch.rand_like(buffer))
        width = backbone.pool(backbone.run(backbone.begin(pictures(backbone))), grid).shape[1]
    heads = {}
    for task in tasks:
        head = Head(width, task.outputs)
        head.load_probe(
            torch.randn(task.outputs, width), torch.randn(task.outputs), torch.randn(width), torch.rand(width) + 0.5
        )
        head.shift.uniform_(-1, 1)
        head.spread.uniform_(0.5, 2)
        heads[task.name] = head
    return Model(backbone, heads, grid).eval()


def pictures(backbone: TracedBackbone, n: int = 2) -> dict[str, Tensor]:
    spec = backbone.input_spec
    return {"x": torch.rand(n, spec.channels, spec.size, spec.size, generator=torch.Generator().manual_seed(1))}


@torch.no_grad()
def logits(model: Model, x: dict[str, Tensor]) -> dict[str, Tensor]:
    backbone = model.backbone
    features = backbone.pool(backbone.run(backbone.begin(x)), model.grid)
    return {task: model.head(task)(features) for task in model.tasks}


def plain_timm(name: str) -> nn.Module:
    prepare_torchvision()
    import timm

    return timm.create_model(name, num_classes=len(CLASSES)).eval()


def kept(folder: Path, model: Model, tasks: tuple[Task, ...] = (TASK,)) -> Path:
    save_bundle(folder, Bundle(model, tasks, {t.name: 1.7 for t in tasks}, {"run": "pets"}))
    return folder


CASES = [
    ("test_resnet", None, 1, 64, 3),
    ("test_resnet", "layer2", 3, 64, 3),
    ("test_efficientnet", "blocks.3", 2, 64, 4),
    ("test_convnext", None, 1, 96, 1),
    ("test_vit", None, 1, 96, 3),
    ("test_vit", "blocks.2", 2, None, 3),
    ("test_vit3", None, 1, None, 3),
    ("test_vit3", "blocks.8", 1, None, 3),
]


@pytest.mark.parametrize(("name", "stage", "grid", "size", "channels"), CASES)
def test_reload_equals_original(
    tmp_path: Path, name: str, stage: str | None, grid: int, size: int | None, channels: int
) -> None:
    model = with_heads(opened(name, stage, size=size, channels=channels), grid)
    model.backbone.augmentations = {"train": POLICIES["light"]}
    x = pictures(model.backbone, 3)
    expected = logits(model, x)
    again = load_bundle(kept(tmp_path / "bundle", model))
    assert again.model.grid == grid
    assert (again.tasks, again.temperatures, again.about) == ((TASK,), {"animal": 1.7}, {"run": "pets"})
    for task, values in logits(again.model, x).items():
        assert float((values - expected[task]).abs().max()) <= 1e-5 * float(expected[task].abs().max())
    one, other = model.backbone, again.model.backbone
    assert (other.input_spec, other.ended_at) == (one.input_spec, one.ended_at)
    assert other.provenance == one.provenance
    assert other.augmentations == one.augmentations
    assert list(other.stages) == list(one.stages)
    assert not again.model.training


def test_several_tasks(tmp_path: Path) -> None:
    tasks = (TASK, Task("age", "regression"), Task("marks", "multi-label", ("a", "b")))
    model = with_heads(opened("test_resnet", size=64), 2, tasks)
    x = pictures(model.backbone)
    expected = logits(model, x)
    again = load_bundle(kept(tmp_path, model, tasks))
    assert again.tasks == tasks
    for task, values in logits(again.model, x).items():
        assert torch.allclose(values, expected[task], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit"])
def test_plain_timm_loads_full_depth_strictly(tmp_path: Path, name: str) -> None:
    model = with_heads(opened(name))
    x = pictures(model.backbone)
    folder = kept(tmp_path, model)
    net = plain_timm(name)
    net.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    with torch.no_grad():
        plain = net(model.backbone.begin(x)["x"])
    expected = logits(model, x)["animal"]
    assert float((plain - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


@pytest.mark.parametrize(
    ("name", "stage", "dropped"),
    [
        ("test_resnet", "layer2", ("layer3.", "layer4.", "fc.")),
        ("test_efficientnet", "blocks.3", ("blocks.4.", "conv_head.", "bn2.", "classifier.")),
        ("test_vit", "blocks.3", ("blocks.4.", "blocks.5.", "norm.", "head.")),
    ],
)
def test_plain_timm_loads_a_truncated_one_without_the_rest(
    tmp_path: Path, name: str, stage: str, dropped: tuple[str, ...]
) -> None:
    model = with_heads(opened(name, stage), 2)
    folder = kept(tmp_path, model)
    tensors = load_file(folder / "model.safetensors")
    net = plain_timm(name)
    # torch itself never calls the counters of batch norms missing.
    wanted = {n for n in net.state_dict() if not n.endswith("num_batches_tracked")}
    missing, unexpected = net.load_state_dict(tensors, strict=False)
    assert unexpected == []
    assert set(missing) == {n for n in wanted if n.startswith(dropped)}
    assert {n for n in tensors if not n.endswith("num_batches_tracked")} == wanted - set(missing)


def test_nothing_is_pickled(tmp_path: Path) -> None:
    folder = kept(tmp_path / "bundle", with_heads(opened("test_resnet", size=64)))
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert files == ["bundle.json", "head.safetensors", "model.safetensors"]
    for file in files:
        content = (folder / file).read_bytes()
        assert not content.startswith((b"\x80", b"PK"))
        if file.endswith(".safetensors"):
            length = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + length])
            ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
            assert 8 + length + max(ends) == len(content), "bytes besides the tensors"
        with pytest.raises(ValueError):
            list(pickletools.genops(content))


def test_bundles_are_found_in_runs(tmp_path: Path) -> None:
    folder = kept(tmp_path / "run" / "bundle", with_heads(opened("test_resnet", size=64)))
    assert find_bundle(tmp_path / "run") == find_bundle(folder) == folder
    with pytest.raises(StoreError, match="neither a run nor a bundle"):
        find_bundle(tmp_path)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("{}")
    with pytest.raises(StoreError, match=r"no model yet(?s:.*)headstart resume"):
        find_bundle(tmp_path / "begun")


def test_run_references_open_the_backbone(tmp_path: Path) -> None:
    model = with_heads(opened("test_resnet", size=64))
    kept(tmp_path / "bundle", model)
    backbone = open_model(f"run:{tmp_path}", Wanted(size=96))
    assert (backbone.input_spec.size, backbone.input_spec.native_size) == (96, 160)
    for name, tensor in model.backbone.net.state_dict().items():
        assert torch.equal(tensor, backbone.net.state_dict()[name])
    with pytest.raises(ModelError, match="scratch: cannot stand before run:"):
        open_model(f"scratch:run:{tmp_path}", Wanted())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return kept(tmp_path / "bundle", with_heads(opened("test_resnet", "layer1", size=64)))


@pytest.mark.parametrize("file", ["bundle.json", "model.safetensors", "head.safetensors"])
def test_missing_files_are_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(StoreError) as caught:
        load_bundle(folder)
    assert file in str(caught.value)


@pytest.mark.parametrize("file", ["bundle.json", "model.safetensors", "head.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_truncated_files_are_damaged(folder: Path, file: str, share: float) -> None:
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(StoreError, match="damaged"):
        load_bundle(folder)


@pytest.mark.parametrize("content", ["[]", "{}", '"bundle"', '{"schema": 1}', '{"schema": "one"}'])
def test_other_json_is_damaged(folder: Path, content: str) -> None:
    (folder / "bundle.json").write_text(content)
    with pytest.raises(StoreError, match="damaged"):
        load_bundle(folder)


def test_newer_schemas_are_refused(folder: Path) -> None:
    meta = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**meta, "schema": 2, "library": {"of": "tomorrow"}}))
    with pytest.raises(StoreError, match="newer Headstart"):
        load_bundle(folder)


def test_lacking_tensors_are_named(folder: Path) -> None:
    from safetensors.torch import save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["layer1.0.conv1.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(StoreError, match=r"layer1\.0\.conv1\.weight"):
        load_bundle(folder)


def test_tensors_of_other_shapes_are_damage(folder: Path) -> None:
    from safetensors.torch import save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["layer1.0.conv1.weight"] = torch.zeros(2, 2)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(StoreError, match=r"layer1\.0\.conv1\.weight"):
        load_bundle(folder)


def test_own_modules_say_what_to_do(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3))
    backbone = from_module(net, ["0", "2"], InputSpec(size=16, native_size=16))
    head = Head(6, 3)
    folder = kept(tmp_path, Model(backbone, {"animal": head}))
    assert set(load_file(folder / "model.safetensors")) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    with pytest.raises(ModelError, match=r"module given in Python(?s:.*)load model\.safetensors"):
        load_bundle(folder)


@pytest.fixture(scope="module")
def local_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of transformers in a plain folder, saved with a classifier and so without a pooler."""
    prepare_torchvision()
    import transformers

    transformers.utils.logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(2)
    size = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
    config = transformers.ViTConfig(**size, image_size=32, patch_size=8)
    transformers.ViTForImageClassification(config).save_pretrained(folder / "classifier")
    transformers.ViTModel(config).save_pretrained(folder / "model")
    return folder


@pytest.mark.parametrize("stage", [None, "layers.0"])
@pytest.mark.parametrize("size", [None, 48])
@pytest.mark.parametrize("saved", ["classifier", "model"])
def test_networks_of_transformers(
    tmp_path: Path, local_vit: Path, saved: str, size: int | None, stage: str | None
) -> None:
    from transformers import AutoModel

    backbone = open_vision(parse_reference(f"hf:{local_vit / saved}"), Wanted(size=size)).eval()
    if stage is not None:
        backbone.end_at(stage)
    model = with_heads(backbone, 1 if stage is None else 2)
    x = pictures(backbone)
    expected = logits(model, x)["animal"]
    folder = kept(tmp_path / "bundle", model)
    again = load_bundle(folder)
    assert float((logits(again.model, x)["animal"] - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
    assert list(again.model.backbone.stages) == list(backbone.stages)
    # The tensors have the names that transformers gives them.
    theirs = AutoModel.from_pretrained(local_vit / saved).state_dict()
    tensors = load_file(folder / "model.safetensors")
    assert set(tensors) <= set(theirs)
    if stage is None:
        assert {n for n in theirs if n not in tensors} <= {"pooler.dense.weight", "pooler.dense.bias"}


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"arguments": {"checkpoint_path": "secret.pth"}}, StoreError, "checkpoint_path"),
        ({"arguments": {"img_size": 64, "pretrained_cfg": {"hf_hub_id": "a/b"}}}, StoreError, "pretrained_cfg"),
        ({"architecture": "hf-hub:somebody/anything"}, ModelError, "hf-hub:somebody/anything"),
        ({"architecture": "local-dir:/tmp/anything"}, ModelError, "local-dir:/tmp/anything"),
    ],
)
def test_a_bundle_from_elsewhere_opens_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changed: dict, error: type[Exception], said: str
) -> None:
    prepare_torchvision()
    import timm

    meta = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**meta, **changed}))
    monkeypatch.setattr(timm, "create_model", lambda *a, **b: pytest.fail("timm was asked for it"))
    with pytest.raises(error) as caught:
        load_bundle(folder)
    assert said in str(caught.value)
    assert caught.value.hint
