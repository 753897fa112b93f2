"""Copies of pictures: exact ones by hash of their pixels, near ones by perceptual hash and correlation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
_BLOCK = 1024


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
    Memory is O(n); time is O(n + pairs that share a band), compared in blocks by numpy.
    """
    _, exact = np.unique(dataset.content_hashes, return_inverse=True)
    exact = exact.reshape(-1).astype(np.int64)
    _, first = np.unique(exact, return_index=True)
    hashes = dataset.perceptual_hashes
    candidates = np.array([i for i in first if hashes[i] is not None], dtype=np.int64)
    if len(candidates) < 2:
        return Copies(exact, exact)
    bits = np.array([hashes[i] for i in candidates], dtype=np.int64).view(np.uint64)
    pairs = _confirmed(dataset, candidates, bits)
    if not len(pairs):
        return Copies(exact, exact)
    left, right = exact[candidates[pairs[:, 0]]], exact[candidates[pairs[:, 1]]]
    return Copies(exact, join(exact, left, right))


def join(groups: np.ndarray, left: Sequence[int] | np.ndarray, right: Sequence[int] | np.ndarray) -> np.ndarray:
    """Merge the groups `left[k]` and `right[k]` for every k; returns new group numbers from 0.

    >>> join(np.array([0, 1, 2, 1]), [0], [2]).tolist()
    [0, 1, 0, 1]
    """
    count = int(groups.max()) + 1 if len(groups) else 0
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(count, count))
    return connected_components(graph, directed=False)[1][groups].astype(np.int64)


def candidate_pairs(bits: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs (i < j) of hashes that differ in at most `MOST_BITS` bits, in blocks of (k, 2).

    A pair may come twice.

    Parameters
    ----------
    bits
        (n,) uint64.
    """
    bands = bits.view(np.uint8).reshape(len(bits), 8)
    for band in range(8):
        order = np.argsort(bands[:, band], kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(bands[order, band]) != 0, True])
        for start, stop in pairwise(starts):
            bucket = np.sort(order[start:stop])
            for begin in range(0, len(bucket), _BLOCK):
                rows = bucket[begin : begin + _BLOCK]
                rest = bucket[begin:]
                near = np.bitwise_count(bits[rows][:, None] ^ bits[rest][None, :]) <= MOST_BITS
                a, b = np.nonzero(near)
                keep = rows[a] < rest[b]
                if keep.any():
                    yield np.stack([rows[a[keep]], rest[b[keep]]], axis=1)


def _confirmed(dataset: Dataset, candidates: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Pairs of candidates whose thumbnails correlate; (k, 2)."""
    blocks = list(candidate_pairs(bits))
    if not blocks:
        return np.empty((0, 2), np.int64)
    pairs = np.unique(np.concatenate(blocks), axis=0)
    involved = np.unique(pairs)
    thumbnails = np.empty((len(involved), _THUMBNAIL * _THUMBNAIL), np.float32)
    with progress().task("Comparing similar pictures", len(involved)) as advance:
        for row, candidate in enumerate(involved):
            picture = dataset.read(int(candidates[candidate]), size_hint=2 * _THUMBNAIL).inputs
            thumbnails[row] = _standardised(grey_thumbnail(picture, _THUMBNAIL).ravel())
            advance()
    left, right = np.searchsorted(involved, pairs[:, 0]), np.searchsorted(involved, pairs[:, 1])
    keep = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _BLOCK):
        part = slice(start, start + _BLOCK)
        keep[part] = np.einsum("ij,ij->i", thumbnails[left[part]], thumbnails[right[part]]) >= CORRELATION
    return pairs[keep]


def _standardised(values: np.ndarray) -> np.ndarray:
    """Zero mean and unit length: a dot product is a correlation. A flat picture correlates with nothing."""
    centred = values - values.mean()
    length = float(np.linalg.norm(centred))
    return centred / length if length > 1e-6 * len(values) else np.zeros_like(centred)
