"""Files of series: `.npz`."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import DataError
from headstart.data.assemble import combine
from headstart.data.raw import Raw
from headstart.data.series_arrays import read_series_arrays

_INPUTS, _LABELS = ("x", "data", "series"), ("y", "label", "labels", "target")
_PARTS = {"train": ("_train",), "validation": ("_validation", "_valid", "_val"), "test": ("_test",)}


def read_npz(path: Path, labelled: bool = True) -> Raw:
    """Read arrays x and y, or x_train, y_train and the same of `valid` and `test`.

    Series of unequal length stand one after the other in x, (sum of T, C), with their lengths in `lengths`
    (`lengths_train` ...).

    Raises
    ------
    DataError
        For files that are none or hold Python objects, and arrays that are missing or do not fit each other.
    """
    arrays = _load(path)
    parts = {part: raw for part, ends in _PARTS.items() if (raw := _part(arrays, ends, path, labelled)) is not None}
    channels = [f"{part} has {len(found.inputs)}" for part, found in parts.items()]
    if len({len(found.inputs) for found in parts.values()}) > 1:
        raise DataError(
            f"{path}: the parts have different numbers of channels: {', '.join(channels)}.",
            "Give all parts the same channels; write NaN where one was not recorded.",
        )
    if "train" in parts:
        train = parts.pop("train")
        return _named(combine(train, parts) if parts else train, path)
    raw = _part(arrays, ("",), path, labelled)
    if raw is None:
        raise DataError(f"{path} has no array of series; it has: {', '.join(arrays)}.", "Call it x, and the labels y.")
    return _named(raw, path)


def _named(raw: Raw, path: Path) -> Raw:
    raw.name, raw.ids = str(path), [f"{i:05d}" for i in range(len(raw.source))]
    return raw


def _part(arrays: dict[str, np.ndarray], ends: tuple[str, ...], path: Path, labelled: bool) -> Raw | None:
    def find(names: tuple[str, ...]) -> tuple[str, np.ndarray | None]:
        return next(((n + e, arrays[n + e]) for n in names for e in ends if n + e in arrays), ("", None))

    name, x = find(_INPUTS)
    if x is None:
        return None
    _, y = find(_LABELS)
    if labelled and y is None:
        raise DataError(f"{path} has series {name!r} without labels; it has: {', '.join(arrays)}.", "Call them y.")
    said, lengths = find(("lengths",))
    series: Any = x if lengths is None else _cut(x, lengths, f"{path}: {said}")
    try:
        return read_series_arrays(series, y if labelled else None, str(path))
    except DataError as error:
        raise DataError(
            error.what if str(path) in error.what else f"{path}, {name!r}: {error.what}", error.hint
        ) from None


def _cut(values: np.ndarray, lengths: np.ndarray, name: str) -> list[np.ndarray]:
    hint = "With lengths, x holds all series one after the other: (sum of T, C)."
    whole = (
        lengths.ndim == 1 and lengths.dtype.kind in "iuf" and bool((lengths >= 0).all() and (lengths % 1 == 0).all())
    )
    if not whole:
        raise DataError(f"{name} is not a list of whole numbers from 0 on.", hint)
    total = int(lengths.sum())
    if not values.ndim or total != len(values):
        raise DataError(f"{name} adds up to {total}, the values have the shape {values.shape}.", hint)
    return np.split(values, np.cumsum(lengths.astype(np.int64))[:-1])


def _load(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is no NPZ file, or was cut off.", "Write it with numpy.savez(path, x=..., y=...).")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name.lower(): file[name] for name in file.files}
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read as NPZ: {error}.", "Check the file.") from None
    except ValueError as error:
        if "pickle" not in str(error):
            raise DataError(f"{path} cannot be read as NPZ: {error}.", "Check the file.") from None
        raise DataError(
            f"{path} holds Python objects, which would have to be executed to be read.",
            "Store series of unequal length as one array `x` of all values, (sum of T, C), and their `lengths`.",
        ) from None
