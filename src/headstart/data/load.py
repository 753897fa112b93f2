"""`load_data`: anything a user has becomes one `Dataset`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from headstart.core.errors import ConfigError, DataError, did_you_mean
from headstart.data.arrays import read_arrays
from headstart.data.assemble import assemble, channels_of, combine
from headstart.data.dataset import Content, Dataset
from headstart.data.folders import read_folder
from headstart.data.inputs import raw_inputs
from headstart.data.joint import join_datasets
from headstart.data.objects import are_texts, as_table, is_table_dict, read_object, read_parts, read_texts
from headstart.data.raw import Raw
from headstart.data.samples import read_sample
from headstart.data.scales import as_scale, check_darkness, check_scale, settle_scale, too_dark
from headstart.data.schema import Modality, Schema
from headstart.data.series_arrays import read_series_arrays
from headstart.data.series_files import SERIES_SUFFIXES, read_series_file
from headstart.data.series_tables import SeriesColumns, read_series_table
from headstart.data.table_files import TABLE_SUFFIXES, open_table
from headstart.data.tables import Columns, read_table
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
        "128" or 128 (steps).
    label, labels
        Label column, or several of them (tables); guessed if not named.
    task
        Kind of task; "auto" guesses from the labels (`headstart.data.tasks` has the rules).
    group
        Column whose values never stand on two sides of a split.
    split_by
        Column that orders the samples in time.
    scale
        What values of arrays of floating point become 0 and 1 in pictures: (0, 255), or "0,255". Found from the range
        of the training data if not given; a model keeps what it was trained with.
    valid, test
        Data given for validation and for the test: whatever `load_data` accepts.
    bad_samples
        "skip" names, counts and leaves out unreadable pictures, up to a tenth of them; "refuse" refuses any.
    one_class
        Whether labels may all be equal: for data that a model is judged on, from which nothing is learned.
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
    scale: tuple[float, float] | None = None
    valid: Any = None
    test: Any = None
    bad_samples: Literal["skip", "refuse"] = "skip"
    one_class: bool = False


def load_data(source: Any, options: LoadOptions | None = None, **named: Any) -> Dataset:
    """Read labelled pictures, texts or series.

    Parameters
    ----------
    source
        A folder of pictures or text files by class (with or without train, validation and test folders); a CSV,
        TSV, JSONL or Parquet file with a column of picture paths or of texts, or of series with a row per time step;
        a `.ts` or `.npz` file of series; `(x, y)` of NumPy arrays, torch tensors or lists of texts; a pandas frame; a
        `datasets.Dataset` or `DatasetDict`; a torch `Dataset` of (picture or text, label); `"sample:NAME"`; or a
        `Dataset`. Several data sets with tasks of their own: a dict of name to any of these, or texts `"NAME=PATH"`
        in a list.
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
    if (several := named_sources(source)) is not None:
        return join_datasets({name: load_data(each, _for(name, each, options)) for name, each in several.items()})
    if isinstance(source, Dataset):
        if options != LoadOptions():
            raise ConfigError("These data are loaded already.", "Give such options to load_data, where they are read.")
        return source
    _check_columns(source, options)
    raw = read_raw(source, options)
    given = {"validation": options.valid, "test": options.test}
    if any(extra is not None for extra in given.values()):
        plain = replace(options, valid=None, test=None)
        resolved = _as_read(raw, plain)
        # Where one of the two is no table, its columns have no names.
        tables = [part for part, extra in given.items() if is_table(source) and is_table(extra)]
        extras = {
            part: read_raw(extra, resolved if part in tables else plain)
            for part, extra in given.items()
            if extra is not None
        }
        raw = combine(raw, extras, tables)
    raw.reading = {**raw.reading, **settle_scale(raw.source, options.scale)}
    check_darkness(raw, given=options.scale is not None)
    return assemble(raw, options.task, options.bad_samples, not options.one_class)


def _as_read(raw: Raw, options: LoadOptions) -> LoadOptions:
    """Options that read further parts from the columns that the training data were read from, in their order."""
    columns = tuple(raw.inputs)
    if not columns:
        return options
    if raw.source.modality == "image":
        return replace(options, image=columns[0])
    return replace(options, text=columns) if raw.source.modality == "text" else replace(options, series=columns)


def named_sources(source: Any) -> dict[str, Any] | None:
    """Name -> source where several data sets are given; None for one.

    >>> named_sources(["digits=sample:mnist5k", "scans=sample:optdigits"])
    {'digits': 'sample:mnist5k', 'scans': 'sample:optdigits'}

    Raises
    ------
    DataError
        If two have the same name.
    """
    if isinstance(source, dict) and not is_table_dict(source):
        return dict(source)
    texts = list(source) if isinstance(source, list | tuple) else [source]
    if not texts or not all(isinstance(text, str) and "=" in text and not os.path.exists(text) for text in texts):
        return None
    found: dict[str, Any] = {}
    for text in texts:
        name, _, path = text.partition("=")
        if name in found:
            raise DataError(f"Two data sets are called {name!r}.", "Give each a name of its own.")
        found[name] = path
    return found


def _for(name: str, source: Any, options: LoadOptions) -> LoadOptions:
    """The options of one of several data sets: labels called NAME.COLUMN are of that one only, others of all."""
    if isinstance(source, Dataset):
        return LoadOptions()
    if options.valid is not None or options.test is not None:
        raise ConfigError("valid and test belong to one data set.", "Give each data set its parts: load_data(...).")
    mine = [one.removeprefix(f"{name}.") for one in options.labels if "." not in one or one.startswith(f"{name}.")]
    return replace(options, labels=tuple(mine))


def load_inputs(
    inputs: Any,
    modality: Modality = "image",
    columns: Sequence[str] = (),
    reading: Mapping[str, str] | None = None,
) -> Dataset:
    """Read samples without labels, to predict or to pretrain on.

    Parameters
    ----------
    inputs
        A path, a glob pattern, a folder, a table, a sample, or a list of paths or patterns; pictures also as a list
        of arrays or Pillow images or as one array (N, H, W, C); texts also as a list of them; series also as a list
        of (T, C) arrays or as one array (N, T, C).
    modality
        What the samples are.
    columns
        Where they stand in a table: the column of pictures, the one or two columns of texts, the channels of series.
    reading
        How a long table is cut into series, or what scale pictures of floating point are on: `Schema.reading`.

    Returns
    -------
    Dataset
        Without tasks, and with the parts that came with the data; unreadable samples are left out and named in
        `notes`.

    Raises
    ------
    DataError
        If there is nothing to read.
    """
    reading = reading or {}
    raw = raw_inputs(inputs, modality, columns, reading)
    if isinstance(inputs, Dataset):
        check_scale(inputs, reading)
        raw.reading = {k: v for k, v in inputs.schema.reading.items() if k == "scale"}
    else:
        scale = as_scale(reading["scale"]) if "scale" in reading else None
        raw.reading = {**raw.reading, **settle_scale(raw.source, scale)}
        if scale is not None and (dark := too_dark(raw.source, scale)[0]):
            raw.notes.warn("scale", f"{dark} If they are on another scale, bring them to that of training.")
    facts, many = raw.source.facts, raw.source.many
    bad = [row for row in range(len(facts)) if facts[row].problem]
    for row in bad:
        raw.notes.warn(many, f"{raw.source.describe(row)}: {facts[row].problem}.")
    good = np.setdiff1d(np.arange(len(facts)), bad)
    if not len(good):
        first = f": {raw.source.describe(bad[0])}: {facts[bad[0]].problem}" if bad else ""
        raise DataError(f"None of the {len(facts)} {many} can be read{first}.", "Check the files.")
    schema = Schema(
        modality,
        (),
        channels=channels_of(raw, facts, good),
        inputs=tuple(raw.inputs),
        period=raw.period,
        reading=raw.reading,
    )
    return Dataset(raw.name, schema, Content(raw.source, raw.ids, parts=raw.parts), good, raw.notes)


def read_raw(source: Any, options: LoadOptions) -> Raw:
    """Read anything that `load_data` accepts, without interpreting its labels."""
    if isinstance(source, str) and source.startswith("sample:"):
        return read_sample(source)
    if isinstance(source, str | Path):
        path = Path(os.path.expanduser(source))
        # Unlike pathlib's, this says no where the disk lets nobody look; read_folder then says why.
        if os.path.isfile(path):
            return _read_file(path, str(source), options)
        return read_folder(path, options.modality)
    if isinstance(source, tuple) and len(source) == 2:
        if options.modality == "sequence":
            return read_series_arrays(*source)
        if options.modality == "text" or (options.modality is None and are_texts(source[0])):
            return read_texts(*source)
        return read_arrays(*source)
    if is_series(options):
        if is_table_dict(source):
            return read_parts(source, lambda table: read_raw(table, options))
        if (table := as_table(source)) is not None:
            return read_series_table(table, type(source).__name__, _series_columns(options))
    return read_object(source, _columns(options))


def _read_file(path: Path, name: str, options: LoadOptions) -> Raw:
    suffix = path.suffix.lower()
    if suffix in SERIES_SUFFIXES:
        return read_series_file(path)
    if suffix not in TABLE_SUFFIXES:
        raise DataError(
            f"{path} is a file, but not a table.",
            f"Give a folder of pictures or texts by class, a table ({' '.join(TABLE_SUFFIXES)}), or series "
            f"({' '.join(SERIES_SUFFIXES)}).",
        )
    table = open_table(path)
    if is_series(options):
        return read_series_table(table, name, _series_columns(options))
    return read_table(table, name, _columns(options), path.parent)


def is_table(source: Any) -> bool:
    """Whether `load_data` takes a source for a table, whose columns have names."""
    if isinstance(source, str | Path):
        return Path(source).suffix.lower() in TABLE_SUFFIXES
    return as_table(source) is not None


def is_series(options: LoadOptions) -> bool:
    """Whether the options say that a table holds series."""
    return options.modality == "sequence" or bool(options.series or options.id or options.window)


def _check_columns(source: Any, options: LoadOptions) -> None:
    """Only tables have columns; a group that was asked for and not kept together would be a leak."""
    path = Path(os.path.expanduser(source)) if isinstance(source, str | Path) else None
    sample = isinstance(source, str) and source.startswith("sample:")
    files = path is not None and path.suffix.lower() in SERIES_SUFFIXES
    if not (sample or files or isinstance(source, tuple) or (path is not None and os.path.isdir(path))):
        return
    what = "samples" if sample else "such files" if files else "folders" if path is not None else "arrays"
    for name in ("image", "text", "series", "id", "time", "label", "labels", "group", "split_by"):
        if getattr(options, name):
            raise ConfigError(
                f"{name} names a column ({getattr(options, name)!r}), and {what} have none.",
                "Give a table (CSV, JSONL, Parquet or a pandas frame) with that column.",
            )
    for name in ("window", "stride"):
        if getattr(options, name):
            raise ConfigError(
                f"{name} cuts recordings, and {what} hold series that are cut already.",
                "Give a table with a row per time step.",
            )


def _columns(options: LoadOptions) -> Columns:
    labels = options.labels or ((options.label,) if options.label else ())
    return Columns(options.modality, options.image, options.text, labels, options.group, options.split_by, options.task)


def _series_columns(options: LoadOptions) -> SeriesColumns:
    if options.split_by:
        raise ConfigError("Series are not split by time.", "Keep recordings together with --group, or give --test.")
    labels = options.labels or ((options.label,) if options.label else ())
    return SeriesColumns(
        options.series, options.id, options.time, labels, options.group, options.window, options.stride
    )


def _with_named(options: LoadOptions, named: Mapping[str, Any]) -> LoadOptions:
    known = [field.name for field in fields(LoadOptions)]
    for key in named:
        if key not in known:
            raise ConfigError(f"Unknown option {key!r} of load_data.", did_you_mean(key, known))
    options = replace(options, **named)
    for field in ("labels", "text", "series"):
        if isinstance(value := getattr(options, field), str):
            columns: dict[str, Any] = {field: tuple(name.strip() for name in value.split(","))}
            options = replace(options, **columns)
    for field in ("window", "stride"):
        if isinstance(value := getattr(options, field), int) and not isinstance(value, bool):
            steps: dict[str, Any] = {field: str(value)}
            options = replace(options, **steps)
    if (given := options.scale) is not None:
        try:
            options = replace(options, scale=as_scale(given))
        except (TypeError, ValueError):
            raise ConfigError(
                f"scale cannot be {given!r}.", "Give the values of black and white, such as 0,255."
            ) from None
    if len(options.text) > 2:
        raise ConfigError(f"text names {len(options.text)} columns.", "Name one, or two for pairs.")
    if options.label and options.labels:
        raise ConfigError("Both label and labels are given.", "Name one label column, or several with labels.")
    if options.bad_samples not in ("skip", "refuse"):
        raise ConfigError(f"bad_samples cannot be {options.bad_samples!r}.", "Use 'skip' or 'refuse'.")
    if options.task not in ("auto", "single-label", "multi-label", "regression"):
        hint = "Use 'auto', 'single-label', 'multi-label' or 'regression'."
        raise ConfigError(f"task cannot be {options.task!r}.", hint)
    return options
