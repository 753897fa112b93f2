"""Files of series: `.ts` of the UEA and UCR archives; `.npz` is read beside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import DataError
from headstart.data.raw import Raw
from headstart.data.series import SeriesSource, as_float32, refuse_empty_channels
from headstart.data.series_npz import read_npz

SERIES_SUFFIXES = (".ts", ".npz")

_MEANT = (
    "`.ts` is the format of the UEA and UCR archives here; TypeScript, videos and Apache's TsFile are other things."
)


def read_series_file(path: Path, labelled: bool = True) -> Raw:
    """Read a `.ts` or `.npz` file; of `NAME_TRAIN.ts` also `NAME_TEST.ts` beside it, as the test part.

    Raises
    ------
    DataError
        For anything that is not of the format, naming the line.
    """
    if path.suffix.lower() == ".npz":
        return read_npz(path, labelled)
    other = path.with_name(path.name.replace("_TRAIN", "_TEST"))
    paths = [path, other] if labelled and other != path and other.is_file() else [path]
    raw = join_ts([read_ts(p) for p in paths], str(path))
    if len(paths) > 1:
        raw.notes.info("split", f"{other.name} beside it is the test part.")
    return raw


@dataclass
class Ts:
    """What a `.ts` file holds.

    Attributes
    ----------
    series
        (T, C) float32 arrays.
    labels
        As texts, empty where one is missing; None in a file without labels.
    classes
        The labels that the header lists; empty where it lists none.
    numbers
        Whether labels are numbers.
    """

    series: list[np.ndarray] = field(default_factory=list)
    labels: list[str] | None = None
    classes: tuple[str, ...] = ()
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
        if started:
            _add(found, line, f"{path}, line {number}")
            continue
        word, *values = line.split()
        word, said_yes = word.lower(), bool(values) and values[0].lower() == "true"
        if word == "@data":
            started = True
            found.labels = [] if labelled else None
        elif word in ("@classlabel", "@targetlabel"):
            labelled, found.classes = said_yes, tuple(values[1:]) if word == "@classlabel" else ()
            found.numbers = word == "@targetlabel"
        elif word == "@timestamps" and said_yes:
            raise DataError(f"{path}, line {number}: time stamps within the data are not read.", "Use a long table.")
        elif not word.startswith("@"):
            raise _not_ts(path, number)
    if not started:
        raise _not_ts(path, 0)
    return found


def _add(found: Ts, line: str, where: str) -> None:
    """One line of data."""
    dimensions = line.split(":")
    if found.labels is not None:
        label = dimensions.pop().strip()
        if not dimensions:
            raise DataError(f"{where}: there is no colon, so no label behind the values.", "A line is VALUES:LABEL.")
        if found.classes and label not in (*found.classes, "", "?"):
            raise DataError(
                f"{where}: the label {label[:40]!r} is none of those listed by @classLabel.",
                f"It lists: {' '.join(found.classes[:10])}. Is a dimension or the label missing from the line?",
            )
        label = "" if label == "?" else label
        if found.numbers and label and not _is_number(label):
            raise DataError(f"{where}: the label {label[:40]!r} is not a number.", "@targetLabel announces numbers.")
        found.labels.append(label)
    series = _dimensions(dimensions, where)
    if found.series and series.shape[1] != found.series[0].shape[1]:
        raise DataError(
            f"{where}: {series.shape[1]} dimensions, {found.series[0].shape[1]} in the lines above.",
            "Give every line the same dimensions; write ? where a value was not recorded.",
        )
    found.series.append(series)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with open(path, "rb") as file:
            for number, content in enumerate(file, 1):
                try:
                    yield number, content.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{path}, line {number} is not UTF-8 (byte 0x{content[error.start]:02x}).",
                        f"{_MEANT} Save such a file as UTF-8.",
                    ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from None


def _not_ts(path: Path, number: int) -> DataError:
    where = f", line {number}" if number else ""
    return DataError(f"{path}{where}: this is no file of time series (there is no @data).", _MEANT)


def _dimensions(texts: list[str], where: str) -> np.ndarray:
    """(T, C) values; an empty text is a dimension without time steps."""
    try:
        rows = [[_value(v.strip()) for v in text.split(",")] if text.strip() else [] for text in texts]
    except ValueError as error:
        raise DataError(f"{where}: {error}.", "Values are numbers, ? or NaN, with commas between them.") from None
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        said = ", ".join(map(str, sorted(lengths)))
        raise DataError(f"{where}: dimensions of different lengths ({said}).", "Fill them up with ?.")
    return as_float32(np.array(rows, dtype=np.float64).T)


def _value(text: str) -> float:
    if not text:
        raise ValueError("a value is empty")
    return np.nan if text == "?" else float(text)


def join_ts(found: list[Ts], name: str) -> Raw:
    """One or two files as data; the second is the test part."""
    series = [s for ts in found for s in ts.series]
    if not series:
        raise DataError(f"{name} holds no series.", "Lines of data follow @data.")
    channels = [str(c) for c in range(series[0].shape[1])]
    refuse_empty_channels(series, channels, name)
    columns: dict[str, Any] = {}
    if all(ts.labels is not None for ts in found):
        labels = [label for ts in found for label in ts.labels or ()]
        columns["label"] = [float(v) if v else None for v in labels] if found[0].numbers else labels
    parts = None
    if len(found) > 1:
        parts = np.repeat(["train", "test"], [len(ts.series) for ts in found])
    ids = [f"{i:05d}" for i in range(len(series))]
    return Raw(name, SeriesSource(series), ids, columns, parts=parts, inputs=channels)
