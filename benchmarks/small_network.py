"""The small network that benchmarks train from nothing, so that what is compared is how, not what."""

from __future__ import annotations

from typing import Any


def small_cnn(size: int) -> Any:
    """Three convolutions with batch norms, 288 features."""
    import torch
    from torch import nn

    from headstart.models.backbone import InputSpec
    from headstart.models.vision import from_module

    def block(a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))

    torch.manual_seed(0)
    net = nn.Sequential()
    for name, layer in {
        "one": block(1, 32),
        "two": block(32, 64),
        "three": block(64, 32),
        "pool": nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten()),
    }.items():
        net.add_module(name, layer)
    spec = InputSpec(channels=1, size=size, native_size=size, fixed_size=True, mean=(0.5,), std=(0.5,))
    return from_module(net, ["one", "two", "three"], spec)
