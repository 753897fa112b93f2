"""Weak slices: parts of the judged samples on which a model does worse than on the rest, beyond chance.

Many slices are tried, so each interval is at the level 1 - 5% / tries (Bonferroni): that any slice is called weak where
none is has a probability of at most about 5%.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from headstart.measure.intervals import wilson

LEAST = 20
"""Samples of a slice, and of the rest."""

MOST_VALUES = 20
"""Different values of a column that make slices of their own; a column of texts with more makes none."""

BINS = ("lowest", "middle", "highest")
LEVEL = 0.95
MOST_NAMED = 10


@dataclass(frozen=True)
class Slice:
    """A named part of the samples: (N,) bool."""

    name: str
    members: np.ndarray


def slices_of(name: str, values: Sequence[Any], least: int = LEAST) -> list[Slice]:
    """Slices by a column: a slice for each frequent value, or thirds of numbers; missing values are in none.

    >>> [s.name for s in slices_of("camera", ["a"] * 30 + ["b"] * 30 + ["c"])]
    ['camera = a', 'camera = b']
    >>> [s.name for s in slices_of("age", list(range(90)))]
    ['age: lowest third (up to 29)', 'age: middle third (30 to 59)', 'age: highest third (from 60)']
    """
    column = pd.Series(list(values))
    known = column.dropna()
    try:
        distinct = known.nunique()
    except TypeError:  # lists and the like
        return []
    if distinct < 2 or len(known) < 2 * least:
        return []
    numbers = not known.map(lambda v: isinstance(v, bool | str)).any() and pd.to_numeric(known, errors="coerce").notna()
    if distinct > MOST_VALUES or (numbers is not False and distinct > len(BINS) and np.all(numbers)):
        return _thirds(name, column, least) if numbers is not False and np.all(numbers) else []
    found = []
    for value in sorted(known.unique(), key=str):
        members = (column == value).to_numpy()
        if least <= members.sum() <= len(column) - least:
            found.append(Slice(f"{name} = {value}", members))
    return found


def _thirds(name: str, column: pd.Series, least: int) -> list[Slice]:
    x = pd.to_numeric(column).to_numpy(dtype=float)
    low, high = np.nanquantile(x, [1 / 3, 2 / 3])
    members = (x < low, (x >= low) & (x < high), x >= high)
    found = []
    for which, inside in zip(BINS, members, strict=True):
        if least <= inside.sum() <= len(x) - least:
            a, b = (f"{v:.4g}" for v in (x[inside].min(), x[inside].max()))
            range_ = {"lowest": f"up to {b}", "middle": f"{a} to {b}", "highest": f"from {a}"}[which]
            found.append(Slice(f"{name}: {which} third ({range_})", inside))
    return found


def weak_slices(errors: np.ndarray, slices: Sequence[Slice], ids: Sequence[str]) -> dict[str, Any]:
    """Compare every slice with the rest.

    Parameters
    ----------
    errors
        (N,) of each sample: 1 for a wrong answer and 0 for a right one, or a loss; NaN where there is none.
    slices
        Overlapping ones may be among them.
    ids
        (N,) names.

    Returns
    -------
    dict
        `tested`, how many; `level` of each interval; `weak`: those worse than the rest, the costliest (samples times
        difference) first, each with `name`, `n`, `errors` (mean), `rest` (mean), `difference` (value, low, high) and
        `ids`, its worst samples.

    Notes
    -----
    Shares of errors have Newcombe's score interval of a difference (R. Newcombe, Statistics in Medicine 17, 1998,
    method 10); losses Welch's.
    """
    known = ~np.isnan(errors)
    binary = bool(np.isin(errors[known], (0, 1)).all())
    usable = []
    for s in slices:
        inside, outside = known & s.members, known & ~s.members
        if inside.sum() >= LEAST and outside.sum() >= LEAST:
            usable.append((s, inside, outside))
    level = 1 - (1 - LEVEL) / max(1, len(usable))
    weak: list[dict[str, Any]] = []
    for s, inside, outside in usable:
        a, b = errors[inside], errors[outside]
        low, high = _newcombe(a, b, level) if binary else _welch(a, b, level)
        if not low > 0:
            continue
        order = np.flatnonzero(inside)[np.argsort(-a, kind="stable")]
        wrong = [i for i in order if errors[i] > 0][:MOST_NAMED]
        gap = float(a.mean() - b.mean())
        weak.append(
            {
                "name": s.name,
                "n": len(a),
                "errors": float(a.mean()),
                "rest": float(b.mean()),
                "difference": {"value": gap, "low": low, "high": high},
                "ids": [str(ids[i]) for i in wrong],
            }
        )
    weak.sort(key=lambda w: -w["n"] * w["difference"]["value"])
    return {"tested": len(usable), "level": level, "weak": weak}


def _newcombe(a: np.ndarray, b: np.ndarray, level: float) -> tuple[float, float]:
    p, q = float(a.mean()), float(b.mean())
    (l1, u1), (l2, u2) = wilson(a.sum(), len(a), level), wilson(b.sum(), len(b), level)
    gap = p - q
    return gap - float(np.hypot(p - l1, u2 - q)), gap + float(np.hypot(u1 - p, q - l2))


def _welch(a: np.ndarray, b: np.ndarray, level: float) -> tuple[float, float]:
    from scipy import stats  # 0.3 s to import

    found = stats.ttest_ind(a, b, equal_var=False).confidence_interval(level)
    return float(found.low), float(found.high)


def all_slices(columns: Mapping[str, Sequence[Any]]) -> list[Slice]:
    """Slices by every column."""
    return [s for name, values in columns.items() for s in slices_of(name, values)]
