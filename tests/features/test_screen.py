"""Screening finds the stage that holds the answer, and takes the smaller size unless the larger pays."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from headstart.data import load_data
from headstart.data.schema import Task
from headstart.features.extract import every_place
from headstart.features.screen import Screening, screen, sizes_to_try
from headstart.models import InputSpec, TracedBackbone, from_module
from headstart.train.reader import Reader

N, SIDE = 120, 32
TASK = Task("label", "single-label", ("0", "1", "2"))


class Blocks(nn.Module):
    """Two useful stages, then one whose output is noise that does not depend on the picture's class."""

    def __init__(self) -> None:
        super().__init__()
        self.see, self.mix, self.forget = nn.Conv2d(3, 6, 4, 4), nn.Conv2d(6, 8, 1), nn.Conv2d(8, 8, 1)
        with torch.no_grad():
            # What is left of the picture is its mean over channels and positions, the same for all classes.
            self.forget.weight.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forget(torch.relu(self.mix(torch.relu(self.see(x)))))


def opener(size_seen: list[int], data):  # type: ignore[no-untyped-def]
    def open_at(size: int) -> tuple[TracedBackbone, Reader]:
        size_seen.append(size)
        torch.manual_seed(0)
        backbone = from_module(Blocks(), ["see", "mix", "forget"], InputSpec(size=size, native_size=64)).eval()
        return backbone, Reader({"screen": data}, backbone, 0)

    return open_at


@pytest.fixture(scope="module")
def bright_corners():  # type: ignore[no-untyped-def]
    """The class is where the bright patch is; the mean brightness says nothing."""
    r = np.random.default_rng(0)
    y = np.arange(N) % 3
    x = r.integers(0, 60, (N, SIDE, SIDE, 3)).astype(np.uint8)
    for i, (top, left) in enumerate(np.array([(0, 0), (0, 20), (20, 0)])[y]):
        x[i, top : top + 12, left : left + 12] += 150
    return load_data((x, y))


def test_the_planted_stage_is_found(bright_corners) -> None:  # type: ignore[no-untyped-def]
    seen: list[int] = []
    labels = bright_corners.labels()
    found = screen(opener(seen, bright_corners), [32, 64], labels, TASK, "accuracy", torch.arange(N) % 4)
    assert seen == [32, 64]
    assert found.chosen.stage in ("see", "mix")
    assert found.chosen.grid > 1, "where things are is lost in a plain average"
    assert found.chosen.score > 0.95
    assert found.chosen.size == 32, "the larger size adds nothing"
    assert (found.last.stage, found.last.grid, found.last.size) == ("forget", 1, 32)
    assert found.last.score < 0.5
    assert any("against" in r and found.chosen.stage in r for r in found.reasons)
    first = [r for r in found.rows if r.size == 32]
    assert {(r.stage, r.grid) for r in first} >= {("see", 1), ("see", 2), ("see", 3), ("forget", 1)}
    assert Screening.from_json(found.as_json()) == found


@pytest.mark.parametrize("stage", ["last", "mix"])
def test_a_stage_that_is_named_is_taken(bright_corners, stage: str) -> None:  # type: ignore[no-untyped-def]
    labels = bright_corners.labels()
    found = screen(opener([], bright_corners), [32], labels, TASK, "accuracy", torch.arange(N) % 4, stage)
    assert found.chosen.stage == ("forget" if stage == "last" else "mix")
    assert found.last.stage == "forget"


def test_a_larger_size_is_taken_where_it_pays() -> None:
    """The class is the direction of one-pixel stripes, which the smaller size averages away."""
    r = np.random.default_rng(1)
    y = np.arange(N) % 3
    x = np.full((N, 64, 64, 3), 100, np.uint8)
    for i in range(N):
        phase = r.integers(0, 2)
        if y[i] == 0:
            x[i, phase::2] = 150
        elif y[i] == 1:
            x[i, :, phase::2] = 150
        else:
            x[i] = 125
        x[i] += r.integers(0, 8, (64, 64, 3)).astype(np.uint8)
    data = load_data((x, y))
    found = screen(opener([], data), [32, 64], data.labels(), TASK, "accuracy", torch.arange(N) % 4)
    assert found.chosen.size == 64
    best = {s: max(r.score for r in found.rows if r.size == s) for s in (32, 64)}
    assert best[64] > best[32]
    assert any("64 px" in reason for reason in found.reasons)


@pytest.mark.parametrize("side", [8, 28, 96, 150, 224, 500])
def test_sizes(side: int) -> None:
    sizes = sizes_to_try(224, False, side)
    assert sizes == sorted(set(sizes))
    assert 1 <= len(sizes) <= 3
    assert all(s % 32 == 0 and 32 <= s <= 224 for s in sizes)
    assert sizes_to_try(160, True, side) == [160]


def test_naming_a_stage_leaves_the_network_as_it_is() -> None:
    """A module comes in its own mode: one sample must neither fail in a batch norm nor move its statistics."""

    def block(inputs: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, 6, 3, 4, 1), nn.BatchNorm2d(6), nn.ReLU())

    net = nn.Sequential(OrderedDict(a=block(3), b=block(6)))
    wrapped = from_module(net.train(), ["a", "b"], InputSpec(size=16, native_size=16))
    data = load_data((np.random.default_rng(0).integers(0, 255, (12, 16, 16, 3), np.uint8), np.arange(12) % 2))
    before = {k: v.clone() for k, v in wrapped.state_dict().items()}
    wrapped.train()
    places = every_place(wrapped, Reader({"screen": data}, wrapped, 0), "screen", "plain")
    assert {name for name, _ in places} == {"a", "b"}
    for name, value in wrapped.state_dict().items():
        assert torch.equal(value, before[name]), name
