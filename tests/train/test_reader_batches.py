"""How an epoch is cut into batches."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.data import load_data
from headstart.models.opening import open_model
from headstart.models.wanted import Wanted
from headstart.train.batch import Feed
from headstart.train.reader import Reader


@pytest.mark.parametrize("n", [8, 9, 15, 17, 24, 25])
@pytest.mark.parametrize("order", ["shuffle", "balanced", "length"])
def test_an_epoch_holds_every_sample_once_and_no_batch_of_one(n: int, order: str) -> None:
    data = load_data((np.arange(n * 16, dtype=np.uint8).reshape(n, 4, 4), np.arange(n) % 2))
    backbone = open_model("scratch:timm:test_resnet", Wanted(32, 1, 0, None))
    reader = Reader({"train": data}, backbone, 0)
    reader._lengths["train"] = np.arange(n) % 5
    feed = Feed("train", "train", order=order)
    counts = set()
    for epoch in range(8):
        batches = reader.order(feed, epoch, 8)
        counts.add(len(batches))
        assert all(2 <= len(b) <= 9 for b in batches)
        if order != "balanced":
            assert sorted(np.concatenate(batches)) == list(range(n))
    assert len(counts) == 1, "every epoch has as many steps as the first"
