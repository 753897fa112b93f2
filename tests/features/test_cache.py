"""Frozen work is done once: what is kept is found again, by exactly what it depends on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.data import load_data
from headstart.data.augment import Augmentation
from headstart.data.dataset import Dataset
from headstart.features import cache
from headstart.features.engines import Engines
from headstart.features.extract import extract
from headstart.features.keys import weights_up_to
from headstart.models import TracedBackbone, Wanted, open_vision, parse_reference
from headstart.train.reader import Reader

N = 12
PLACES = [("layer2", 1), ("layer3", 2)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N, 20, 24, 3), dtype=np.uint8)


@pytest.fixture
def data(pictures: np.ndarray) -> Dataset:
    return load_data((pictures, np.arange(N) % 3))


def opened(seed: int = 0, size: int = 64) -> TracedBackbone:
    return open_vision(parse_reference("scratch:timm:test_resnet"), Wanted(size=size, seed=seed)).eval()


def counted(backbone: TracedBackbone, data: Dataset, view: str = "plain", dtype: torch.dtype = torch.float32):
    """Features, and how many samples the network was run on for them."""
    seen: list[int] = []

    def count(_: nn.Module, __: object, out: Tensor) -> None:
        if not torch.is_grad_enabled():  # else: the grey picture that shows which norms follow which convolutions
            seen.append(len(out))

    hook = backbone.net.get_submodule("layer2").register_forward_hook(count)
    made = extract(backbone, Reader({"train": data}, backbone, 0), "train", PLACES, view, Engines("torch", dtype))
    hook.remove()
    return made, sum(seen)


def test_the_second_time_nothing_is_run(data: Dataset) -> None:
    first, ran = counted(opened(), data)
    assert ran == N
    again, ran = counted(opened(), data)
    assert ran == 0
    assert all(torch.equal(first[p], again[p]) for p in PLACES)


def test_all_places_are_found_again_too(data: Dataset) -> None:
    backbone = opened()
    reader = Reader({"train": data}, backbone, 0)
    first = extract(backbone, reader, "train")
    seen: list[int] = []
    backbone.net.get_submodule("layer2").register_forward_hook(lambda _, __, out: seen.append(len(out)))
    again = extract(backbone, reader, "train")
    assert list(first) == list(again)
    assert all(torch.equal(first[p], again[p]) for p in first)
    assert sum(seen) == 1  # one sample says how wide the stages are


def test_only_new_samples_are_run(pictures: np.ndarray, data: Dataset) -> None:
    labels = np.arange(N) % 3
    counted(opened(), load_data((pictures[:8], labels[:8])))
    made, ran = counted(opened(), data)
    assert ran == N - 8
    alone, ran = counted(opened(), load_data((pictures[::-1].copy(), labels)))
    assert ran == 0
    assert torch.equal(alone["layer2", 1], made["layer2", 1].flip(0))


@pytest.mark.parametrize("change", ["weights", "size", "view", "dtype", "content"])
def test_any_difference_is_a_miss(change: str, pictures: np.ndarray, data: Dataset) -> None:
    counted(opened(), data)
    backbone, view, dtype = opened(), "plain", torch.float32
    if change == "weights":
        with torch.no_grad():
            next(backbone.net.get_submodule("layer2").parameters())[0] += 1e-3
    elif change == "size":
        backbone = opened(size=96)
    elif change == "view":
        view = "mirror"
        backbone.augmentations = {"mirror": Augmentation(flip=1.0)}
    elif change == "dtype":
        dtype = torch.bfloat16
    else:
        other = pictures.copy()
        other[:, 0, 0, 0] ^= 1
        data = load_data((other, np.arange(N) % 3))
    assert counted(backbone, data, view, dtype)[1] == N


def test_what_lies_behind_the_place_makes_no_difference(data: Dataset) -> None:
    counted(opened(), data)
    backbone = opened()
    with torch.no_grad():
        for p in backbone.net.get_submodule("layer4").parameters():
            p.add_(1.0)
    assert counted(backbone, data)[1] == 0


def test_statistics_of_norms_are_part_of_the_weights() -> None:
    a, b = opened(), opened()
    b.net.get_submodule("layer2")[0].bn1.running_mean += 1  # type: ignore[index]
    before, after = weights_up_to(a), weights_up_to(b)
    names = list(before)
    changed = names.index("layer2")
    assert [before[n] == after[n] for n in names] == [i < changed for i in range(len(names))]


def test_an_interrupted_extraction_continues(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = opened()
    monkeypatch.setattr(backbone, "batch_size", lambda: 4)
    ran: list[int] = []

    def stop_at_the_third(*_: object) -> None:
        ran.extend([] if torch.is_grad_enabled() else [1])
        if len(ran) == 3:
            raise KeyboardInterrupt

    hook = backbone.net.get_submodule("layer3").register_forward_hook(stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        counted(backbone, data)
    hook.remove()
    assert counted(backbone, data)[1] == N - 8


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["flipped", "cut", "gone", "list"])
def test_a_damaged_shard_is_computed_again(how: str, data: Dataset) -> None:
    first, _ = counted(opened(), data)
    shards = list(cache.features_dir().glob("*/*.npy"))
    for path in shards:
        if how == "flipped":
            damage(path)
        elif how == "cut":
            path.write_bytes(path.read_bytes()[:-10])
        elif how == "gone":
            path.unlink()
        else:
            path.with_suffix(".json").write_text("{")
    again, ran = counted(opened(), data)
    assert ran == N
    assert all(torch.equal(first[p], again[p]) for p in PLACES)
    assert not set(shards) & set(cache.features_dir().glob("*/*.npy"))


def test_two_writers_share_a_folder(tmp_path: Path) -> None:
    a, b = (cache.FeatureStore(tmp_path / "key") for _ in range(2))
    a.add(["x", "y"], np.array([[1.0, 2.0], [3.0, 4.0]]))
    b.add(["y", "z"], np.array([[3.0, 4.0], [5.0, 6.0]]))
    a.flush()
    b.flush()
    rows = cache.FeatureStore(tmp_path / "key").rows(["z", "x", "y"])
    assert rows.tolist() == [[5.0, 6.0], [1.0, 2.0], [3.0, 4.0]]


def test_a_full_shard_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SHARD_BYTES", 64)
    store = cache.FeatureStore(tmp_path / "key")
    for i in range(5):
        store.add([f"{2 * i}", f"{2 * i + 1}"], np.full((2, 4), i))
    assert len(list((tmp_path / "key").glob("*.npy"))) == 2
    assert "7" in cache.FeatureStore(tmp_path / "key")
    assert "8" not in cache.FeatureStore(tmp_path / "key")


def test_the_least_recently_used_goes_first() -> None:
    for i, key in enumerate("abc"):
        store = cache.FeatureStore(cache.features_dir() / key, {"model": key})
        store.add(["x"], np.zeros((1, 1000)))
        store.flush()
        os.utime(store.folder, (i, i))
    cache.FeatureStore(cache.features_dir() / "a")  # opening is using
    size = cache.entries()[0].bytes
    assert [e.key for e in cache.prune(2 * size + 10)] == ["b"]
    assert [e.key for e in cache.entries()] == ["a", "c"]
    assert len(cache.prune(0)) == 2
    assert cache.entries() == []


def test_a_limit_of_nothing_keeps_nothing(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE_LIMIT", "0")
    counted(opened(), data)
    assert counted(opened(), data)[1] == N
    assert not cache.features_dir().exists()


def test_what_is_kept_says_what_it_is(data: Dataset) -> None:
    counted(opened(), data)
    abouts = [json.loads(p.read_text()) for p in cache.features_dir().glob("*/about.json")]
    assert {(a["stage"], a["grid"]) for a in abouts} == set(PLACES)
    assert {a["model"] for a in abouts} == {"scratch:timm:test_resnet"}


@pytest.mark.parametrize(("text", "size"), [("inf", cache.LIMIT), ("-1", 0), ("2", 2 << 30), ("many", cache.LIMIT)])
def test_limits_as_people_write_them(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE_LIMIT", text)
    assert cache.limit() == size
