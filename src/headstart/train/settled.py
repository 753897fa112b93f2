"""Decoded and resized pictures on disk, for those that memory has no room for: each is decoded once."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np

SHARE_OF_DISK = 0.5
"""Of the free space, at most."""


class SettledPictures:
    """Pictures of one shape and number format in a memory-mapped file, which goes with this object.

    Parameters
    ----------
    count
        How many there may be.
    example
        One of them.
    """

    def __init__(self, count: int, example: np.ndarray) -> None:
        folder = Path(tempfile.mkdtemp(prefix="headstart-pictures-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._rows = np.lib.format.open_memmap(
            folder / "pictures.npy", mode="w+", dtype=example.dtype, shape=(count, *example.shape)
        )
        self._there = np.zeros(count, dtype=bool)

    @staticmethod
    def fit(count: int, example: np.ndarray) -> bool:
        """Whether the disk has room for so many."""
        return count * example.nbytes <= SHARE_OF_DISK * shutil.disk_usage(tempfile.gettempdir()).free

    def __contains__(self, i: int) -> bool:
        return bool(self._there[i])

    def get(self, i: int) -> np.ndarray:
        """A copy of a picture that is there."""
        return self._rows[i].copy()

    def put(self, i: int, picture: np.ndarray) -> None:
        """Keep a picture; one of another shape or format is not kept."""
        if picture.shape == self._rows.shape[1:] and picture.dtype == self._rows.dtype:
            self._rows[i] = picture
            self._there[i] = True
