"""What is known about a picture without keeping it: its size, a hash of its pixels, what is wrong with it."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.core.progress import progress
from headstart.data.pictures import BadPicture, decode, stored_size
from headstart.store.home import cache_dir

PERCEPTUAL_SIDE = 64
"""Pictures smaller than this on either side get no perceptual hash: on digits it confuses most."""

_SCAN_SIDE = 512
_VERSION = 1
_THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Facts:
    """One picture.

    Attributes
    ----------
    problem
        Why it cannot be used; empty if it can.
    height, width, channels
        As stored, upright.
    pixels
        Hash of shape, type and pixels: equal exactly for exact copies.
    perceptual
        64-bit perceptual hash as a signed integer; None for pictures below `PERCEPTUAL_SIDE`.
    """

    problem: str = ""
    height: int = 0
    width: int = 0
    channels: int = 0
    pixels: str = ""
    perceptual: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def content(self) -> str:
        return self.pixels


def facts_of_array(array: np.ndarray) -> Facts:
    """Facts of an (H, W, C) picture in memory."""
    height, width, channels = array.shape
    header = f"{array.shape}{array.dtype.str}".encode()
    pixels = hashlib.blake2b(header + np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()
    large = min(height, width) >= PERCEPTUAL_SIDE
    return Facts("", height, width, channels, pixels, perceptual_hash(array) if large else None)


def facts_of_file(path: Path) -> Facts:
    """Decode a file once, completely, so that truncated ones are found; large JPEGs at reduced size."""
    try:
        array = decode(path, size_hint=_SCAN_SIDE)
    except BadPicture as bad:
        return Facts(problem=bad.what)
    facts = facts_of_array(array)
    height, width = facts.height, facts.width
    if min(height, width) >= _SCAN_SIDE:
        # It may have been decoded at reduced size; which side is the longer one says how it was turned.
        height, width = sorted(stored_size(path), reverse=height >= width)
    return Facts("", height, width, facts.channels, facts.pixels, facts.perceptual)


def grey_thumbnail(array: np.ndarray, side: int) -> np.ndarray:
    """(side, side) float32 greyscale of an (H, W, C) picture, area-averaged."""
    if array.dtype == np.uint8 and array.shape[2] in (1, 3):
        image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).convert("L")
    else:
        image = Image.fromarray(array.mean(axis=2, dtype=np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BOX), dtype=np.float32)


def perceptual_hash(array: np.ndarray) -> int:
    """64 signs of the lowest frequencies of a 32x32 thumbnail, against their median (pHash, Zauner 2010).

    Recompressed and resized copies differ in a few bits; unrelated photographs in about half.
    """
    from scipy.fft import dctn  # 0.2 s to import

    frequencies = dctn(grey_thumbnail(array, 32), norm="ortho")[:8, :8].ravel()
    bits = frequencies > np.median(frequencies[1:])
    return int(np.packbits(bits).view(np.int64)[0])


def scan(count: int, examine: Callable[[int], Facts], name: str = "Reading pictures") -> list[Facts]:
    """`examine(0..count-1)` on a few threads, in order, with progress."""
    found: list[Facts] = []
    with ThreadPoolExecutor(_THREADS) as pool, progress().task(name, count) as advance:
        for facts in pool.map(examine, range(count)):
            found.append(facts)
            advance()
    return found


def scan_files(paths: Sequence[Path]) -> list[Facts]:
    """Facts of picture files; remembered by (path, size, time of change) under `HEADSTART_CACHE`.

    A problem is not remembered: it may pass without a change of the file (a permission, a disk, a missing decoder).
    """
    keys = [_stamp(path) for path in paths]
    with closing(_Memory()) as memory:
        known = memory.read(keys)
        new = [i for i, key in enumerate(keys) if key not in known]
        found = dict(zip(new, scan(len(new), lambda j: facts_of_file(paths[new[j]])), strict=True))
        memory.write({keys[i]: facts for i, facts in found.items() if keys[i] and not facts.problem})
    return [found[i] if i in found else known[keys[i]] for i in range(len(paths))]


def _stamp(path: Path) -> str:
    """Identifies this content of this file; empty (never remembered) where the file cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{path.absolute()}|{status.st_size}|{status.st_mtime_ns}"


class _Memory:
    """A table of facts on disk. It only saves time, so a disk that refuses is no error."""

    def __init__(self) -> None:
        self.connection: sqlite3.Connection | None = None
        with suppress(OSError, sqlite3.Error):
            cache_dir().mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(cache_dir() / f"pictures-{_VERSION}.sqlite", timeout=10)
            self.connection.execute(
                "create table if not exists facts (stamp text primary key, problem text, height integer,"
                " width integer, channels integer, pixels text, perceptual integer)"
            )

    def read(self, keys: Sequence[str]) -> dict[str, Facts]:
        known: dict[str, Facts] = {}
        if self.connection is None:
            return known
        with suppress(sqlite3.Error):
            for start in range(0, len(keys), 500):
                chunk = keys[start : start + 500]
                marks = ",".join("?" * len(chunk))
                # Earlier versions wrote problems down too.
                query = f"select * from facts where stamp in ({marks}) and problem = ''"
                rows = self.connection.execute(query, chunk)
                known.update((row[0], Facts(*row[1:])) for row in rows)
        return known

    def write(self, facts: dict[str, Facts]) -> None:
        if self.connection is None or not facts:
            return
        rows = [(key, *astuple(value)) for key, value in facts.items()]
        with suppress(sqlite3.Error), self.connection:
            self.connection.executemany("insert or replace into facts values (?,?,?,?,?,?,?)", rows)

    def close(self) -> None:
        if self.connection is not None:
            with suppress(sqlite3.Error):
                self.connection.close()
