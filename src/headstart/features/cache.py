"""Features that were computed once: rows on disk, found by what the network, its input and the sample are.

A network's outputs at a place are one folder, `<key>/`. The key is a hash of everything that the outputs depend on
but the samples: the weights up to the place, how inputs are made, the view, the engine and its number format. Rows lie
in shards of their own names, `NAME.npy` (memory-mapped) beside `NAME.json` (which samples, checksum); a row is found
by the hash of the sample's content. So samples that were added or removed cost no more than the new ones, processes
may share a folder without waiting for each other, and what an interrupted extraction wrote is found by the next.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.progress import progress
from headstart.store.atomic import replacing, write_json
from headstart.store.home import cache_dir

SCHEMA = 1
SHARD_BYTES = 32 << 20
"""A shard is written when this much has gathered: what an interruption can lose."""

LIMIT = 20 << 30
"""Bytes that all folders may take together, unless `HEADSTART_CACHE_LIMIT` (in GB) says otherwise."""


class FeatureStore:
    """Rows of one place, (D,) float32 each.

    Parameters
    ----------
    folder
        Made when the first shard is written.
    about
        What the key was made of, for people who look into the folder.
    """

    def __init__(self, folder: Path, about: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.about = about or {}
        self._where: dict[str, tuple[np.ndarray, int]] = {}
        self._new: dict[str, np.ndarray] = {}
        self._bytes = 0
        self._open()

    def _open(self) -> None:
        self._touch()  # another process must not take it away as the least recently used while it is read
        for beside in sorted(self.folder.glob("*.json")):
            if beside.name == "about.json":
                continue
            shard = _read_shard(beside)
            if shard is None:
                # Damaged, or half of a pair that an eviction is removing: what it held is computed again.
                beside.with_suffix(".npy").unlink(missing_ok=True)
                beside.unlink(missing_ok=True)
                progress().say(f"A shard of kept features was damaged and is computed again: {beside.name}.")
                continue
            samples, rows = shard
            self._where.update({name: (rows, i) for i, name in enumerate(samples)})
        if self._where:
            self._touch()

    def _touch(self) -> None:
        with suppress(OSError):  # a cache of somebody else's, or none yet
            os.utime(self.folder)

    def __contains__(self, sample: str) -> bool:
        return sample in self._where or sample in self._new

    def rows(self, samples: Sequence[str]) -> np.ndarray:
        """(N, D) float32 of samples that are all there."""
        first = self._row(samples[0])
        made = np.empty((len(samples), len(first)), np.float32)
        for i, sample in enumerate(samples):
            made[i] = self._row(sample)
        return made

    def _row(self, sample: str) -> np.ndarray:
        if sample in self._new:
            return self._new[sample]
        rows, i = self._where[sample]
        return rows[i]

    def add(self, samples: Sequence[str], rows: np.ndarray) -> None:
        """Keep rows; a full shard is written at once, the rest by `flush`."""
        for sample, row in zip(samples, np.ascontiguousarray(rows, np.float32), strict=True):
            if sample not in self:
                self._new[sample] = row
                self._bytes += row.nbytes
        if self._bytes >= SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered.

        Raises
        ------
        StoreError
            When the disk refuses.
        """
        if not self._new:
            return
        if not (self.folder / "about.json").exists():
            write_json(self.folder / "about.json", {"schema": SCHEMA, "created": time.time(), **self.about})
        samples, rows = list(self._new), np.stack(list(self._new.values()))
        path = self.folder / f"{uuid.uuid4().hex}.npy"
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.save(file, rows)
        # The list of samples comes last: a shard without one is not there yet.
        write_json(path.with_suffix(".json"), {"samples": samples, "checksum": _checksum(path)})
        kept = np.load(path, mmap_mode="r")
        self._where.update({name: (kept, i) for i, name in enumerate(samples)})
        self._new, self._bytes = {}, 0


def _read_shard(beside: Path) -> tuple[list[str], np.ndarray] | None:
    """Samples and rows of a shard; None where it is damaged."""
    path = beside.with_suffix(".npy")
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
        if content["checksum"] != _checksum(path):
            return None
        rows = np.load(path, mmap_mode="r")
        samples = content["samples"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (samples, rows) if rows.ndim == 2 and len(samples) == len(rows) else None


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def key_of(about: dict[str, Any]) -> str:
    """The name of the folder for what `about` says."""
    text = json.dumps({"schema": SCHEMA, **about}, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


# -- all folders -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A folder of kept features.

    Attributes
    ----------
    used
        When it was last opened, seconds since 1970.
    about
        What the key was made of: model, stage, size, view ...
    """

    key: str
    path: Path
    bytes: int
    used: float
    about: dict[str, Any]


def features_dir() -> Path:
    return cache_dir() / "features"


def engines_dir() -> Path:
    """Which engine was chosen for which network and input."""
    return cache_dir() / "engines"


def limit() -> int:
    """Bytes that kept features may take: `HEADSTART_CACHE_LIMIT` in GB, else `LIMIT`; 0 keeps none."""
    text = os.environ.get("HEADSTART_CACHE_LIMIT", "").strip()
    try:
        return max(0, int(float(text) * (1 << 30))) if text else LIMIT
    except (ValueError, OverflowError):
        return LIMIT


def entries() -> list[Entry]:
    """Every folder, most recently used first."""
    return sorted(_entries(), key=lambda e: -e.used)


def _entries() -> Iterator[Entry]:
    root = features_dir()
    for folder in root.iterdir() if root.is_dir() else ():
        try:
            about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
            size = sum(f.stat().st_size for f in folder.iterdir())
            yield Entry(folder.name, folder, size, folder.stat().st_mtime, about)
        except (OSError, ValueError):
            continue  # being made or removed by another process


def prune(most: int | None = None) -> list[Entry]:
    """Remove the folders used least recently until all take at most `most` bytes; those removed."""
    most = limit() if most is None else most
    kept, removed = 0, []
    for entry in entries():
        kept += entry.bytes
        if kept > most:
            shutil.rmtree(entry.path, ignore_errors=True)
            removed.append(entry)
    return removed


def clear() -> list[Entry]:
    """Remove every folder, and what was measured of engines; the folders removed."""
    shutil.rmtree(engines_dir(), ignore_errors=True)
    return prune(0)
