"""Reading a run folder: report.json is checked, every other file may be missing or cut short."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import ValidationError

from headstart.core.errors import StoreError
from headstart.report.schema.report import SCHEMA, Report

TRACES = ("config.yaml", "data.json", "metrics.jsonl")


@dataclass(frozen=True)
class RunFolder:
    """What is in a run folder.

    Attributes
    ----------
    path
        The folder.
    report
        report.json, or an empty report where the run has not come that far.
    events
        Lines of metrics.jsonl, in order of writing.
    predictions, maps
        The tables, or None where there is none.
    missing
        Sentences about files that could not be read.
    """

    path: Path
    report: Report
    events: list[dict[str, Any]] = field(default_factory=list)
    predictions: pd.DataFrame | None = None
    maps: pd.DataFrame | None = None
    missing: list[str] = field(default_factory=list)


def read_run_folder(path: Path) -> RunFolder:
    """Read a run folder, finished or not.

    Raises
    ------
    StoreError
        If this is no run folder, report.json is damaged, or it was written by a newer Headstart.
    """
    path = Path(path)
    if not path.is_dir():
        raise StoreError(f"There is no run folder {path}.", "Name a folder that `headstart fit` wrote.")
    missing: list[str] = []
    file = path / "report.json"
    if file.is_file():
        report = _read_report(file)
    elif any((path / name).exists() for name in TRACES):
        report = _unfinished(path)
    else:
        raise StoreError(
            f"{path} is not a run folder: it has no report.json.", "Name a folder that `headstart fit` wrote."
        )
    return RunFolder(
        path=path,
        report=report,
        events=list(_read_events(path / "metrics.jsonl", missing)),
        predictions=_read_table(path / "predictions.parquet", missing),
        maps=_read_table(path / "maps.parquet", missing),
        missing=missing,
    )


def _read_report(file: Path) -> Report:
    try:
        # NaN and Infinity are not JSON, but Python writes them; not a number is a missing value.
        raw = json.loads(file.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{file} cannot be read: {error}.", "Run `headstart resume` on the folder, or fit again."
        ) from None
    if not isinstance(raw, dict):
        raise StoreError(f"{file} does not hold a report.", "Fit again into another folder.")
    version = raw.get("schema", SCHEMA)
    if not isinstance(version, int) or version > SCHEMA:
        raise StoreError(
            f"{file} was written in schema {version}; this Headstart reads up to {SCHEMA}.",
            "Upgrade Headstart: pip install -U headstart.",
        )
    try:
        return Report.model_validate(_without_nulls(raw))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreError(
            f"{file} is damaged at {where or 'the top'}: {first['msg']}.", "Fit again, or restore the file."
        ) from None


def _without_nulls(value: Any) -> Any:
    """Without what is null, and without estimates of what is not defined: AUROC where there is one class."""
    if isinstance(value, dict):
        known = {k: v for k, v in value.items() if v is not None}
        return {k: _without_nulls(v) for k, v in known.items() if not _is_undefined(v)}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    return value


def _is_undefined(value: Any) -> bool:
    return isinstance(value, dict) and value.get("value", 0.0) is None and value.keys() <= {"value", "low", "high"}


def _unfinished(path: Path) -> Report:
    """What config.yaml and data.json tell about a run that has not written report.json yet."""
    raw: dict[str, Any] = {"schema": SCHEMA, "name": path.name, "status": "unfinished"}
    with suppress(OSError, ValueError, yaml.YAMLError):
        options = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        if isinstance(options, dict) and options.get("model"):
            raw["model"] = {"reference": str(options["model"])}
    with suppress(OSError, ValueError):  # pydantic's ValidationError is a ValueError
        data = json.loads((path / "data.json").read_text(encoding="utf-8"))
        if isinstance(data, dict):
            known = {k: data[k] for k in ("name", "fingerprint", "notes") if data.get(k)}
            return Report.model_validate(raw | {"data": known})
    return Report.model_validate(raw)


def _read_events(file: Path, missing: list[str]) -> Iterator[dict[str, Any]]:
    if not file.is_file():
        return
    bad = 0
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line, parse_constant=lambda _: None)
        except ValueError:
            bad += 1  # a killed run may leave half a line
            continue
        if isinstance(event, dict):
            yield event
    if bad > 1:
        missing.append(f"{bad} lines of metrics.jsonl could not be read.")


def _read_table(file: Path, missing: list[str]) -> pd.DataFrame | None:
    if not file.is_file():
        return None
    try:
        return pq.read_table(file).to_pandas()
    except (OSError, pa.ArrowException) as error:
        missing.append(f"{file.name} could not be read ({type(error).__name__}).")
        return None
