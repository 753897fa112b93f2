"""Folding frozen norms into convolutions changes what training costs, not what it computes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from headstart.models.backbone import Backbone
from headstart.models.opening import open_model
from headstart.models.wanted import Wanted
from headstart.train.folding import SettledNorms, find_pairs, folded_norms

# Network, its batch norms, and how many of them alone read a plain convolution: resnetv2 and densenet have norms that
# read sums or lists, TensorFlow's EfficientNets convolutions that pad in their own way.
FAMILIES = {
    "sample:efficientnet_lite0": (49, 49),
    "scratch:timm:resnet18": (20, 20),
    "scratch:timm:mobilenetv3_small_100": (34, 34),
    "scratch:timm:regnety_002": (44, 44),
    "scratch:timm:vgg11_bn": (8, 8),
    "scratch:timm:densenet121": (121, 59),
    "scratch:timm:resnetv2_50": (49, 32),
    "scratch:timm:tf_efficientnet_b0": (49, 44),
    "scratch:timm:convnext_atto": (0, 0),
}


def opened(name: str, size: int = 64) -> Backbone:
    """In float64, with norms that are far from doing nothing."""
    backbone = open_model(name, Wanted(size, 3))
    torch.manual_seed(0)
    for m in backbone.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.3)
            m.running_var.uniform_(0.5, 2)
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, 0, 0.3)
    return backbone.double().requires_grad_(True).eval()


def outcome(backbone: Backbone, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Features, and the gradient of a sum of them."""
    backbone.zero_grad()
    s = backbone.begin({"x": x})
    for _, s in backbone.walk(s):  # noqa: B007, B020
        pass
    features = backbone.pool(s, 1)
    (features * torch.linspace(-1, 1, features.numel(), dtype=x.dtype).view_as(features)).sum().backward()
    return features.detach(), {n: p.grad.clone() for n, p in backbone.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", FAMILIES)
def test_features_and_gradients_are_the_same(name: str) -> None:
    backbone = opened(name)
    x = torch.rand(4, 3, 64, 64, dtype=torch.float64)
    features, gradients = outcome(backbone, x)
    names = list(backbone.state_dict())
    with folded_norms(backbone) as pairs:
        norms = sum(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
        assert (norms, len(pairs)) == FAMILIES[name]
        folded, found = outcome(backbone, x)
        assert list(backbone.state_dict()) == names
    torch.testing.assert_close(folded, features, rtol=1e-12, atol=1e-12)
    assert found.keys() == gradients.keys()
    for n, gradient in gradients.items():
        assert (found[n] - gradient).norm() <= 1e-11 * (gradient.norm() + 1e-6), n
    assert not any("Fold" in type(m).__name__ for m in backbone.modules())


def test_a_copy_uses_its_own_norms_and_norms_that_learn_do_as_ever() -> None:
    backbone = opened("scratch:timm:resnet18")
    x = torch.rand(4, 3, 64, 64, dtype=torch.float64)
    with folded_norms(backbone):
        before = outcome(backbone, x)[0]
        other = copy.deepcopy(backbone)
        for p in other.parameters():
            p.data.mul_(1.1)
        changed = outcome(other, x)[0]
        assert torch.equal(outcome(backbone, x)[0], before)
    plain = opened("scratch:timm:resnet18")
    for p in plain.parameters():
        p.data.mul_(1.1)
    torch.testing.assert_close(changed, outcome(plain, x)[0], rtol=1e-12, atol=1e-12)

    learning, reference = opened("scratch:timm:resnet18"), opened("scratch:timm:resnet18")
    with folded_norms(learning):
        torch.testing.assert_close(outcome(learning.train(), x)[0], outcome(reference.train(), x)[0])
    for a, b in zip(learning.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(a, b)


class TwoReaders(nn.Module):
    """A convolution that is read by its norm and by a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.last(self.norm(y) + y)


def test_what_two_read_is_left_alone() -> None:
    from headstart.models.backbone import InputSpec
    from headstart.models.vision import from_module

    spec = InputSpec(size=16, native_size=16)
    backbone = from_module(TwoReaders(), ["conv", "norm", "last"], spec)
    assert find_pairs(backbone) == []


@pytest.mark.parametrize("name", FAMILIES)
def test_settled_norms_change_nothing_either(name: str) -> None:
    backbone = opened(name)
    x = torch.rand(4, 3, 64, 64, dtype=torch.float64)
    names, kinds = list(backbone.state_dict()), [type(m) for m in backbone.modules()]
    with torch.inference_mode():  # as frozen passes are
        features = everything(backbone, x)
        norms = SettledNorms(backbone)
        with norms.used():
            settled = everything(backbone, x)
            changed = sum(kind is not type(m) for kind, m in zip(kinds, backbone.modules(), strict=True))
    assert len(norms.pairs) == FAMILIES[name][1]
    assert changed == 2 * len(norms.pairs)
    torch.testing.assert_close(settled, features, rtol=1e-12, atol=1e-12)
    assert [type(m) for m in backbone.modules()] == kinds
    assert list(backbone.state_dict()) == names


def everything(backbone: Backbone, x: Tensor) -> list[Tensor]:
    """What every stage computes."""
    return [backbone.pool(s, 1) for _, s in backbone.walk(backbone.begin({"x": x}))]
