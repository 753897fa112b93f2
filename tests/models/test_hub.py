"""Weights through the hub's real code, from a cache laid out as it lays it out, with the hub out of reach.

The hub's client reads its settings once, at import; so each situation is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from headstart.models.opening import open_model
from headstart.models.torchvision_import import prepare_torchvision
from headstart.models.wanted import Wanted

COMMIT = "0123456789abcdef0123456789abcdef01234567"

OPEN = """
import json, sys, warnings
warnings.simplefilter("error")
import torch
from headstart.core.errors import HeadstartError
from headstart.models import Wanted, list_models
from headstart.models.opening import open_model

said = {}
for name, reference, size in json.loads(sys.argv[1]):
    try:
        b = open_model(reference, Wanted(size=size))
    except HeadstartError as error:
        said[name] = {"error": type(error).__name__ + ": " + str(error)}
        continue
    x = torch.rand(2, 3, b.input_spec.size, b.input_spec.size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        begun = b.begin({"x": x})
        whole = b.run(begun)
        cuts = [float((b.run(b.run(begun, upto=c), after=c)["x"] - whole["x"]).abs().max()) for c in b.cuts]
    owned = [id(p) for ps in b.stage_parameters().values() for p in ps]
    said[name] = {
        "stages": list(b.stages), "cuts": list(b.cuts), "worst": max(cuts), "pooled": b.pool(whole).tolist(),
        "grid": list(b.pool(whole, 2).shape), "mean": b.input_spec.mean, "size": b.input_spec.size,
        "fixed": b.input_spec.fixed_size, "family": b.family, "notes": " ".join(b.provenance.notes),
        "source": b.provenance.source, "licence": b.provenance.licence, "hash": b.provenance.sha256,
        "once": len(owned) == len(set(owned)) and set(owned) == {id(p) for p in b.net.parameters()},
        "dense": b.dense(whole)[0].shape[1], "head": b.source_head is not None,
    }
print(json.dumps({"said": said, "models": list_models()}))
"""


def ask(home: Path, cases: list[tuple[str, str, int | None]], **settings: str) -> dict[str, Any]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE"))}
    environment |= {"HF_HOME": str(home), "OMP_NUM_THREADS": "1", **settings}
    done = subprocess.run(
        [sys.executable, "-c", OPEN, json.dumps(cases)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == "", "opening a model is quiet"
    return json.loads(done.stdout)


def place(home: Path, repository: str) -> Path:
    folder = home / "hub" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    return snapshot


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prepare_torchvision()
    import timm
    import transformers
    from timm.models import save_for_hf

    transformers.utils.logging.disable_progress_bar()
    root = tmp_path_factory.mktemp("hub")
    torch.manual_seed(7)
    for name in ("test_resnet.r160_in1k", "test_vit.r160_in1k"):
        save_for_hf(timm.create_model(name), str(place(root, f"timm/{name}")), safe_serialization=True)
    size = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
    vit = transformers.ViTModel(transformers.ViTConfig(**size, image_size=32, patch_size=8))
    folder = place(root, "acme/tiny-vit")
    vit.save_pretrained(folder)
    processor = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    classifier = transformers.ViTForImageClassification(transformers.ViTConfig(**size, image_size=32, patch_size=8))
    classifier.save_pretrained(place(root, "acme/classifier"))
    convnext = transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1], image_size=64)
    transformers.ConvNextModel(convnext).save_pretrained(place(root, "acme/tiny-convnext"))
    swin = transformers.SwinConfig(
        image_size=32, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4
    )
    transformers.SwinModel(swin).save_pretrained(place(root, "acme/tiny-swin"))
    dino = transformers.Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28)
    transformers.Dinov2Model(dino).save_pretrained(place(root, "acme/tiny-dino"))
    bert = transformers.BertConfig(vocab_size=9, **size)
    transformers.BertModel(bert).save_pretrained(place(root, "acme/bert"))
    broken = place(root, "acme/broken")
    vit.save_pretrained(broken)
    tensors = load_file(broken / "model.safetensors")
    tensors.pop("layernorm.weight")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    damaged = place(root, "acme/damaged")
    vit.save_pretrained(damaged)
    (damaged / "model.safetensors").write_bytes((damaged / "model.safetensors").read_bytes()[:1000])
    return root


@pytest.fixture(scope="module")
def offline(home: Path) -> dict[str, Any]:
    cases: list[tuple[str, str, int | None]] = [
        ("resnet", "timm:test_resnet.r160_in1k", None),
        ("bare", "timm:test_resnet", 64),
        ("vit", "timm:test_vit", None),
        ("vit at 96", "timm:test_vit", 96),
        ("hf vit", "hf:acme/tiny-vit", None),
        ("hf vit at 48", "hf:acme/tiny-vit", 48),
        ("folder", f"hf:{home}/hub/models--acme--tiny-vit/snapshots/{COMMIT}", None),
        ("scratch", "scratch:hf:acme/tiny-vit", None),
        ("classifier", "hf:acme/classifier", None),
        ("classifier again", "hf:acme/classifier", None),
        ("convnext", "hf:acme/tiny-convnext", None),
        ("swin", "hf:acme/tiny-swin", None),
        ("dino", "hf:acme/tiny-dino", None),
        ("bert", "hf:acme/bert", None),
        ("broken", "hf:acme/broken", None),
        ("damaged", "hf:acme/damaged", None),
        ("absent", "hf:acme/absent", None),
        ("absent timm", "timm:resnet18", None),
        ("no folder", f"hf:{home}/nothing", None),
        ("near", "timm:test_resnett", None),
        ("tag", "timm:test_resnet.a1", None),
    ]
    return ask(home, cases, HF_HUB_OFFLINE="1")


def weights(home: Path, repository: str) -> dict[str, torch.Tensor]:
    return load_file(home / "hub" / f"models--{repository}" / "snapshots" / COMMIT / "model.safetensors")


def reference_pooled(home: Path, repository: str, said: dict[str, Any], std: float | None = None) -> torch.Tensor:
    """What the library itself gives for the same pictures."""
    from transformers import AutoModel

    net = AutoModel.from_pretrained(home / "hub" / f"models--{repository}" / "snapshots" / COMMIT).eval()
    x = torch.rand(2, 3, said["size"], said["size"], generator=torch.Generator().manual_seed(1))
    mean = torch.tensor(said["mean"]).view(1, 3, 1, 1)
    deviation = torch.tensor([std] * 3 if std else [0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.no_grad():
        return net(pixel_values=(x - mean) / deviation).pooler_output.flatten(1)


def test_timm_weights_come_out_of_the_cache(home: Path, offline: dict[str, Any]) -> None:
    from headstart.models.weights import hash_tensors

    for name, repository in (("resnet", "timm--test_resnet.r160_in1k"), ("vit", "timm--test_vit.r160_in1k")):
        said = offline["said"][name]
        assert said["hash"] == hash_tensors(weights(home, repository))
        assert said["licence"] == "apache-2.0"
        assert said["head"]
        assert said["worst"] < 1e-4
    assert offline["said"]["bare"]["hash"] == offline["said"]["resnet"]["hash"]
    assert offline["said"]["bare"]["size"] == 64


def test_positions_of_a_transformer_are_resampled(offline: dict[str, Any]) -> None:
    assert (offline["said"]["vit"]["dense"], offline["said"]["vit at 96"]["dense"]) == (100, 36)
    assert (offline["said"]["hf vit"]["dense"], offline["said"]["hf vit at 48"]["dense"]) == (16, 36)
    assert "trained at 32 px" in offline["said"]["hf vit at 48"]["notes"]


@pytest.mark.parametrize(
    ("name", "repository", "stages", "std"),
    [
        ("hf vit", "acme--tiny-vit", ["embeddings", "layers.0", "layers.1", "layers.2", "pooler"], 0.25),
        ("convnext", "acme--tiny-convnext", ["embeddings", *(f"encoder.stages.{i}" for i in range(4))], None),
        ("swin", "acme--tiny-swin", None, None),
        ("dino", "acme--tiny-dino", None, None),
    ],
)
def test_networks_of_transformers(
    home: Path, offline: dict[str, Any], name: str, repository: str, stages: list[str] | None, std: float | None
) -> None:
    """Stages, cuts, and the pooling that the library itself has."""
    said = offline["said"][name]
    assert said["once"]
    assert said["stages"] == (stages or said["stages"])
    assert len(said["stages"]) >= 3
    # Stages of this Swin are told the size of the raster from outside, so only its end can be kept.
    assert len(said["cuts"]) >= (1 if name == "swin" else len(said["stages"]) - 1)
    assert said["worst"] < 1e-5
    assert not said["fixed"]
    expected = reference_pooled(home, repository, said, std)
    assert torch.allclose(torch.tensor(said["pooled"]), expected, atol=1e-5)
    assert said["family"] == ("cnn" if name == "convnext" else "transformer")


def test_preprocessing_is_read_or_its_absence_said(offline: dict[str, Any]) -> None:
    assert offline["said"]["hf vit"]["mean"] == [0.5, 0.5, 0.5]
    assert offline["said"]["hf vit"]["notes"] == ""
    assert "ImageNet's mean and deviation are used" in offline["said"]["convnext"]["notes"]


def test_a_folder_equals_the_cache(offline: dict[str, Any]) -> None:
    assert offline["said"]["folder"]["pooled"] == offline["said"]["hf vit"]["pooled"]
    assert offline["said"]["scratch"]["hash"] != offline["said"]["hf vit"]["hash"]
    assert "random" in offline["said"]["scratch"]["notes"]


def test_a_pooler_that_is_not_in_the_file_is_left_out(home: Path, offline: dict[str, Any]) -> None:
    """transformers would fill it with random numbers, others at every opening."""
    said = offline["said"]["classifier"]
    assert "pooler" not in said["stages"]
    assert said == offline["said"]["classifier again"]
    assert not any("pooler" in n for n in weights(home, "acme--classifier"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bert", ["not a vision model (bert)"]),
        ("broken", ["layernorm.weight"]),
        ("damaged", ["cannot be opened"]),
        ("absent", ["not on this machine", "sample:efficientnet_lite0", "hf:acme/tiny-vit", "timm:test_vit.r160_in1k"]),
        ("absent timm", ["not on this machine", "sample:efficientnet_lite0", "timm:test_vit.r160_in1k"]),
        ("no folder", ["There is no folder"]),
        ("near", ["Did you mean timm:test_resnet"]),
        ("tag", ["no weights 'a1'", "test_resnet.r160_in1k"]),
    ],
)
def test_what_goes_wrong_is_said(offline: dict[str, Any], name: str, words: list[str]) -> None:
    error = offline["said"][name]["error"]
    assert error.startswith("ModelError: ")
    for word in words:
        assert word in error


def test_the_cache_is_listed(offline: dict[str, Any]) -> None:
    rows = {row["reference"]: row for row in offline["models"]}
    assert rows["timm:test_resnet.r160_in1k"]["image_size"] == 160
    assert rows["timm:test_resnet.r160_in1k"]["licence"] == "apache-2.0"
    assert rows["hf:acme/tiny-vit"]["offline"]
    assert "sample:efficientnet_lite0" in rows


def test_a_hub_that_does_not_answer_costs_no_time(home: Path) -> None:
    """What is cached opens, what is not is refused, without the client's minute of attempts per file."""
    start = time.monotonic()
    found = ask(
        home,
        [("vit", "hf:acme/tiny-vit", None), ("absent", "hf:acme/absent", None), ("timm", "timm:resnet18", None)],
        HF_ENDPOINT="http://127.0.0.1:9",
    )["said"]
    assert time.monotonic() - start < 40
    assert found["vit"]["stages"][0] == "embeddings"
    for name in ("absent", "timm"):
        assert "Available offline: " in found[name]["error"]


def test_weights_of_half_as_many_bits_and_channels_in_another_order(tmp_path: Path) -> None:
    """Opened in float32, as they are normalised, and turned round to take RGB."""
    import transformers

    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1], image_size=64)
    torch.manual_seed(3)
    net = transformers.ConvNextModel(config).to(torch.bfloat16)
    net.save_pretrained(tmp_path / "plain")
    net.save_pretrained(tmp_path / "bgr")
    about = {"do_normalize": False, "do_flip_channel_order": True}
    (tmp_path / "bgr" / "preprocessor_config.json").write_text(json.dumps(about))
    plain, bgr = (open_model(f"hf:{tmp_path / name}", Wanted(size=64)).eval() for name in ("plain", "bgr"))
    assert {p.dtype for p in plain.parameters()} == {torch.float32}
    assert plain.input_spec.mean == (0.485, 0.456, 0.406)
    assert any("No preprocessing" in note for note in plain.provenance.notes)
    assert (bgr.input_spec.mean, bgr.input_spec.std) == ((0.0,) * 3, (1.0,) * 3)
    assert any("take RGB" in note for note in bgr.provenance.notes)
    x = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (plain.input_spec.mean, plain.input_spec.std))
    same = x.flip(1) * std + mean  # what plain normalises to the same numbers, in the order that its weights take
    with torch.no_grad():
        a, b = (n.pool(n.run(n.begin({"x": v}))) for n, v in ((bgr, x), (plain, same)))
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    # As the classes of such networks write it: they take the values as they are unless told otherwise.
    for said, mean in (({"do_flip_channel_order": True}, 0.0), ({**about, "do_normalize": True}, 0.485)):
        (tmp_path / "bgr" / "preprocessor_config.json").write_text(json.dumps(said))
        assert open_model(f"hf:{tmp_path / 'bgr'}", Wanted(size=64)).input_spec.mean[0] == mean
