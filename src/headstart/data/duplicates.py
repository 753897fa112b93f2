"""Copies of pictures: exact ones by hash of their pixels, near ones by perceptual hash and correlation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from headstart.core.progress import progress
from headstart.data.dataset import Dataset
from headstart.data.facts import grey_thumbnail

MOST_BITS = 7
"""Perceptual hashes of near copies differ in at most this many of 64 bits. Of eight bands of eight bits, two
hashes that differ in at most seven have one in common, so only pictures that share a band are compared."""

CORRELATION = 0.99
_THUMBNAIL = 64
_CELLS = 2**20
"""How many pairs of hashes are looked at together."""

_BLOCK = 1024
"""How many pairs of thumbnails are compared together."""


@dataclass(frozen=True)
class Copies:
    """Which samples show the same picture.

    Attributes
    ----------
    exact, near
        (n,) int64 group numbers: samples with the same number are exact copies (for `near`, copies of either
        kind, chained: if a copies b and b copies c, all three have one number).
    """

    exact: np.ndarray
    near: np.ndarray


def find_copies(dataset: Dataset) -> Copies:
    """Group exact and near copies.

    Exact copies have equal decoded pixels. Near copies are pictures of at least 64 pixels on each side whose
    perceptual hashes differ in at most `MOST_BITS` bits and whose 64x64 greyscale thumbnails correlate by at
    least `CORRELATION`; so recompressed, slightly retouched or resized copies are found, and crops and mirror
    images not.

    Notes
    -----
    Memory is O(n): pairs are found and compared in blocks, and only what they join is kept. Time is O(n + pairs that
    share a band); a pair that others have joined already is not compared, so many copies of one picture take O(n).
    """
    _, exact = np.unique(dataset.content_hashes, return_inverse=True)
    exact = exact.reshape(-1).astype(np.int64)
    _, first = np.unique(exact, return_index=True)
    hashes = dataset.perceptual_hashes
    candidates = np.array([i for i in first if hashes[i] is not None], dtype=np.int64)
    if len(candidates) < 2:
        return Copies(exact, exact)
    bits = np.array([hashes[i] for i in candidates], dtype=np.int64).view(np.uint64)
    involved = np.flatnonzero(near_another(bits))
    if not len(involved):
        return Copies(exact, exact)
    kept, thumbnails = _thumbnails(dataset, candidates[involved])
    groups = exact[candidates[involved[kept]]]
    return Copies(exact, join(exact, groups, groups[joined(bits[involved[kept]], thumbnails)]))


def join(groups: np.ndarray, left: Sequence[int] | np.ndarray, right: Sequence[int] | np.ndarray) -> np.ndarray:
    """Merge the groups `left[k]` and `right[k]` for every k; returns new group numbers from 0.

    >>> join(np.array([0, 1, 2, 1]), [0], [2]).tolist()
    [0, 1, 0, 1]
    """
    count = int(groups.max()) + 1 if len(groups) else 0
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(count, count))
    return connected_components(graph, directed=False)[1][groups].astype(np.int64)


def candidate_pairs(
    bits: np.ndarray, settled: Callable[[np.ndarray], bool] = lambda hashes: False
) -> Iterator[np.ndarray]:
    """Pairs (i < j) of hashes that differ in at most `MOST_BITS` bits, each once, in blocks of (k, 2).

    Parameters
    ----------
    bits
        (n,) uint64.
    settled
        Says of some hashes (their positions) that no pair of them is asked for any more.
    """
    bands = bits.view(np.uint8).reshape(len(bits), 8)
    for band in range(8):
        order = np.argsort(bands[:, band], kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(bands[order, band]) != 0, True])
        for start, stop in pairwise(starts):
            rest = np.sort(order[start:stop])
            while len(rest) > 1 and not settled(rest):
                rows = rest[: max(1, _CELLS // len(rest))]
                near = np.bitwise_count(bits[rows][:, None] ^ bits[rest][None, :]) <= MOST_BITS
                a, b = np.nonzero(near)
                pairs = np.stack([rows[a], rest[b]], axis=1)[rows[a] < rest[b]]
                # Those that share an earlier band came with that.
                new = (bands[pairs[:, 0], :band] != bands[pairs[:, 1], :band]).all(axis=1)
                if new.any():
                    yield pairs[new]
                rest = rest[len(rows) :]


def near_another(bits: np.ndarray) -> np.ndarray:
    """Which of (n,) uint64 hashes differ from some other in at most `MOST_BITS` bits; (n,) bool."""
    hashes, place, counts = np.unique(bits, return_inverse=True, return_counts=True)
    near = counts > 1
    for pairs in candidate_pairs(hashes, lambda some: bool(near[some].all())):
        near[pairs] = True
    return near[place]


def _thumbnails(dataset: Dataset, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardised thumbnails of samples (k, values), and which they are; flat ones, that have no copies, left out."""
    kept: list[int] = []
    made = np.empty((len(positions), _THUMBNAIL * _THUMBNAIL), np.float32)
    with progress().task("Comparing similar pictures", len(positions)) as advance:
        for row, position in enumerate(positions):
            picture = dataset.read(int(position), size_hint=2 * _THUMBNAIL).inputs
            values = _standardised(grey_thumbnail(picture, _THUMBNAIL).ravel())
            if values.any():
                made[len(kept)] = values
                kept.append(row)
            advance()
    return np.array(kept, dtype=np.int64), made[: len(kept)]


def joined(bits: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """(n,) the first picture of each one's group, where near hashes with correlated thumbnails join two groups.

    Parameters
    ----------
    bits
        (n,) uint64 hashes.
    thumbnails
        (n, values) float32 of unit length.
    """
    groups = _Groups(len(bits))
    for found in candidate_pairs(bits, groups.are_one):
        for start in range(0, len(found), _BLOCK):
            pairs = found[start : start + _BLOCK]
            pairs = pairs[groups.roots(pairs[:, 0]) != groups.roots(pairs[:, 1])]
            correlation = np.einsum("ij,ij->i", thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]])
            groups.join(pairs[correlation >= CORRELATION])
    return groups.roots(np.arange(len(bits)))


class _Groups:
    """Disjoint sets of 0 to n-1; the least member stands for a set."""

    def __init__(self, count: int) -> None:
        self._above = np.arange(count)

    def roots(self, members: np.ndarray) -> np.ndarray:
        """Who stands for the sets of these."""
        found = self._above[members]
        while not np.array_equal(found, above := self._above[found]):
            found = above
        self._above[members] = found
        return found

    def are_one(self, members: np.ndarray) -> bool:
        """Whether all of these are in one set."""
        roots = self.roots(members)
        return bool((roots == roots[0]).all())

    def join(self, pairs: np.ndarray) -> None:
        """Put the two of every pair into one set."""
        for pair in pairs:
            low, high = np.sort(self.roots(pair))
            self._above[high] = low


def _standardised(values: np.ndarray) -> np.ndarray:
    """Zero mean and unit length: a dot product is a correlation. A flat picture correlates with nothing."""
    centred = values - values.mean()
    length = float(np.linalg.norm(centred))
    return centred / length if length > 1e-6 * len(values) else np.zeros_like(centred)
