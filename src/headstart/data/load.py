"""`load_data`: anything a user has becomes one `Dataset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from headstart.core.errors import ConfigError, DataError, did_you_mean
from headstart.data.arrays import as_pictures, read_arrays
from headstart.data.assemble import assemble, combine
from headstart.data.dataset import Content, Dataset
from headstart.data.folders import picture_files, read_folder
from headstart.data.objects import read_inputs, read_object
from headstart.data.picture_sources import CellSource, FileSource
from headstart.data.raw import Raw
from headstart.data.samples import read_sample
from headstart.data.schema import Modality, Schema
from headstart.data.source import RowsSource
from headstart.data.table_files import TABLE_SUFFIXES, open_table
from headstart.data.tables import Columns, read_pictures, read_table
from headstart.data.tasks import TaskOption


@dataclass(frozen=True)
class LoadOptions:
    """How to read data.

    Attributes
    ----------
    modality
        What the samples are; None finds out.
    image
        Column of pictures (tables); guessed if not named.
    text
        One column of texts (tables), or two for pairs; guessed if not named.
    series, id, time
        Of long tables of series, one row per time step: the channels' columns, the column that says which series a
        row belongs to, and the one that orders its rows.
    window, stride
        Length of the windows that recordings are cut into, and from the start of one to the next: "2s", "500ms",
        "128" (steps).
    label, labels
        Label column, or several of them (tables); guessed if not named.
    task
        Kind of task; "auto" guesses from the labels (`headstart.data.tasks` has the rules).
    group
        Column whose values never stand on two sides of a split.
    split_by
        Column that orders the samples in time.
    valid, test
        Data given for validation and for the test: whatever `load_data` accepts.
    bad_samples
        "skip" names, counts and leaves out unreadable pictures, up to a tenth of them; "refuse" refuses any.
    """

    modality: Modality | None = None
    image: str | None = None
    text: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    id: str | None = None
    time: str | None = None
    window: str | None = None
    stride: str | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()
    task: TaskOption = "auto"
    group: str | None = None
    split_by: str | None = None
    valid: Any = None
    test: Any = None
    bad_samples: Literal["skip", "refuse"] = "skip"


def load_data(source: Any, options: LoadOptions | None = None, **named: Any) -> Dataset:
    """Read labelled pictures.

    Parameters
    ----------
    source
        A folder of pictures by class (with or without train, validation and test folders); a CSV, TSV, JSONL
        or Parquet file with a column of picture paths; `(x, y)` of NumPy arrays or torch tensors; a pandas
        frame; a `datasets.Dataset` or `DatasetDict`; a torch `Dataset` of (picture, label); `"sample:NAME"`;
        or a `Dataset`.
    options
        How to read it.
    **named
        The same options by name.

    Returns
    -------
    Dataset
        `notes` says what was guessed, skipped or noticed.

    Raises
    ------
    DataError
        For anything missing, unreadable, unlabelled or useless, saying what, where and what to do.
    ConfigError
        For an unknown option.

    Examples
    --------
    >>> import numpy as np
    >>> digits = load_data((np.zeros((4, 8, 8), np.uint8), ["a", "b", "a", "b"]))
    >>> digits
    Dataset('arrays', 4 samples, label: single-label)
    >>> digits.read(0).inputs.shape
    (8, 8, 1)
    """
    options = _with_named(options or LoadOptions(), named)
    if isinstance(source, Dataset):
        if options != LoadOptions():
            raise ConfigError("These data are loaded already.", "Give such options to load_data, where they are read.")
        return source
    _check_columns(source, options)
    raw = read_raw(source, options)
    given = {"validation": options.valid, "test": options.test}
    if any(extra is not None for extra in given.values()):
        resolved = replace(options, valid=None, test=None)
        extras = {part: read_raw(extra, resolved) for part, extra in given.items() if extra is not None}
        raw = combine(raw, extras)
    return assemble(raw, options.task, options.bad_samples)


def load_inputs(inputs: Any, image: str | None = None) -> Dataset:
    """Read pictures without labels, to predict on.

    Parameters
    ----------
    inputs
        A path, a glob pattern, a folder, a table of pictures, a sample, or a list of paths, patterns, arrays,
        Pillow images; or one array of pictures (N, H, W, C).
    image
        Column of pictures, for tables.

    Returns
    -------
    Dataset
        Without tasks; unreadable pictures are left out and named in `notes`.

    Raises
    ------
    DataError
        If there is nothing to read.
    """
    raw = _raw_inputs(inputs, image)
    facts = raw.source.facts
    bad = [row for row, fact in enumerate(facts) if fact.problem]
    for row in bad:
        raw.notes.warn("pictures", f"{raw.source.describe(row)}: {facts[row].problem}.")
    good = np.array([row for row, fact in enumerate(facts) if not fact.problem], dtype=np.int64)
    if not len(good):
        first = f": {raw.source.describe(bad[0])}: {facts[bad[0]].problem}" if bad else ""
        raise DataError(f"None of the {len(facts)} pictures can be read{first}.", "Check the files.")
    channels = max(facts[row].channels for row in good)
    return Dataset(raw.name, Schema("image", (), channels=channels), Content(raw.source, raw.ids), good, raw.notes)


def read_raw(source: Any, options: LoadOptions) -> Raw:
    """Read anything that `load_data` accepts, without interpreting its labels."""
    if isinstance(source, str) and source.startswith("sample:"):
        return read_sample(source)
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        if path.is_file():
            if path.suffix.lower() not in TABLE_SUFFIXES:
                raise DataError(
                    f"{path} is a file, but not a table.",
                    f"Give a folder of pictures by class, or a table ({' '.join(TABLE_SUFFIXES)}).",
                )
            return read_table(open_table(path), str(source), _columns(options), path.parent)
        return read_folder(path)
    if isinstance(source, tuple) and len(source) == 2:
        return read_arrays(*source)
    return read_object(source, _columns(options))


def _check_columns(source: Any, options: LoadOptions) -> None:
    """Only tables have columns; a group that was asked for and not kept together would be a leak."""
    path = Path(source).expanduser() if isinstance(source, str | Path) else None
    sample = isinstance(source, str) and source.startswith("sample:")
    if not (sample or isinstance(source, tuple) or (path is not None and path.is_dir())):
        return
    what = "samples" if sample else "folders" if path is not None else "arrays"
    for name in ("image", "text", "series", "id", "time", "label", "labels", "group", "split_by"):
        if getattr(options, name):
            raise ConfigError(
                f"{name} names a column ({getattr(options, name)!r}), and {what} have none.",
                "Give a table of pictures (CSV, JSONL, Parquet or a pandas frame) with that column.",
            )


def _columns(options: LoadOptions) -> Columns:
    labels = options.labels or ((options.label,) if options.label else ())
    return Columns(options.image, labels, options.group, options.split_by, options.task)


def _with_named(options: LoadOptions, named: Mapping[str, Any]) -> LoadOptions:
    known = [field.name for field in fields(LoadOptions)]
    for key in named:
        if key not in known:
            raise ConfigError(f"Unknown option {key!r} of load_data.", did_you_mean(key, known))
    options = replace(options, **named)
    if isinstance(options.labels, str):
        options = replace(options, labels=tuple(name.strip() for name in options.labels.split(",")))
    if options.label and options.labels:
        raise ConfigError("Both label and labels are given.", "Name one label column, or several with labels.")
    if options.bad_samples not in ("skip", "refuse"):
        raise ConfigError(f"bad_samples cannot be {options.bad_samples!r}.", "Use 'skip' or 'refuse'.")
    if options.task not in ("auto", "single-label", "multi-label", "regression"):
        hint = "Use 'auto', 'single-label', 'multi-label' or 'regression'."
        raise ConfigError(f"task cannot be {options.task!r}.", hint)
    return options


def _raw_inputs(inputs: Any, image: str | None) -> Raw:
    if isinstance(inputs, Dataset):
        rows = inputs.rows
        cells = RowsSource(inputs.content.source, rows)
        return Raw(inputs.name, cells, inputs.ids)
    if isinstance(inputs, np.ndarray) or hasattr(inputs, "detach"):
        pictures = as_pictures(inputs)
        return Raw("arrays", pictures, [str(i) for i in range(len(pictures))])
    if isinstance(inputs, str | Path):
        text = str(inputs)
        if text.startswith("sample:") or (Path(text).is_file() and Path(text).suffix.lower() in TABLE_SUFFIXES):
            return _table_of_pictures(text, image)
        inputs = [inputs]
    if not isinstance(inputs, Sequence):
        return _table_of_pictures(inputs, image)
    if not len(inputs):
        raise DataError("There is nothing to predict on: the list of pictures is empty.", "Name files or folders.")
    if all(isinstance(item, str | Path) for item in inputs):
        paths = [path for item in inputs for path in _expand(str(item))]
        return Raw("pictures", FileSource(paths), _unique([path.as_posix() for path in paths]))
    return Raw("pictures", CellSource(inputs), [str(i) for i in range(len(inputs))])


def _table_of_pictures(source: Any, image: str | None) -> Raw:
    if isinstance(source, str) and source.startswith("sample:"):
        return read_raw(source, LoadOptions())
    if isinstance(source, str):
        return read_pictures(open_table(Path(source)), source, image, Path(source).parent)
    return read_inputs(source, image)


def _expand(text: str) -> list[Path]:
    """Files that a path, folder or pattern stands for."""
    path = Path(text).expanduser()
    if path.is_dir():
        found = picture_files(path)
        if not found:
            raise DataError(f"There are no pictures below {path}.", "Name picture files or a folder with some.")
        return found
    if any(mark in text for mark in "*?[") and not path.exists():
        root = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(p for p in root.glob(str(path.relative_to(root) if path.anchor else path)) if p.is_file())
        if not found:
            raise DataError(f"No file matches {text}.", "Check the pattern.")
        return found
    if not path.exists():
        raise DataError(f"There is no file {path}.", "Check the path.")
    return [path]


def _unique(names: Sequence[str]) -> list[str]:
    """Names in order; a repeated one gets #2, #3 ..."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return result
