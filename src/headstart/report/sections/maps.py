"""Maps of the features before and after training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from headstart.report.figures.palette import styles
from headstart.report.figures.scatter import feature_maps, numeric_maps
from headstart.report.folder import RunFolder
from headstart.report.formats import label_text
from headstart.report.sections.section import Section

MOST_GROUPS = 16
COLUMNS = ("before_x", "before_y", "after_x", "after_y", "label")


def maps(run: RunFolder) -> Section:
    """Two scatter plots with one legend; None where the run has no maps."""
    table = run.maps
    values: dict[str, Any] = {
        "figure_svg": None,
        "legend": [],
        "others": 0,
        "n": 0,
        "kind": run.report.task.kind,
        "part": run.report.part,
    }
    if table is not None and len(table) and set(COLUMNS) <= set(table.columns):
        places = table[list(COLUMNS[:4])].to_numpy(dtype=float)
        good = np.isfinite(places).all(axis=1)
        places, labels = places[good], table["label"][good]
        values["n"] = len(places)
        if len(places) and run.report.task.kind == "regression":
            numbers = pd.to_numeric(labels, errors="coerce").to_numpy(dtype=float)
            if np.isfinite(numbers).any():
                values["figure_svg"] = numeric_maps(places[:, :2], places[:, 2:], numbers, "maps")
        elif len(places):
            values |= _by_class(places, [label_text(v) for v in labels], run.report.task.classes)
    return Section("maps", "How the network sees the data", "maps.html", values)


def _by_class(places: np.ndarray, labels: list[str], classes: list[str]) -> dict[str, Any]:
    counts = pd.Series(labels).value_counts()
    shown = list(counts.index[:MOST_GROUPS])
    order = {label_text(c): i for i, c in enumerate(classes)}
    shown.sort(key=lambda label: (order.get(label, len(order)), label))
    index = {label: i for i, label in enumerate(shown)}
    looks = styles(len(shown))
    return {
        "figure_svg": feature_maps(places[:, :2], places[:, 2:], [index.get(v, -1) for v in labels], looks, "maps"),
        "legend": [(label, *looks[i]) for label, i in index.items()],
        "others": len(counts) - len(shown),
    }
