"""bfloat16 on a CPU: norms stay in float32, or their bias gradients are lost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from headstart.train.precision import autocast, choose_precision, norms_in_float32

CPU = torch.device("cpu")
ROWS = 2048


def bias_gradient(dtype: torch.dtype, protected: bool) -> Tensor:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 4))
    x = torch.randn(ROWS, 16)
    # Every row pulls in the same direction, so the sum over rows is large beside each addend.
    target = torch.randn(4)
    with norms_in_float32(net, dtype if protected else torch.float32, CPU), autocast(dtype, CPU):
        (net(x).float() - target).square().sum().div(100).backward()
    gradient = net[1].bias.grad
    assert gradient is not None
    return gradient


def test_layer_norm_under_bf16() -> None:
    exact = bias_gradient(torch.float32, False)
    scale = float(exact.abs().max())
    plain = bias_gradient(torch.bfloat16, False)
    protected = bias_gradient(torch.bfloat16, True)
    assert float((protected - exact).abs().max()) <= 1e-2 * scale
    # The trap itself: if torch mends it, the hooks can go.
    assert float((plain - exact).abs().max()) > 0.05 * scale


@pytest.mark.parametrize("norm", [nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.BatchNorm1d(8)])
def test_norms_see_float32_only_within_the_block(norm: nn.Module) -> None:
    seen: list[torch.dtype] = []
    norm.register_forward_hook(lambda _, args, out: seen.append(args[0].dtype))
    x = torch.randn(4, 8)
    with norms_in_float32(norm, torch.bfloat16, CPU):
        norm(x.bfloat16())
    with norms_in_float32(norm, torch.float32, CPU):
        norm(x)
    assert seen == [torch.float32, torch.float32]
    assert len(norm._forward_pre_hooks) == 0


def test_hooks_go_when_training_fails() -> None:
    net = nn.LayerNorm(4)
    with pytest.raises(ZeroDivisionError), norms_in_float32(net, torch.bfloat16, CPU):
        raise ZeroDivisionError
    assert len(net._forward_pre_hooks) == 0


def test_choosing() -> None:
    assert choose_precision("float32", CPU) == torch.float32
    assert choose_precision("bfloat16", CPU) == torch.bfloat16
    assert choose_precision("auto", CPU) in (torch.float32, torch.bfloat16)
    assert choose_precision("auto", torch.device("meta")) == torch.float32
    with autocast(torch.bfloat16, CPU):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.bfloat16
    with autocast(torch.float32, CPU):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32
