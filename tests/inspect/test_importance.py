"""Gradient times input: exact for linear models, nothing for padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from headstart.data.schema import Sample
from headstart.inspect.grad_cam import grad_cam
from headstart.inspect.importance import importance
from headstart.inspect.margin import margin
from headstart.models.backbone import InputSpec, Provenance
from headstart.models.model import Head, Model
from headstart.models.opening import open_model
from headstart.models.raw import RawPixels
from headstart.models.series_backbone import SeriesBackbone
from headstart.models.wanted import Wanted
from headstart.train.batch import Batch

TEXTS = ["the cat sat", "a dog and the other dog", "rain"] * 2


class Same(nn.Module):
    def forward(self, s):
        return s


def batch_of(backbone, inputs):
    states = [backbone.preprocess(backbone.settle(Sample(str(i), x)), "plain", 0) for i, x in enumerate(inputs)]
    return Batch([str(i) for i in range(len(inputs))], {"plain": backbone.collate(states)})


@pytest.fixture
def linear() -> Model:
    spec = InputSpec("sequence", 2, 0, 0, mean=(0.0, 1.0), std=(1.0, 2.0), pooling="mean")
    backbone = SeriesBackbone({"same": Same()}, spec, Provenance("x", "x", "x", "x", "x"), 2, "rnn")
    torch.manual_seed(0)
    return Model(backbone, {"y": Head(2, 3)})


def test_values_of_a_linear_model_add_up_to_the_lead_of_its_answer(linear: Model) -> None:
    r = np.random.default_rng(0)
    inputs = [r.normal(size=(n, 2)).astype(np.float32) for n in (4, 9)]
    inputs[1][2, 0] = np.nan
    batch = batch_of(linear.backbone, inputs)
    values = importance(linear, batch)
    with torch.no_grad():
        logits = linear(batch).logits["y"]
    for i, found in enumerate(values):
        best = int(logits[i].argmax())
        others = [k for k in range(3) if k != best]
        bias = linear.heads[0].linear.bias.detach()
        lead = (logits[i] - bias)[best] - (logits[i] - bias)[others].mean()
        assert found.shape == inputs[i].shape
        assert found.sum() == pytest.approx(float(lead), abs=1e-5)
    assert values[1][2, 0] == 0


def test_a_constant_model_rests_on_nothing(linear: Model) -> None:
    nn.init.zeros_(linear.heads[0].linear.weight)
    values = importance(linear, batch_of(linear.backbone, [np.ones((5, 2), np.float32)]))
    assert (values[0] == 0).all()


@pytest.mark.parametrize("name", ["awd-lstm", "gru"])
def test_texts_have_a_value_for_every_token(name: str) -> None:
    backbone = open_model(f"scratch:{name}", Wanted(modality="text", corpus=lambda: TEXTS, arch="width=16"))
    model = Model(backbone, {"y": Head(48, 3)}).train()
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    together = importance(model, batch_of(backbone, TEXTS[:3]))
    assert [len(v) for v in together] == [len(backbone.tokenizer.encode(t)) for t in TEXTS[:3]]
    assert model.training
    for text, value in zip(TEXTS[:3], together, strict=True):
        alone = importance(model, batch_of(backbone, [text]))[0]
        assert np.allclose(alone, value, atol=1e-6)
        assert np.abs(value).sum() > 0


def test_texts_and_series_get_what_captum_gives_them(linear: Model) -> None:
    from captum.attr import InputXGradient

    backbone = open_model("scratch:gru", Wanted(modality="text", corpus=lambda: TEXTS, arch="width=16"))
    model, batch = Model(backbone, {"y": Head(48, 3)}).eval(), batch_of(backbone, TEXTS[:3])
    first = next(iter(backbone.stages))
    state = backbone.run(backbone.begin(batch.views["plain"]), upto=first)

    def lead(x: torch.Tensor) -> torch.Tensor:
        return margin(model.head(None)(backbone.pool(backbone.run({**state, "x": x}, after=first), 1)))

    expected = InputXGradient(lead).attribute(state["x"].detach().requires_grad_()).sum(-1).detach()
    for found, values, mask in zip(importance(model, batch), expected, state["mask"], strict=True):
        np.testing.assert_allclose(found, values[mask].numpy(), atol=1e-6)

    series = batch_of(linear.backbone, [np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)])
    begun = linear.backbone.begin(series.views["plain"])

    def of_series(x: torch.Tensor) -> torch.Tensor:
        return margin(linear.head(None)(linear.backbone.pool(linear.backbone.run({**begun, "x": x}), 1)))

    expected = InputXGradient(of_series).attribute(begun["x"].detach().requires_grad_()).detach()
    np.testing.assert_allclose(importance(linear, series)[0], expected[0, :, :2].numpy(), atol=1e-6)


# -- pictures ----------------------------------------------------------------------------------------------------------


def pictures(count: int = 3, side: int = 32) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (count, side, side, 3), dtype=np.uint8))


def headed(backbone, grid: int = 1) -> Model:
    """With a random head, as wide as the features are."""
    backbone.eval()
    batch = batch_of(backbone, pictures())
    with torch.no_grad():
        width = backbone.pool(backbone.run(backbone.begin(batch.views["plain"])), grid).shape[1]
    torch.manual_seed(0)
    return Model(backbone, {"y": Head(width, 3)}, grid).eval()


def test_behind_average_pooling_the_map_is_that_of_class_activation() -> None:
    """Zhou et al. 2016: weights of the answer, here of its lead, times features, place by place."""
    backbone = open_model("scratch:timm:test_resnet", Wanted(size=64))
    backbone.end_at("layer2")
    model, batch = headed(backbone), batch_of(backbone, pictures(side=64))
    maps = importance(model, batch)
    with torch.no_grad():
        output = model(batch)
        x, logits = output.final["x"], output.logits["y"]
    for i, found in enumerate(maps):
        best = int(logits[i].argmax())
        weight = model.heads[0].linear.weight.detach()
        lead = weight[best] - (weight.sum(0) - weight[best]) / 2
        expected = (lead[:, None, None] * x[i]).sum(0).clamp(min=0) / x[i, 0].numel()
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
        assert found.shape == tuple(x.shape[2:])


def test_behind_average_pooling_the_map_is_captums_grad_cam() -> None:
    from captum.attr import LayerGradCam

    backbone = open_model("scratch:timm:test_resnet", Wanted(size=64))
    backbone.end_at("layer2")
    model, batch = headed(backbone), batch_of(backbone, pictures(side=64))
    net = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.head(None))
    maps = LayerGradCam(lambda x: margin(net(x)), net[0]).attribute(
        model(batch).final["x"].detach(), relu_attributions=True
    )
    for found, expected in zip(importance(model, batch), maps.detach()[:, 0], strict=True):
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


def test_behind_a_grid_each_place_has_its_own_weights() -> None:
    backbone = open_model("scratch:timm:test_resnet", Wanted(size=64))
    backbone.end_at("layer2")
    model, batch = headed(backbone, grid=2), batch_of(backbone, pictures(side=64))
    x = model(batch).final["x"].detach()
    quarter = x.shape[-1] // 2
    with torch.no_grad():  # only the upper left cell of the grid has a say, and only for the first class
        weight = torch.zeros_like(model.heads[0].linear.weight).view(3, -1, 2, 2)
        weight[0, :, 0, 0] = 1.0
        model.heads[0].linear.weight.copy_(weight.view(3, -1))
        model.heads[0].linear.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    for found in importance(model, batch):
        assert found[:quarter, :quarter].sum() > 0
        assert found[quarter:].sum() == found[:, quarter:].sum() == 0


@pytest.mark.parametrize(
    ("name", "side"), [("test_resnet", 2), ("test_vit", None), ("test_efficientnet", None), ("test_convnext", None)]
)
def test_every_kind_of_network_has_a_map(name: str, side: int | None) -> None:
    size = 160 if name == "test_vit" else 64
    backbone = open_model(f"scratch:timm:{name}", Wanted(size=size))
    model, batch = headed(backbone), batch_of(backbone, pictures(side=size))
    model.train()
    maps = importance(model, batch)
    assert maps is not None
    assert model.training
    for found in maps:
        assert found.ndim == 2
        assert min(found.shape) > 1
        assert (found >= 0).all()
    assert any(found.sum() > 0 for found in maps)


def test_a_linear_model_without_a_network_has_none() -> None:
    model = Model(RawPixels(3), {"y": Head(768, 2)})
    assert importance(model, batch_of(model.backbone, pictures())) is None


def test_a_map_with_its_channels_last_is_one_of_places() -> None:
    """timm's Swin: where the features of one corner change the answer, the map is of that corner."""
    network = open_model("scratch:timm:swin_tiny_patch4_window7_224", Wanted(size=64))
    backbone = network.end_at(next(name for name in network.stages if "2" in name)).eval()
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    batch = Batch(["0"], {"plain": {"x": x}})
    width = backbone.pool(backbone.run(backbone.begin({"x": x})), 2).shape[1]
    model = Model(backbone, {"y": Head(width, 2)}, 2)
    with torch.no_grad():
        weight = model.heads[0].linear.weight
        weight.zero_()
        # The grid's last place counts for the second class, all else for nothing.
        weight.view(2, -1, 4)[1, :, 3] = 1.0
    (found,) = grad_cam(model, batch) or []
    side = found.shape[0]
    assert found.shape == (side, side)
    assert side > 1
    assert found[: side // 2, : side // 2].sum() == 0
