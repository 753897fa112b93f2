"""Near copies: which pictures are compared, and what that takes."""

from __future__ import annotations

import tracemalloc
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest

from headstart.data.duplicates import CORRELATION, MOST_BITS, candidate_pairs, find_copies, join, joined, near_another
from headstart.data.facts import grey_thumbnail, perceptual_hash

SEEDS = [0, 1, 2]


def hashes(count: int, seed: int) -> np.ndarray:
    """Hashes around a few, with up to twelve bits turned over: equal ones, near ones and others."""
    random = np.random.default_rng(seed)
    centres = random.integers(0, 2**64, 8, dtype=np.uint64)
    bits = centres[random.integers(0, 8, count)]
    for i, flips in enumerate(random.integers(0, 13, count)):
        for bit in random.choice(64, flips, replace=False):
            bits[i] ^= np.uint64(1) << np.uint64(bit)
    return bits


def near_pairs(bits: np.ndarray) -> list[tuple[int, int]]:
    """By the definition."""
    return [
        (i, j) for i, j in combinations(range(len(bits)), 2) if (int(bits[i]) ^ int(bits[j])).bit_count() <= MOST_BITS
    ]


@pytest.mark.parametrize("cells", [2**20, 64])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_near_pair_of_hashes_comes_once(seed: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.data.duplicates._CELLS", cells)
    bits = hashes(150, seed)
    found = [tuple(pair) for block in candidate_pairs(bits) for pair in block.tolist()]
    assert sorted(found) == near_pairs(bits)
    assert np.flatnonzero(near_another(bits)).tolist() == sorted({i for pair in found for i in pair})


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_are_those_of_all_pairs_compared_one_by_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (12, 8, 8, 1)).astype(np.uint8).repeat(10, axis=1).repeat(10, axis=2)
    noise = random.normal(0, 1, (150, 80, 80, 1)) * random.uniform(0, 15, (150, 1, 1, 1))
    pictures = np.clip(coarse[random.integers(0, 12, 150)] + noise, 0, 255).astype(np.uint8)
    pictures[:5], pictures[5:8] = pictures[5], np.arange(3, dtype=np.uint8)[:, None, None, None]
    data = SimpleNamespace(
        content_hashes=[picture.tobytes().hex() for picture in pictures],
        perceptual_hashes=[perceptual_hash(picture) for picture in pictures],
        read=lambda i, size_hint: SimpleNamespace(inputs=pictures[i]),
    )
    bits = np.array(data.perceptual_hashes, dtype=np.int64).view(np.uint64)
    thumbnails = np.array([grey_thumbnail(picture, 64).ravel() for picture in pictures])
    with np.errstate(invalid="ignore"):
        alike = np.corrcoef(thumbnails) >= CORRELATION
    exact = np.unique(data.content_hashes, return_inverse=True)[1]
    pairs = [(i, j) for i, j in near_pairs(bits) if alike[i, j]]
    copies = find_copies(data)
    np.testing.assert_array_equal(copies.exact, exact)
    np.testing.assert_array_equal(copies.near, join(exact, exact[[i for i, _ in pairs]], exact[[j for _, j in pairs]]))
    assert 12 <= len(set(copies.near)) < len(set(copies.exact))


def test_many_equal_hashes_take_no_square_of_memory() -> None:
    count = 20_000
    bits = np.full(count, 2**63 + 5, np.uint64)
    thumbnails = np.full((count, 4), 0.5, np.float32)
    tracemalloc.start()
    try:
        assert near_another(bits).all()
        assert not joined(bits, thumbnails).any()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All pairs of them, at two numbers each, are 3.2 GB.
    assert peak < 2e8
