"""Files of series: `.ts` of the UEA and UCR archives, and `.npz`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import DataError
from headstart.core.notes import Notes
from headstart.data.raw import Raw
from headstart.data.series import SeriesSource, refuse_empty_channels
from headstart.data.series_arrays import as_series

SERIES_SUFFIXES = (".ts", ".npz")

_INPUTS, _LABELS = ("x", "data", "series"), ("y", "label", "labels", "target")


def read_series_file(path: Path, labelled: bool = True) -> Raw:
    """Read a `.ts` or `.npz` file; of `NAME_TRAIN.ts` also `NAME_TEST.ts` beside it, as the test part.

    Raises
    ------
    DataError
        For anything that is not of the format, naming the line.
    """
    if path.suffix.lower() == ".npz":
        return _read_npz(path, labelled)
    other = path.with_name(path.name.replace("_TRAIN", "_TEST"))
    paths = [path, other] if labelled and other != path and other.is_file() else [path]
    return join_ts([read_ts(p) for p in paths], [p.name for p in paths], str(path))


# -- .ts ---------------------------------------------------------------------------------------------------------------


@dataclass
class Ts:
    """What a `.ts` file holds: (T, C) float32 series, and labels as texts (None where there are none)."""

    series: list[np.ndarray] = field(default_factory=list)
    labels: list[str] | None = None
    numbers: bool = False


def read_ts(path: Path) -> Ts:
    """Parse one `.ts` file: a header of @ lines, then a series a line, dimensions and label separated by colons.

    Missing values are written `?` or `NaN`. Time stamps within the data, `(t,v)`, are not read.

    Raises
    ------
    DataError
        Naming file and line.
    """
    found = Ts()
    labelled = started = False
    for number, line in _lines(path):
        if not line or line.startswith("#"):
            continue
        if not started:
            word, _, rest = line.partition(" ")
            word, values = word.lower(), rest.split()
            if word == "@data":
                started = True
                found.labels = [] if labelled else None
            elif word in ("@classlabel", "@targetlabel"):
                labelled = bool(values) and values[0].lower() == "true"
                found.numbers = word == "@targetlabel"
            elif word == "@timestamps" and values and values[0].lower() == "true":
                raise DataError(
                    f"{path}, line {number}: time stamps within the data are not read.", "Use a long table."
                )
            elif not word.startswith("@"):
                raise _not_ts(path, number)
            continue
        *dimensions, label = line.split(":") if labelled else (*line.split(":"), "")
        if not dimensions:
            raise DataError(f"{path}, line {number}: there is a label, but no series.", "Values end with a colon.")
        found.series.append(_dimensions(dimensions, path, number))
        if found.labels is not None:
            found.labels.append(label.strip())
    if not started:
        raise _not_ts(path, 0)
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                yield number, line.strip()
    except UnicodeDecodeError:
        raise _not_ts(path, 0) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from None


def _not_ts(path: Path, number: int) -> DataError:
    where = f", line {number}" if number else ""
    return DataError(
        f"{path}{where}: this is no file of time series (there is no @data).",
        "`.ts` is the format of the UEA and UCR archives here; TypeScript and video files also end in .ts.",
    )


def _dimensions(texts: list[str], path: Path, number: int) -> np.ndarray:
    try:
        rows = [[np.nan if v.strip() in ("?", "") else float(v) for v in text.split(",")] for text in texts]
    except ValueError as error:
        raise DataError(f"{path}, line {number}: {error}.", "Values are numbers, ? or NaN.") from None
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        said = ", ".join(map(str, sorted(lengths)))
        raise DataError(f"{path}, line {number}: dimensions of different lengths ({said}).", "Fill them up with ?.")
    return np.array(rows, dtype=np.float32).T


def join_ts(found: list[Ts], names: list[str], name: str) -> Raw:
    """One or two files as data; the second is the test part."""
    series = [s for ts in found for s in ts.series]
    if not series:
        raise DataError(f"{name} holds no series.", "Lines of data follow @data.")
    channels = [str(c) for c in range(series[0].shape[1])]
    refuse_empty_channels(series, channels, name)
    columns: dict[str, Any] = {}
    if all(ts.labels is not None for ts in found):
        labels = [label for ts in found for label in ts.labels or ()]
        columns["label"] = [float(v) for v in labels] if found[0].numbers else labels
    notes, parts = Notes(), None
    if len(found) > 1:
        parts = np.repeat(["train", "test"], [len(ts.series) for ts in found])
        notes.info("split", f"{names[1]} beside it is the test part.")
    ids = [f"{i:05d}" for i in range(len(series))]
    return Raw(name, SeriesSource(series), ids, columns, parts=parts, inputs=channels, notes=notes)


# -- .npz --------------------------------------------------------------------------------------------------------------


def _read_npz(path: Path, labelled: bool) -> Raw:
    arrays = _load(path)
    pairs = [(part, *_pair(arrays, part, path, labelled)) for part in ("train", "validation", "test")]
    given = [(part, x, y) for part, x, y in pairs if x is not None]
    parts = None
    if given and given[0][0] == "train":
        series = [s for _, x, _ in given for s in as_series(x)]
        labels = [v for _, _, y in given for v in (y if y is not None else ())]
        parts = np.repeat([part for part, _, _ in given], [len(x) for _, x, _ in given])
    else:
        x, y = _pair(arrays, "", path, labelled)
        if x is None:
            raise DataError(
                f"{path} has no array of series; it has: {', '.join(arrays)}.", "Call it x, and the labels y."
            )
        series, labels = as_series(x), [] if y is None else list(y)
    if labelled and len(labels) != len(series):
        raise DataError(f"{path} has {len(series)} series and {len(labels)} labels.", "Give one label y per series x.")
    channels = [str(c) for c in range(series[0].shape[1])] if series else []
    refuse_empty_channels(series, channels, str(path))
    plain = [v.item() if hasattr(v, "item") else v for v in labels]
    columns = {"label": plain} if labelled else {}
    ids = [f"{i:05d}" for i in range(len(series))]
    return Raw(str(path), SeriesSource(series), ids, columns, parts=parts, inputs=channels)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name.lower(): file[name] for name in file.files}
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path} cannot be read as NPZ: {error}.", "Check the file.") from None
    except ValueError:
        raise DataError(
            f"{path} holds Python objects, which would have to be executed to be read.",
            "Store series of unequal length as one array `x` of all values, (sum of T, C), and their `lengths`.",
        ) from None


def _pair(arrays: dict[str, np.ndarray], part: str, path: Path, labelled: bool) -> tuple[Any, Any]:
    """Series and labels of a part (x_train, y_train ...; "" is x, y); unequal ones are cut out by `lengths`."""
    end = f"_{part}" if part else ""
    short = {"validation": "_valid"}.get(part, end)
    x = next((arrays[n + e] for n in _INPUTS for e in (end, short) if n + e in arrays), None)
    y = next((arrays[n + e] for n in _LABELS for e in (end, short) if n + e in arrays), None)
    lengths = arrays.get("lengths" + end)
    series: Any = x
    if x is not None and lengths is not None:
        if lengths.sum() != len(x):
            raise DataError(
                f"{path}: lengths{end} add up to {lengths.sum()}, the values are {len(x)}.", "Store them anew."
            )
        series = np.split(x, np.cumsum(lengths)[:-1])
    return series, y if labelled else None
