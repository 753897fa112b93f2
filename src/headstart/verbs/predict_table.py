"""Predictions as columns of the table that was asked about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from headstart.core.errors import ConfigError, StoreError
from headstart.data.load import is_table
from headstart.data.objects import as_table
from headstart.data.table_files import open_table, separator_of
from headstart.store.atomic import replacing, store_error

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def with_predictions(source: Any, rows: Sequence[dict[str, Any]], top: int = 1) -> pd.DataFrame:
    """What `predict` said, beside the columns of the table that it was asked about.

    Parameters
    ----------
    source
        What was given to `predict`. Where it is a table with a row per sample, its columns come first, as they stand
        there (00123 stays 00123); else (files, series that take many rows each) every sample has a row with its id.
    rows
        What `predict` returned.
    top
        Classes to say for each; further ones are columns `class_2`, `probability_2`, ...
    """
    frame = _frame(source)
    if frame is None or len(frame) != len(rows):
        frame = pd.DataFrame({"id": [row["id"] for row in rows]})
    if any("tasks" in row for row in rows):
        return _with_tasks(frame, rows)
    made = {"predicted": [_plain(row.get("predicted")) for row in rows]}
    if any("confidence" in row for row in rows):
        made["confidence"] = [row.get("confidence") for row in rows]
    for k in range(2, top + 1):
        others = [(row.get("top") or [])[k - 1 : k] for row in rows]
        made[f"class_{k}"] = [e[0]["class"] if e else None for e in others]
        made[f"probability_{k}"] = [e[0]["probability"] if e else None for e in others]
    if any("error" in row for row in rows):
        made["error"] = [row.get("error") for row in rows]
    return _beside(frame, made)


def _with_tasks(frame: pd.DataFrame, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Of several tasks: columns TASK_predicted and, of classes, TASK_confidence."""
    made: dict[str, list[Any]] = {}
    for task, example in next(row["tasks"] for row in rows if "tasks" in row).items():
        said = [row.get("tasks", {}).get(task, {}) for row in rows]
        made[f"{task}_predicted"] = [_plain(one.get("predicted")) for one in said]
        if "confidence" in example:
            made[f"{task}_confidence"] = [one.get("confidence") for one in said]
    if any("error" in row for row in rows):
        made["error"] = [row.get("error") for row in rows]
    return _beside(frame, made)


def _beside(frame: pd.DataFrame, made: dict[str, list[Any]]) -> pd.DataFrame:
    for name, values in made.items():
        while name in frame.columns:  # the table's own column of that name stays
            name += "_"
        frame[name] = values
    return frame


def check_target(path: Path) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises
    ------
    ConfigError
        For a kind of file that is not known.
    StoreError
        When it is there already, or its folder is not.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{path}: tables are written as {', '.join(SUFFIXES)}.", "Give the file one of these endings."
        )
    if path.exists():
        raise StoreError(f"{path} is there already.", "Name another file, or remove it.")
    if not path.parent.is_dir():
        raise StoreError(f"There is no folder {path.parent}.", "Make it, or name another.")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all, as its ending says.

    Raises
    ------
    StoreError
        When the disk refuses.
    """
    suffix = path.suffix.lower()
    try:
        with replacing(path) as temporary:
            if suffix == ".parquet":
                frame.to_parquet(temporary)
            elif suffix == ".jsonl":
                frame.to_json(
                    temporary, orient="records", lines=True, force_ascii=False, date_format="iso", double_precision=15
                )
            else:
                frame.to_csv(temporary, index=False, sep=separator_of(path), lineterminator="\n")
    except OSError as error:
        raise store_error(error, path) from error


def _frame(source: Any) -> pd.DataFrame | None:
    """A fresh frame of a table; None for anything else."""
    if isinstance(source, list | tuple) and len(source) == 1 and isinstance(source[0], str | Path):
        source = source[0]
    if isinstance(source, pd.DataFrame):
        return source.reset_index(drop=True)
    if isinstance(source, str | Path):
        if not is_table(source) or not Path(source).is_file():
            return None
        return _as_written(Path(source))
    return None if as_table(source) is None else source.to_pandas()


def _as_written(path: Path) -> pd.DataFrame:
    """The columns of a file, such that nothing that stands in them changes where they are written again."""
    typed = open_table(path).to_pandas()
    if path.suffix.lower() in (".csv", ".tsv"):
        return _texts(path, typed)
    return typed if path.suffix.lower() == ".parquet" else _records(path, typed)


def _texts(path: Path, typed: pd.DataFrame) -> pd.DataFrame:
    """Of CSV: a column is numbers where these are written as they stand in the file, else texts (00123, NA, blanks)."""
    frame = pd.read_csv(path, sep=separator_of(path), dtype=str, keep_default_na=False, encoding="utf-8-sig")
    for name in frame.columns:
        if typed[name].astype(str).equals(frame[name]):
            frame[name] = typed[name]
    return frame


def _records(path: Path, typed: pd.DataFrame) -> pd.DataFrame:
    """Of JSON records: the values as they are, dates as texts and whole numbers whole beside gaps."""
    text = path.read_text(encoding="utf-8")
    try:
        in_list = text.lstrip().startswith("[")
        records = json.loads(text) if in_list else [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError:
        return typed  # one document of columns
    if len(records) != len(typed) or not all(isinstance(record, dict) for record in records):
        return typed
    return pd.DataFrame(records, dtype=object)


def _plain(predicted: Any) -> Any:
    return ", ".join(map(str, predicted)) if isinstance(predicted, list | tuple) else predicted
