"""Attention in parts is PyTorch's attention, drops what it should, and leaves to PyTorch what it does not cover."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.models.opening import open_model
from headstart.models.wanted import Wanted
from headstart.train import attention
from headstart.train.attention import _Parts, attention_in_parts

SHAPES = [(1, 1, 1, 1, 2), (3, 2, 5, 5, 4), (2, 3, 7, 4, 8), (5, 4, 40, 40, 8)]


class Backbone:
    family = "transformer"


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, ...]:
    """Query, key and value as networks have them: (B, L, H, D), turned."""
    b, h, length, keys, d = shape
    r = torch.Generator().manual_seed(seed)
    made = (torch.randn(b, n, h, d, generator=r, dtype=torch.float64) for n in (length, keys, keys))
    return tuple(x.to(dtype).transpose(1, 2).requires_grad_() for x in made)


def padding(b: int, keys: int) -> Tensor:
    """(B, 1, 1, S): every sample has another number of keys, at least one."""
    return (torch.arange(keys) < (1 + torch.arange(b) % keys)[:, None])[:, None, None]


def gradients(out: Tensor, over: tuple[Tensor, ...]) -> list[Tensor]:
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    return list(torch.autograd.grad((out * weights).sum(), over))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """The shapes that went through parts."""
    seen: list[tuple] = []
    real = _Parts.apply
    monkeypatch.setattr(_Parts, "apply", lambda *args: (seen.append(tuple(args[0].shape)), real(*args))[1])
    return seen


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("masked", ["no", "padding", "pairs"])
@pytest.mark.parametrize("at_once", [1, 100, 2**20])
def test_without_dropout_it_is_pytorchs(
    shape: tuple[int, ...], masked: str, at_once: int, calls: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "AT_ONCE", at_once)
    b, _, length, keys, _ = shape
    mask = {"no": None, "padding": padding(b, keys), "pairs": torch.rand(b, 1, length, keys) < 0.7}[masked]
    if masked == "pairs":
        mask[..., 0] = True
    x = inputs(shape)
    expected = F.scaled_dot_product_attention(*x, attn_mask=mask)
    with attention_in_parts(Backbone(), torch.device("cpu")):
        out = F.scaled_dot_product_attention(*x, attn_mask=mask)
    assert len(calls) == 1
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(gradients(out, x), gradients(expected, x), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_with_dropout_it_is_the_formula(shape: tuple[int, ...], calls: list) -> None:
    """The weights that were dropped show where the values are one-hot; with them, autograd gives the same."""
    p, b, keys = 0.25, shape[0], shape[3]
    q, k, v = inputs(shape)
    mask, scale = padding(b, keys), 0.3

    def attend(values: Tensor) -> Tensor:
        torch.manual_seed(5)
        with attention_in_parts(Backbone(), torch.device("cpu")):
            return F.scaled_dot_product_attention(q, k, values, attn_mask=mask, dropout_p=p, scale=scale)

    hot = torch.eye(keys, dtype=torch.float64).expand(*v.shape[:2], keys, keys)
    weights = (scale * q @ k.transpose(-1, -2)).masked_fill(~mask, -torch.inf).softmax(-1)
    dropped = attend(hot)
    factors = torch.where(weights > 0, dropped / weights.clamp_min(1e-300), 0.0).detach()
    assert ((factors < 1e-9) | ((factors - 1 / (1 - p)).abs() < 1e-9)).all()
    expected, out = (weights * factors) @ v, attend(v)
    assert len(calls) == 2
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-12)
    for mine, theirs in zip(gradients(out, (q, k, v)), gradients(expected, (q, k, v)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-11)


def drop_by_attention(p: float) -> Tensor:
    b, h, n = 8, 4, 50
    q, k = (torch.zeros(b, h, n, 4, requires_grad=True) for _ in range(2))
    hot = torch.eye(n).expand(b, h, n, n)
    return n * F.scaled_dot_product_attention(q, k, hot, dropout_p=p)


def drop_by_layer(p: float) -> Tensor:
    return torch.nn.Dropout(p)(torch.ones(300, 267, requires_grad=True))


@pytest.mark.parametrize("drop", [drop_by_attention, drop_by_layer])
@pytest.mark.parametrize("p", [0.1, 0.5, 1 / 3])
def test_as_many_are_dropped_as_asked_and_independently(p: float, drop: Callable[[float], Tensor]) -> None:
    torch.manual_seed(0)
    with attention_in_parts(Backbone(), torch.device("cpu")):
        out = drop(p).detach().double()
    gone = (out == 0).double()
    torch.testing.assert_close(out, (1 - gone) / (1 - p), rtol=1e-4, atol=1e-4)
    count = gone.numel()
    assert abs(float(gone.mean()) - p) < 4 * (p * (1 - p) / count) ** 0.5
    flat = gone.flatten() - gone.mean()
    for lag in (1, 2, 3, 4, 50, 2500):  # neighbours share a draw of 64 bits
        assert abs(float((flat[lag:] * flat[:-lag]).mean())) < 4 * p * (1 - p) / count**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_drop_the_same_backwards(dtype: torch.dtype) -> None:
    x = torch.randn(7, 5, 3, dtype=dtype).transpose(0, 2).requires_grad_()
    with attention_in_parts(Backbone(), torch.device("cpu")):
        out = torch.nn.Dropout(0.25)(x)
    assert out.dtype == dtype
    (factors,) = torch.autograd.grad(out.sum(), x)
    assert set(factors.unique().tolist()) == {0.0, float(torch.tensor(4 / 3, dtype=dtype))}
    assert torch.equal(out, x * factors)


@pytest.mark.parametrize("case", ["evaluated", "all", "nearly all", "none", "no gradient", "in place"])
def test_dropout_that_is_left_to_pytorch(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_kept", lambda *_: pytest.fail("drawn here"))
    layer = torch.nn.Dropout(
        {"all": 1.0, "nearly all": 1 - 1e-9, "none": 0.0}.get(case, 0.4), inplace=case == "in place"
    )
    layer.train(case != "evaluated")
    x = torch.randn(50, requires_grad=case != "no gradient")
    torch.manual_seed(0)
    with attention_in_parts(Backbone(), torch.device("cpu")):
        out = layer(x * 1)
    torch.manual_seed(0)
    assert torch.equal(out, layer(x * 1))


def test_what_comes_out_is_right_on_average() -> None:
    x = inputs((200, 2, 6, 6, 4), torch.float32)
    q, k, v = (y[:1].detach().expand(200, -1, -1, -1).requires_grad_() for y in x)
    torch.manual_seed(0)
    with attention_in_parts(Backbone(), torch.device("cpu")):
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=0.3)
    expected = F.scaled_dot_product_attention(q[:1], k[:1], v[:1])[0]
    error = out.std(0) / 200**0.5
    assert float(((out.mean(0) - expected) / error).abs().max().detach()) < 4.5


def test_the_seed_decides() -> None:
    x = inputs((4, 2, 9, 9, 4), torch.float32)

    def attend(seed: int) -> Tensor:
        torch.manual_seed(seed)
        with attention_in_parts(Backbone(), torch.device("cpu")):
            return F.scaled_dot_product_attention(*x, dropout_p=0.2)

    assert torch.equal(attend(1), attend(1))
    assert not torch.equal(attend(1), attend(2))


def test_short_formats_are_as_near_as_pytorchs() -> None:
    """Gradients in bfloat16 against those in float64; PyTorch's kernel is as far off."""
    shape = (4, 4, 64, 64, 32)
    exact = inputs(shape)
    truth = gradients(F.scaled_dot_product_attention(*exact), exact)
    x = inputs(shape, torch.bfloat16)
    theirs = gradients(F.scaled_dot_product_attention(*x), x)
    with attention_in_parts(Backbone(), torch.device("cpu")):
        mine = gradients(F.scaled_dot_product_attention(*x), x)
    for a, b, t in zip(mine, theirs, truth, strict=True):
        scale = float(t.norm())
        assert float((a.double() - t).norm()) / scale < 2 * float((b.double() - t).norm()) / scale < 0.04


def test_autocast_decides_the_format(calls: list) -> None:
    x = inputs((2, 2, 5, 5, 4), torch.float32)
    with torch.autocast("cpu", torch.bfloat16), attention_in_parts(Backbone(), torch.device("cpu")):
        out = F.scaled_dot_product_attention(*x)
    assert out.dtype == torch.bfloat16
    assert all(g.dtype == torch.float32 for g in gradients(out, x))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("sample:all-minilm-l6-v2", 6), ("scratch:timm:vit_tiny_patch16_224", 12)],
)
def test_networks_get_the_same_gradients(name: str, blocks: int, calls: list) -> None:
    text = "minilm" in name
    backbone = open_model(name, Wanted(16, 3, modality="text") if text else Wanted(32, 3)).double()
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    r = torch.Generator().manual_seed(0)
    begun = (
        {"ids": torch.randint(5, 900, (3, 16), generator=r), "mask": torch.arange(16) < torch.tensor([[16], [9], [3]])}
        if text
        else backbone.begin({"x": torch.rand(3, 3, 32, 32, generator=r, dtype=torch.float64)})
    )

    def trained(inside: bool) -> dict[str, Tensor]:
        torch.manual_seed(0)
        backbone.train()
        with attention_in_parts(backbone, torch.device("cpu" if inside else "meta")):
            x = backbone.pool(backbone.run(begun))
        backbone.zero_grad()
        (x * torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)).sum().backward()
        return {n: p.grad for n, p in backbone.named_parameters() if p.grad is not None}

    expected, mine = trained(False), trained(True)
    assert len(calls) == blocks
    assert mine.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(mine[key], value, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "case",
    ["causal", "weighted", "no key", "no gradient", "float32 without dropout", "long", "three dimensions", "cnn"],
)
def test_the_rest_is_left_to_pytorch(case: str, calls: list, monkeypatch: pytest.MonkeyPatch) -> None:
    x = inputs((2, 2, 6, 6, 4), torch.float32 if case.startswith("float32") else torch.float64)
    mask = {"weighted": torch.randn(6, 6, dtype=torch.float64), "no key": padding(2, 6) & False}.get(case)
    if case == "long":
        monkeypatch.setattr(attention, "LONG", 71)
    if case == "no gradient":
        x = tuple(y.detach() for y in x)
    if case == "three dimensions":
        x = tuple(y[0] for y in x)
    asked = {"attn_mask": mask, "is_causal": case == "causal"}
    backbone = Backbone()
    if case == "cnn":
        backbone.family = "cnn"
    with attention_in_parts(backbone, torch.device("cpu")):
        out = F.scaled_dot_product_attention(*x, **asked)
    assert not calls
    assert torch.equal(out, F.scaled_dot_product_attention(*x, **asked))


def test_outside_of_the_block_nothing_changes(calls: list) -> None:
    x = inputs((2, 2, 6, 6, 4))
    with pytest.raises(KeyError), attention_in_parts(Backbone(), torch.device("cpu")):
        raise KeyError
    F.scaled_dot_product_attention(*x)
    assert not calls
