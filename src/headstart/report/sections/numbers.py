"""Where a regression is wrong: predicted against true values, residuals, single samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from headstart.report.figures.regression import predicted_against_true, residuals
from headstart.report.folder import RunFolder
from headstart.report.pictures import Album
from headstart.report.sections.errors import errors
from headstart.report.sections.section import Section


def numbers(run: RunFolder, album: Album) -> Section:
    """The section on errors of a regression."""
    report = run.report
    values: dict[str, Any] = {"part": report.part, "scatter": None, "residuals": None, "numeric": True}
    values["modality"] = report.data.modality
    values["worst"] = errors(run, album).values["worst"]
    table = run.predictions
    if table is not None and {"part", "label", "predicted"} <= set(table.columns):
        rows = table[table["part"] == report.part]
        pairs = pd.DataFrame({c: pd.to_numeric(rows[c], errors="coerce") for c in ("label", "predicted")})
        pairs = pairs[np.isfinite(pairs.to_numpy(dtype=float)).all(axis=1)]
        if len(pairs):
            true, predicted = (pairs[c].to_numpy(dtype=float) for c in ("label", "predicted"))
            values["scatter"] = predicted_against_true(true, predicted, "scatter")
            values["residuals"] = residuals(true, predicted, "residuals")
    return Section("errors", "Where it is wrong", "numbers.html", values)
