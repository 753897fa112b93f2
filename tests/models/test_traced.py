"""Networks of timm as stages: nothing lost, nothing doubled, and resumable where it is said to be."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from headstart.core.errors import ModelError
from headstart.models import TracedBackbone, Wanted, open_vision, parse_reference
from headstart.models.backbone import InputSpec
from headstart.models.torchvision_import import prepare_torchvision
from headstart.models.vision import from_module

# One of each way of building: plain chains, squeeze-excitation, norm-free, windows, relative positions, no class token,
# attention pooling; the last ones under the names that people use.
SIZES = {
    "test_byobnet": 64,
    "test_coatnet": None,
    "test_convnext": 64,
    "test_convnext2": 64,
    "test_efficientnet": 64,
    "test_efficientnet_evos": 64,
    "test_mambaout": 64,
    "test_maxvit": None,
    "test_nfnet": 64,
    "test_resnet": 64,
    "test_vit": None,
    "test_vit3": None,
    "test_vit4": None,
    "test_vit_relpos": None,
    "resnet18": 64,
    "convnext_atto": 64,
    "mobilenetv3_small_050": 64,
    "vit_tiny_patch16_224": 64,
    "swin_tiny_patch4_window7_224": 64,
}


@cache
def opened(name: str) -> TracedBackbone:
    """A network whose every tensor matters: random initialisation leaves whole blocks at zero."""
    backbone = open_vision(parse_reference(f"scratch:timm:{name}"), Wanted(size=SIZES[name])).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in backbone.net.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return backbone


def pictures(backbone: TracedBackbone, n: int = 2) -> dict[str, Tensor]:
    spec = backbone.input_spec
    shape = (n, spec.channels, spec.size, spec.size)
    return {"x": torch.rand(shape, generator=torch.Generator().manual_seed(1))}


def assert_near(a: Tensor, b: Tensor, relative: float = 1e-5) -> None:
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= relative * float(b.abs().max())


@pytest.mark.parametrize("name", SIZES)
def test_every_tensor_belongs_to_one_stage(name: str) -> None:
    backbone = opened(name)
    owned = [id(p) for parameters in backbone.stage_parameters().values() for p in parameters]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in backbone.net.parameters()}
    for parameters in backbone.stage_parameters().values():
        assert any(p.dim() > 1 for p in parameters), "a stage of norms alone is no stage"
    assert len(backbone.stages) >= 4
    if name not in ("test_coatnet", "test_maxvit"):  # half of each
        assert backbone.family == ("transformer" if "vit" in name or "swin" in name else "cnn")


@pytest.mark.parametrize("name", SIZES)
def test_statistics_belong_to_stages(name: str) -> None:
    """Running means lie inside stages, so that freezing a stage freezes them."""
    backbone = opened(name)
    inside = {id(b) for stage in backbone.stages.values() for b in stage.buffers()}
    statistics = [b for n, b in backbone.net.named_buffers() if "running_" in n or "num_batches" in n]
    assert all(id(b) in inside for b in statistics)


@pytest.mark.parametrize("name", SIZES)
@torch.no_grad()
def test_resuming_at_every_cut_equals_the_whole(name: str) -> None:
    backbone = opened(name)
    begun = backbone.begin(pictures(backbone))
    whole = backbone.run(begun)
    assert_near(whole["x"], backbone.net.forward_features(begun["x"]))
    assert_near(backbone.pool(whole), backbone.net.forward_head(whole["x"], pre_logits=True))
    seen = dict(backbone.walk(begun))
    assert list(seen) == list(backbone.stages)
    assert len(backbone.cuts) >= 2
    for cut in backbone.cuts:
        kept = backbone.run(begun, upto=cut)
        assert_near(kept["x"], seen[cut]["x"])
        resumed = backbone.run(kept, after=cut)
        assert_near(resumed["x"], whole["x"])
        assert_near(backbone.pool(resumed), backbone.pool(whole))


@pytest.mark.parametrize("name", SIZES)
@torch.no_grad()
def test_stages_change_what_flows(name: str) -> None:
    """Every stage does something: damaging its weights changes its output, and nothing before it."""
    backbone = copy.deepcopy(opened(name))
    begun = backbone.begin(pictures(backbone))
    before = {n: s["x"] for n, s in backbone.walk(begun)}
    names = list(backbone.stages)
    middle = names[len(names) // 2]
    for parameter in backbone.stage_parameters()[middle]:
        parameter.mul_(1.5).add_(0.1)
    after = {n: s["x"] for n, s in backbone.walk(begun)}
    for n in names[: names.index(middle)]:
        assert torch.equal(before[n], after[n])
    assert not torch.allclose(before[middle], after[middle], rtol=1e-3)


@pytest.mark.parametrize("name", SIZES)
@torch.no_grad()
def test_ending_early(name: str) -> None:
    """At every stage: the same state as the whole network's there, native names, later tensors gone."""
    whole = opened(name)
    begun = whole.begin(pictures(whole))
    native = {n: p.shape for n, p in whole.net.state_dict().items()}
    owners = {id(p): stage for stage, ps in whole.stage_parameters().items() for p in ps}
    names = list(whole.stages)
    chosen = {names[0], names[len(names) // 2], names[-2]}
    for stage, state in whole.walk(begun):
        if stage not in chosen:
            continue
        short = copy.deepcopy(whole).end_at(stage)
        assert short.ended_at == stage
        assert list(short.stages) == names[: names.index(stage) + 1]
        assert_near(short.run(begun)["x"], state["x"])
        assert_near(short.pool(short.run(begun)), short.pool({"x": state["x"]}))
        tensors = short.net.state_dict()
        assert all(native[n] == t.shape for n, t in tensors.items())
        kept = {n for n, p in whole.net.named_parameters() if names.index(owners[id(p)]) <= names.index(stage)}
        left = {n for n, _ in short.net.named_parameters()}
        assert left == kept
        for cut in short.cuts:
            assert_near(short.run(short.run(begun, upto=cut), after=cut)["x"], state["x"])


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_vit3"])
@torch.no_grad()
def test_copies_are_independent(name: str) -> None:
    backbone = opened(name)
    begun = backbone.begin(pictures(backbone))
    expected = backbone.pool(backbone.run(begun))
    other = copy.deepcopy(backbone)
    assert_near(other.pool(other.run(begun)), expected, 0)
    inside = {id(p) for p in other.net.parameters()}
    assert {id(p) for ps in other.stage_parameters().values() for p in ps} == inside
    for parameter in other.parameters():
        parameter.zero_()
    assert torch.equal(backbone.pool(backbone.run(begun)), expected)
    assert not torch.allclose(other.pool(other.run(begun)), expected)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_vit_relpos", "swin_tiny_patch4_window7_224"])
@torch.no_grad()
def test_pooling_grids(name: str) -> None:
    backbone = opened(name)
    begun = backbone.begin(pictures(backbone))
    for stage, state in list(backbone.walk(begun))[-2:]:
        plain = backbone.pool({"x": state["x"]}, 1)
        dense, mask = backbone.dense(state)
        assert mask is None
        assert_near(dense.mean(1), plain)
        side = round(dense.shape[1] ** 0.5)
        for grid in (1, 2, 3):
            pooled = backbone.pool({"x": state["x"]}, grid)
            assert pooled.shape == (2, plain.shape[1] * grid * grid), stage
            if side % grid == 0:
                # Cells of equal size average to the whole, and each cell is the average of its own positions.
                assert_near(pooled.reshape(2, plain.shape[1], -1).mean(2), plain)
                cells = dense.transpose(1, 2).reshape(2, -1, grid, side // grid, grid, side // grid).mean((3, 5))
                assert_near(pooled.reshape(cells.shape), cells)


@torch.no_grad()
def test_prefix_tokens_are_not_part_of_the_raster() -> None:
    """The class token of a ViT must not shift the picture by one position."""
    backbone = opened("test_vit")
    state = backbone.run(backbone.begin(pictures(backbone)))
    dense, _ = backbone.dense(state)
    assert backbone.native.prefix_tokens == 1
    assert torch.equal(dense, state["x"][:, 1:])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
@torch.no_grad()
def test_channels(name: str, channels: int) -> None:
    backbone = open_vision(parse_reference(f"scratch:timm:{name}"), Wanted(channels=channels)).eval()
    spec = backbone.input_spec
    x = torch.rand(2, channels, spec.size, spec.size)
    begun = backbone.begin({"x": x})
    network = channels if channels == 4 else 3
    assert begun["x"].shape[1] == spec.channels == len(spec.mean) == len(spec.std) == network
    assert backbone.pool(backbone.run(begun)).shape[0] == 2
    notes = " ".join(backbone.provenance.notes)
    assert ("repeated to the network's three channels" in notes) == (channels == 1)
    assert ("adapted from 3 to 4" in notes) == (channels == 4)
    if channels == 1:
        grey, colour = backbone.begin({"x": x})["x"], backbone.begin({"x": x.expand(-1, 3, -1, -1)})["x"]
        assert torch.equal(grey, colour)


@pytest.mark.parametrize("size", [96, 128, 160, 192])
@torch.no_grad()
def test_a_transformer_at_another_size(size: int) -> None:
    backbone = open_vision(parse_reference("scratch:timm:test_vit"), Wanted(size=size)).eval()
    assert (backbone.input_spec.size, backbone.input_spec.native_size) == (size, 160)
    assert any(f"enter at {size} px" in n for n in backbone.provenance.notes) == (size != 160)
    state = backbone.run(backbone.begin(pictures(backbone)))
    assert backbone.dense(state)[0].shape[1] == (size // 16) ** 2


def test_begin_scales_and_normalises() -> None:
    backbone = opened("test_resnet")
    spec = backbone.input_spec
    x = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
    expected = (x.float() / 255 - mean) / std
    begun = backbone.begin({"x": x})["x"]
    assert torch.allclose(begun, expected, atol=1e-6)
    assert begun.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(backbone.begin({"x": x.float() / 255})["x"], expected, atol=1e-6)


def test_unknown_stages_and_cuts_are_refused() -> None:
    backbone = opened("test_resnet")
    begun = backbone.begin(pictures(backbone))
    with pytest.raises(ModelError, match="no stage 'layer9'"):
        backbone.run(begun, upto="layer9")
    with pytest.raises(ModelError, match="no stage 'layer9'"):
        copy.deepcopy(backbone).end_at("layer9")


def test_seeds_make_random_weights() -> None:
    def first(seed: int) -> Tensor:
        backbone = open_vision(parse_reference("scratch:timm:test_resnet"), Wanted(seed=seed))
        return next(backbone.net.parameters()).detach()

    before = torch.random.get_rng_state()
    assert torch.equal(first(3), first(3))
    assert not torch.equal(first(3), first(4))
    assert torch.equal(torch.random.get_rng_state(), before), "opening a model must not move the caller's randomness"


def test_prepare_torchvision_is_safe_to_call_twice() -> None:
    prepare_torchvision()
    prepare_torchvision()
    import torchvision

    assert torchvision.transforms


class Recurring(nn.Module):
    """A stem, a block and its norm that are run several times, and an end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.norm = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8)
        self.middle, self.end = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 12, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(3):
            x = torch.relu(x + self.norm(self.block(x)))
        return self.end(x + self.middle(x))


@pytest.mark.parametrize("end", [None, "stem", "block", "middle"])
def test_modules_that_are_called_several_times(end: str | None) -> None:
    net = Recurring().eval()
    net.norm.running_mean += 0.3
    backbone = from_module(net, ["stem", "block", "middle", "end"], InputSpec(size=16, native_size=16))
    begun = backbone.begin({"x": torch.rand(2, 3, 16, 16)})
    stem = net.stem(begun["x"])
    block = stem
    for _ in range(3):
        block = torch.relu(block + net.norm(net.block(block)))
    # What follows a stage's last module is not seen, but where the chain begins: the norm's last call ends its stage.
    before = torch.relu(stem + net.norm(net.block(stem)))
    before = torch.relu(before + net.norm(net.block(before)))
    middle = block + net.middle(block)
    ends = {"stem": stem, "block": net.norm(net.block(before)), "middle": middle, "end": net.end(middle)}
    if end:
        backbone.end_at(end)
    upto = list(ends)[: list(ends).index(end or "end") + 1]
    assert list(backbone.stages) == upto
    for name, state in backbone.walk(begun):
        torch.testing.assert_close(state["x"], ends[name])
    for name in upto:
        torch.testing.assert_close(backbone.run(begun, upto=name)["x"], ends[name])
