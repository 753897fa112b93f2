"""Order and views are functions of seed, epoch and sample; not of what was read before, of workers or of neighbours."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from headstart.core.errors import DataError
from headstart.data import load_data
from headstart.data.augment import POLICIES
from headstart.data.dataset import Dataset
from headstart.data.schema import Sample, Schema, Task
from headstart.models import TracedBackbone, Wanted, open_vision, parse_reference
from headstart.models.backbone import StagedBackbone, State
from headstart.train.batch import Feed
from headstart.train.reader import Reader

N = 30


@pytest.fixture(scope="module")
def backbone() -> TracedBackbone:
    made = open_vision(parse_reference("scratch:timm:test_resnet"), Wanted(size=32)).eval()
    made.augmentations = {"train": POLICIES["strong"], "strong": POLICIES["strong"]}
    return made


@pytest.fixture(scope="module")
def data() -> Dataset:
    pictures = np.random.default_rng(0).integers(0, 256, (N, 12, 10, 3), dtype=np.uint8)
    return load_data((pictures, ["a"] * 20 + ["b"] * 7 + ["c"] * 3))


def positions(reader: Reader, feed: Feed, epoch: int) -> list[int]:
    return np.concatenate(reader.order(feed, epoch, 8)).tolist()


def test_order_depends_on_seed_epoch_and_feed_only(backbone: TracedBackbone, data: Dataset) -> None:
    feed = Feed(paces=True)
    first = Reader({"train": data}, backbone, 0)
    expected = [positions(first, feed, e) for e in range(3)]
    other = Reader({"train": data, "target": data}, backbone, 0)
    torch.manual_seed(99)
    np.random.seed(99)
    list(other.epoch(feed, 7, 8))
    list(other.sweep("target", 4))
    assert [positions(other, feed, e) for e in (2, 1, 0)] == expected[::-1]
    assert len({tuple(p) for p in expected}) == 3
    assert positions(Reader({"train": data}, backbone, 1), feed, 0) != expected[0]
    assert positions(first, Feed("more", paces=True), 0) != expected[0]
    assert all(sorted(p) == list(range(N)) for p in expected)


def test_views_depend_on_the_sample_only(backbone: TracedBackbone, data: Dataset) -> None:
    """The same sample, in another batch, at another position of another part, alone or not, is drawn alike."""
    reader = Reader({"train": data}, backbone, 0)
    shuffled = Reader({"train": data.subset(np.arange(N)[::-1])}, backbone, 0)
    one = reader.batch("train", range(12), ("train",), epoch=4).views["train"]
    for i in (0, 5, 11):
        alone = reader.batch("train", [i], ("train",), epoch=4).views["train"]
        elsewhere = shuffled.batch("train", [3, N - 1 - i], ("train",), epoch=4).views["train"]
        for key in ("x", "affine", "colour", "erase"):
            assert torch.equal(one[key][i], alone[key][0])
            assert torch.equal(one[key][i], elsewhere[key][1])


def test_views_differ_by_seed_epoch_sample_and_view(backbone: TracedBackbone, data: Dataset) -> None:
    reader = Reader({"train": data}, backbone, 0)
    batch = reader.batch("train", [0, 1], ("train", "strong"), epoch=0).views
    drawn = [
        batch["train"]["affine"][0],
        batch["train"]["affine"][1],
        batch["strong"]["affine"][0],
        reader.batch("train", [0], ("train",), epoch=1).views["train"]["affine"][0],
        Reader({"train": data}, backbone, 1).batch("train", [0], ("train",), epoch=0).views["train"]["affine"][0],
    ]
    for i, a in enumerate(drawn):
        for b in drawn[:i]:
            assert not torch.equal(a, b)


def test_plain_views_draw_nothing(backbone: TracedBackbone, data: Dataset) -> None:
    reader = Reader({"train": data}, backbone, 0)
    batches = list(reader.sweep("train", 7))
    assert [i for b in batches for i in b.ids] == list(data.ids)
    assert [len(b) for b in batches] == [7, 7, 7, 7, 2]
    assert all(set(b.views["plain"]) == {"x"} for b in batches)
    again = next(Reader({"train": data}, backbone, 5).sweep("train", N))
    assert torch.equal(torch.cat([b.views["plain"]["x"] for b in batches]), again.views["plain"]["x"])


def test_stream_rows_continue(backbone: TracedBackbone, data: Dataset) -> None:
    batches = Reader({"train": data}, backbone, 0).order(Feed(order="stream", paces=True), 0, 4)
    assert len(batches) == N // 4
    for before, after in itertools.pairwise(batches):
        assert (after == before + 1).all()
    seen = np.concatenate(batches)
    assert len(set(seen.tolist())) == len(seen)


def test_a_stream_leaves_little_over(backbone: TracedBackbone, data: Dataset) -> None:
    some = data.subset(np.arange(20))
    batches = Reader({"train": some}, backbone, 0).order(Feed(order="stream", paces=True), 0, 12)
    assert [len(b) for b in batches] == [10, 10]


def test_balanced_classes_are_equally_frequent(backbone: TracedBackbone, data: Dataset) -> None:
    reader = Reader({"train": data}, backbone, 0)
    labels = data.labels()
    for epoch in range(5):
        where = positions(reader, Feed(order="balanced", paces=True), epoch)
        counts = Counter(labels[where].tolist())
        assert len(where) == N
        assert max(counts.values()) - min(counts.values()) <= 1
        # Rare samples are repeated evenly: none three times more often than another of its class.
        rare = Counter(i for i in where if labels[i] == 2)
        assert set(rare) == set(np.flatnonzero(labels == 2).tolist())
        assert max(rare.values()) - min(rare.values()) <= 1


def test_batches_from_the_middle_of_an_epoch(backbone: TracedBackbone, data: Dataset) -> None:
    reader, feed = Reader({"train": data}, backbone, 0), Feed(paces=True)
    whole = list(reader.epoch(feed, 2, 8))
    rest = list(Reader({"train": data}, backbone, 0).epoch(feed, 2, 8, first=2))
    assert [b.ids for b in rest] == [b.ids for b in whole[2:]]
    for a, b in zip(whole[2:], rest, strict=True):
        assert torch.equal(a.views["train"]["affine"], b.views["train"]["affine"])


def test_labels_are_masked_where_the_feed_says_so(backbone: TracedBackbone, data: Dataset) -> None:
    reader = Reader({"train": data}, backbone, 0)
    batch = next(reader.epoch(Feed(labels=False, paces=True), 0, 8))
    assert (batch.labels, batch.present) == ({}, {})
    batch = next(reader.epoch(Feed(paces=True), 0, 8))
    assert batch.index is not None
    assert batch.labels["label"].tolist() == data.labels()[batch.index].tolist()


def test_empty_parts_are_named(backbone: TracedBackbone, data: Dataset) -> None:
    reader = Reader({"train": data.subset([])}, backbone, 0)
    with pytest.raises(DataError, match="'train' has no samples"):
        reader.order(Feed(paces=True), 0, 8)


class Lines:
    """Sequences of different lengths, with labels that are partly missing."""

    name = "lines"
    schema = Schema(
        "sequence",
        (Task("one", "single-label", ("a", "b")), Task("many", "multi-label", ("x", "y")), Task("n", "regression")),
    )

    def __init__(self, n: int) -> None:
        self.ids = [str(i) for i in range(n)]
        self.reads: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, i: int, size_hint: int | None = None) -> Sample:
        self.reads[i] += 1
        return Sample(self.ids[i], np.zeros(1 + i * 37 % 50))

    def labels(self, task: str | None = None) -> np.ndarray:
        n = len(self)
        if task == "many":
            values = np.zeros((n, 2), np.float32)
            values[0] = np.nan
            values[1, 1] = np.nan
            return values
        if task == "n":
            return np.where(np.arange(n) == 2, np.nan, 1.5).astype(np.float32)
        return np.where(np.arange(n) == 3, -1, 1)


class Padded(StagedBackbone):
    def __init__(self) -> None:
        super().__init__({"all": torch.nn.Identity()}, "rnn")

    def length(self, sample: Sample) -> int:
        return len(sample.inputs)

    def preprocess(self, sample: Sample, view: str, seed: int) -> State:
        return {"x": torch.zeros(1)}


def test_length_order_brings_similar_lengths_together() -> None:
    lines = Lines(101)
    reader = Reader({"train": lines}, Padded(), 0)  # type: ignore[dict-item]
    feed = Feed(order="length", paces=True)
    batches = reader.order(feed, 0, 8)
    assert sorted(np.concatenate(batches).tolist()) == list(range(101))
    spreads = [np.ptp([1 + i * 37 % 50 for i in b]) for b in batches]
    assert max(spreads) <= 6
    assert [b.tolist() for b in reader.order(feed, 1, 8)] != [b.tolist() for b in batches]
    # Short ones do not all come first.
    means = [np.mean([1 + i * 37 % 50 for i in b]) for b in batches]
    assert means != sorted(means)


def test_samples_are_settled_once() -> None:
    lines = Lines(20)
    reader = Reader({"train": lines}, Padded(), 0)  # type: ignore[dict-item]
    for epoch in range(3):
        list(reader.epoch(Feed(paces=True), epoch, 4))
    assert set(lines.reads.values()) == {1}


def test_missing_labels_are_absent_not_zero() -> None:
    batch = Reader({"train": Lines(6)}, Padded(), 0).batch("train", range(6), ("train",))  # type: ignore[dict-item]
    assert batch.present["one"].tolist() == [True, True, True, False, True, True]
    assert batch.present["many"].tolist() == [False, True, True, True, True, True]
    assert batch.present["n"].tolist() == [True, True, False, True, True, True]
    assert torch.isnan(batch.labels["many"]).tolist()[1] == [False, True]
    assert not torch.isnan(batch.labels["many"][batch.present["many"]]).all(1).any()
    assert (batch.labels["one"].dtype, batch.labels["n"].dtype) == (torch.long, torch.float32)


@pytest.mark.parametrize("threads", [False, True])
def test_samples_are_the_same_with_threads_and_without(
    threads: bool, backbone: TracedBackbone, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.train.reader.WORTH_A_THREAD", -1.0 if threads else 1e9)
    reader = Reader({"a": data}, backbone, 0, room=0)
    read = reader.samples("a", range(N))
    assert reader._threaded == {"a": threads}
    assert [s.id for s in read] == list(data.ids)
    expected = [backbone.settle(data.read(i, size_hint=32)).inputs for i in range(N)]
    assert all(np.array_equal(s.inputs, e) for s, e in zip(read, expected, strict=True))
