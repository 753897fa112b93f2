"""Features of every stage from one pass equal those of a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from headstart.data import load_data
from headstart.data.dataset import Dataset
from headstart.features.extract import MOST_DIMENSIONS, extract
from headstart.models import (
    InputSpec,
    StagedBackbone,
    TracedBackbone,
    Wanted,
    from_module,
    open_vision,
    parse_reference,
)
from headstart.train.reader import Reader

N = 21


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE_LIMIT", "0")


@pytest.fixture(scope="module")
def data() -> Dataset:
    pictures = np.random.default_rng(0).integers(0, 256, (N, 20, 24, 3), dtype=np.uint8)
    return load_data((pictures, np.arange(N) % 3))


def opened(name: str, size: int) -> TracedBackbone:
    return open_vision(parse_reference(f"scratch:timm:{name}"), Wanted(size=size)).eval()


@pytest.mark.parametrize(("name", "size"), [("test_resnet", 128), ("test_vit", 64), ("test_efficientnet", 96)])
@torch.no_grad()
def test_equals_a_plain_loop(name: str, size: int, data: Dataset) -> None:
    backbone = opened(name, size)
    reader = Reader({"train": data}, backbone, 0)
    features = extract(backbone, reader, "train")
    assert {stage for stage, _ in features} == set(backbone.stages)
    for i in (0, 7, N - 1):
        sample = backbone.settle(data.read(i))
        state = backbone.begin(backbone.collate([backbone.preprocess(sample, "plain", 0)]))
        for stage, state in backbone.walk(state):  # noqa: B020
            for grid in (1, 2, 3):
                if (stage, grid) in features:
                    alone = backbone.pool(state, grid)[0]
                    here = features[stage, grid][i]
                    assert float((here - alone).abs().max()) <= 1e-4 * float(alone.abs().max().clamp(min=1e-3))
    assert all(x.shape[0] == N and x.dtype == torch.float32 and not x.requires_grad for x in features.values())


def test_places_are_a_part_of_the_whole(data: Dataset) -> None:
    backbone = opened("test_resnet", 64)
    reader = Reader({"train": data}, backbone, 0)
    every = extract(backbone, reader, "train")
    wanted = [("layer2", 2), ("conv1", 1)]
    some = extract(backbone, reader, "train", wanted)
    assert set(some) == set(wanted)
    for place in wanted:
        assert torch.equal(some[place], every[place])


def test_only_as_deep_as_needed(data: Dataset) -> None:
    backbone = opened("test_resnet", 64)
    calls: list[str] = []
    for name in ("layer2", "layer3"):
        backbone.net.get_submodule(name).register_forward_hook(lambda *_, name=name: calls.append(name))
    extract(backbone, Reader({"train": data}, backbone, 0), "train", [("layer2", 1)])
    assert set(calls) == {"layer2"}


def test_frozen_statistics_and_no_dropout(data: Dataset) -> None:
    backbone = opened("test_resnet", 64).train()
    before = {n: t.clone() for n, t in backbone.state_dict().items()}
    reader = Reader({"train": data}, backbone, 0)
    one, other = (extract(backbone, reader, "train", [("layer4", 1)]) for _ in range(2))
    assert torch.equal(one["layer4", 1], other["layer4", 1])
    assert all(torch.equal(before[n], t) for n, t in backbone.state_dict().items())


class Wide(nn.Module):
    """Stages of 300, 2,000 and 3,000 channels on a raster of 2 × 2."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 300, 4, 4), nn.Conv2d(300, 2000, 1), nn.Conv2d(2000, 3000, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.b(self.a(x)))


def test_wide_features_are_skipped_but_never_the_last_layer(data: Dataset) -> None:
    backbone = from_module(Wide(), ["a", "b", "c"], InputSpec(size=8, native_size=8))
    features = extract(backbone, Reader({"train": data}, backbone, 0), "train")
    # A raster of 2 × 2 has no 3 × 3 cells; 4 × 2,000 is too many; the last layer is what others are compared with.
    assert {p: x.shape[1] for p, x in features.items()} == {
        ("a", 1): 300,
        ("a", 2): 1200,
        ("b", 1): 2000,
        ("c", 1): 3000,
    }
    assert MOST_DIMENSIONS == 2500


def test_batches_shrink_with_the_square_of_the_size() -> None:
    def at(size: int) -> int:
        backbone = StagedBackbone({"a": nn.Identity()})
        backbone.input_spec = InputSpec(size=size)
        return backbone.batch_size()

    assert [at(s) for s in (32, 96, 192, 224, 1000)] == [128, 64, 16, 8, 8]
    assert all(at(s) % 8 == 0 for s in range(16, 1024, 16))
