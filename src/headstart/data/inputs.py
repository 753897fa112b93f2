"""Samples without labels, from whatever a person names: files, patterns, folders, tables, lists."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headstart.core.errors import DataError, permitted
from headstart.data.arrays import as_pictures
from headstart.data.dataset import Dataset
from headstart.data.folders import SUFFIXES, check_names, sample_files
from headstart.data.objects import as_table, read_inputs
from headstart.data.picture_sources import CellSource, FileSource
from headstart.data.raw import Raw
from headstart.data.samples import read_sample
from headstart.data.schema import Modality
from headstart.data.series_arrays import read_series_arrays
from headstart.data.series_files import SERIES_SUFFIXES, read_series_file
from headstart.data.series_tables import SeriesColumns, read_series_table
from headstart.data.source import RowsSource
from headstart.data.table_files import TABLE_SUFFIXES, open_table
from headstart.data.tables import Columns, read_unlabelled
from headstart.data.texts import TEXT_SUFFIXES, TextFileSource, TextSource, as_columns

_SUFFIXES = {*TABLE_SUFFIXES, *TEXT_SUFFIXES, *SERIES_SUFFIXES}


def raw_inputs(inputs: Any, modality: Modality, columns: Sequence[str], reading: Mapping[str, str]) -> Raw:
    """See `headstart.data.load.load_inputs`."""
    if isinstance(inputs, Dataset):
        parts = None if inputs.content.parts is None else inputs.content.parts[inputs.rows]
        return Raw(inputs.name, RowsSource(inputs.content.source, inputs.rows), inputs.ids, parts=parts, inputs=columns)
    if isinstance(inputs, str | Path):
        inputs = [inputs]
    if isinstance(inputs, pd.Series) or (modality == "text" and isinstance(inputs, np.ndarray)):
        inputs = list(inputs)
    table = as_table(inputs)
    if table is not None:
        return _of_table(table, type(inputs).__name__, modality, columns, reading, Path())
    if modality == "sequence" and not _are_paths(inputs):
        return read_series_arrays(inputs)
    if modality == "text" and isinstance(inputs, Sequence) and not _are_paths(inputs):
        return Raw("texts", TextSource(as_columns(inputs)), _numbered(len(inputs)))
    if isinstance(inputs, np.ndarray) or hasattr(inputs, "detach"):
        pictures = as_pictures(inputs)
        return Raw("arrays", pictures, _numbered(len(pictures)))
    if not isinstance(inputs, Sequence):
        return read_inputs(inputs)
    if not len(inputs):
        raise DataError("There is nothing to predict on: the list is empty.", "Name files or folders.")
    if not all(isinstance(item, str | Path) for item in inputs):
        return Raw("pictures", CellSource(inputs), _numbered(len(inputs)))
    if len(inputs) == 1 and (raw := _one(str(inputs[0]), modality, columns, reading)) is not None:
        return raw
    if modality == "sequence":
        for item in inputs:
            _expand(str(item), SERIES_SUFFIXES)  # says which is not there
        raise DataError(
            "Series are read from one file at a time.", f"Name one: {' '.join(SERIES_SUFFIXES)} or a table."
        )
    paths = [path for item in inputs for path in _expand(str(item), SUFFIXES[modality])]
    source = FileSource(paths) if modality == "image" else TextFileSource(paths)
    return Raw(source.many, source, _unique([path.as_posix() for path in paths]))


def _are_paths(inputs: Any) -> bool:
    """Whether a list names files rather than being the samples: every entry is there, or is a pattern or a sample."""
    return (
        isinstance(inputs, list | tuple)
        and bool(inputs)
        and all(isinstance(item, Path) or (isinstance(item, str) and _is_path(item)) for item in inputs)
    )


def _is_path(text: str) -> bool:
    """Whether a text is meant as a path: it is there, or ends like a file that Headstart reads."""
    if not text or len(text) > 1024 or "\n" in text:
        return False
    named = Path(text).suffix.lower() in _SUFFIXES and " " not in Path(text).name
    try:
        return named or text.startswith("sample:") or Path(os.path.expanduser(text)).exists()
    except (OSError, RuntimeError, ValueError):
        # Too long for a name, "~nobody", or with characters that no name has: a text.
        return False


@permitted()
def _one(text: str, modality: Modality, columns: Sequence[str], reading: Mapping[str, str]) -> Raw | None:
    """A sample, a table or a file of series; None for anything else."""
    path = Path(os.path.expanduser(text))
    if text.startswith("sample:"):
        raw = read_sample(text)
        if raw.source.modality != modality:
            raise DataError(f"{text} holds {raw.source.many}; the model takes the modality {modality!r}.")
        return raw
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        return _of_table(open_table(path), text, modality, columns, reading, path.parent)
    if path.is_file() and path.suffix.lower() in SERIES_SUFFIXES and modality == "sequence":
        return read_series_file(path, labelled=False)
    return None


def _of_table(
    table: Any, name: str, modality: Modality, columns: Sequence[str], reading: Mapping[str, str], root: Path
) -> Raw:
    if modality == "sequence":
        # Where recordings were told apart by a group, what is new may well be one recording without that column.
        kept = {k: v for k, v in reading.items() if k != "id" or v in table.names or "window" not in reading}
        columns_of = replace(SeriesColumns(channels=tuple(columns)), **dict[str, Any](kept))
        return read_series_table(table, name, columns_of, labelled=False)
    if modality == "text":
        return read_unlabelled(table, name, Columns(modality, text=tuple(columns)), root)
    return read_unlabelled(table, name, Columns(modality, image=columns[0] if columns else None), root)


@permitted()
def _expand(text: str, suffixes: Collection[str]) -> list[Path]:
    """Files that a path, folder or pattern stands for."""
    path = Path(os.path.expanduser(text))
    if path.is_dir():
        found = sample_files(path, suffixes)
        if not found:
            raise DataError(
                f"There are no {'pictures' if suffixes == SUFFIXES['image'] else 'texts'} below {path}.",
                "Name files or a folder with some.",
            )
        return found
    if _is_pattern(text) and not path.exists():
        root = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(p for p in root.glob(str(path.relative_to(root) if path.anchor else path)) if p.is_file())
        if not found:
            raise DataError(f"No file matches {text}.", "Check the pattern.")
        check_names(found)
        return found
    if not path.exists():
        raise DataError(f"There is no file {path}.", "Check the path.")
    check_names([path])
    return [path]


def _is_pattern(text: str) -> bool:
    return any(mark in text for mark in "*?[")


def _numbered(count: int) -> list[str]:
    return [str(i) for i in range(count)]


def _unique(names: Sequence[str]) -> list[str]:
    """Names in order; a repeated one gets #2, #3 ..."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return result
