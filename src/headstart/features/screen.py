"""Where to look: which stage, pooling grid and image size give the best features for these data.

Measured by a probe's cross-validation on at most 1,000 stratified samples of the training part. All stages and grids
come from one pass over the pictures; a larger size is taken only where it pays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from headstart.core.progress import progress
from headstart.data.schema import Task
from headstart.features.extract import Place, extract
from headstart.features.probe import SCREENING, as_outputs, label_scale, score, target_of
from headstart.features.solver import fit_paths, fold_weights_of, out_of_fold
from headstart.models.backbone import Backbone
from headstart.train.reader import Reader

MOST_SAMPLES = 1000
STEP = 32

Open = Callable[[int], tuple[Backbone, Reader]]
"""Size in pixels -> a backbone for that size and a reader whose part "screen" are the samples."""


@dataclass
class Row:
    """One place at one size: cross-validated score, its standard error, and the size of the feature vector."""

    size: int
    stage: str
    grid: int
    dimensions: int
    score: float
    error: float
    strength: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Screening:
    """What was measured and chosen. `last` is the best row that reads the network's own last layer."""

    rows: list[Row]
    chosen: Row
    last: Row
    reasons: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": [r.as_json() for r in self.rows],
            "chosen": self.chosen.as_json(),
            "last": self.last.as_json(),
            "reasons": self.reasons,
        }

    @classmethod
    def from_json(cls, v: dict[str, Any]) -> Screening:
        return cls([Row(**r) for r in v["rows"]], Row(**v["chosen"]), Row(**v["last"]), v["reasons"])


def sizes_to_try(native: int, fixed: bool, side: float) -> list[int]:
    """Two or three sizes, smallest first: the network's own for large pictures, less for small ones.

    Parameters
    ----------
    native
        The size that the network was trained at.
    fixed
        Whether it takes no other size without being changed (position embeddings).
    side
        Median shorter side of the pictures, pixels.

    >>> sizes_to_try(224, False, 28)
    [64, 96, 128]
    >>> sizes_to_try(224, False, 500)
    [160, 224]
    >>> sizes_to_try(224, True, 28)
    [224]
    """
    if fixed:
        return [native]
    if side >= native:
        return [_round(native * 0.7), native]
    sizes = {min(native, _round(f * max(side, 28))) for f in (2.2, 3.4, 4.5)}
    return sorted(sizes)


def _round(size: float) -> int:
    return max(STEP, round(size / STEP) * STEP)


def screen(
    open_at: Open,
    sizes: Sequence[int],
    labels: np.ndarray,
    task: Task,
    metric: str,
    assignment: Tensor,
    stage: str = "auto",
) -> Screening:
    """Probe every stage, grid and size, and choose.

    The first size is probed everywhere; further sizes only at the places that did well there. Among places, the
    best; among sizes, the smaller unless the larger gains more than its standard error.

    Parameters
    ----------
    labels, assignment
        Of the screening samples, and the fold that holds each out.
    stage
        "auto", "last", or the name of one.
    """
    rows: list[Row] = []
    held: dict[tuple[int, Place], np.ndarray] = {}
    lasts: list[Row] = []
    places: list[Place] | None = None
    for size in sizes:
        backbone, reader = open_at(size)
        names = list(backbone.stages)
        if stage not in ("auto", "last"):
            backbone_places: list[Place] | None = [(stage, g) for g in (1, 2, 3)] + [(names[-1], 1)]
        elif stage == "last":
            backbone_places = [(names[-1], 1)]
        else:
            backbone_places = places
        features = extract(backbone, reader, "screen", backbone_places)
        here: list[Row] = []
        with progress().task(f"probing stages, {size} px", len(features)) as advance:
            for place, x in features.items():
                row, logits = _probe(x, labels, task, metric, assignment, size, place)
                advance(1)
                held[size, place] = logits
                here.append(row)
        rows += here
        lasts += [r for r in here if (r.stage, r.grid) == (names[-1], 1)]
        if places is None and stage == "auto":
            ranked = sorted(here, key=lambda r: -r.score)
            places = list(dict.fromkeys([(r.stage, r.grid) for r in ranked[:4]] + [(names[-1], 1)]))
    eligible = [r for r in rows if stage in ("auto", r.stage) or (stage == "last" and r in lasts)]
    best_by_size = [max((r for r in eligible if r.size == s), key=lambda r: r.score) for s in sizes]
    chosen = best_by_size[0]
    reasons = []
    for other in best_by_size[1:]:
        gain, error = paired_gain(
            task,
            labels,
            held[chosen.size, (chosen.stage, chosen.grid)],
            held[other.size, (other.stage, other.grid)],
            metric,
        )
        pays = gain > max(error, 0.002 if task.kind != "regression" else 0.0)
        verdict = "pays" if pays else "does not pay"
        reasons.append(
            f"{other.size} px instead of {chosen.size} px changes the probe's {metric} by {gain:+.3f} "
            f"(standard error {error:.3f}): the larger size {verdict}."
        )
        chosen = other if pays else chosen
    last = max(lasts, key=lambda r: (r.size == chosen.size, r.score))
    if chosen.stage != last.stage or chosen.grid != last.grid:
        reasons.insert(
            0,
            f"The stage {chosen.stage}, pooled to {chosen.grid}×{chosen.grid}, probes at {_show(chosen.score)} "
            f"against {_show(last.score)} for the last layer.",
        )
    return Screening(rows, chosen, last, reasons)


def _show(value: float) -> str:
    return f"{abs(value):.3f}"


def _probe(
    x: Tensor, labels: np.ndarray, task: Task, metric: str, assignment: Tensor, size: int, place: Place
) -> tuple[Row, np.ndarray]:
    folds = int(assignment.max()) + 1
    shift, spread = label_scale(task, labels)
    y = target_of(task, labels)
    y = (y - shift) / spread if task.kind == "regression" else y
    path = fit_paths(x, y, task.kind, task.outputs, list(SCREENING), fold_weights_of(assignment, folds))
    held = (out_of_fold(path, x, assignment) * spread + shift).numpy()
    values = [score(task, metric, labels, z) for z in held]
    best = int(np.argmax(values))
    have = ~np.isnan(held[best]).any(axis=1)
    error = float(np.std(_per_sample(task, labels[have], held[best][have])) / np.sqrt(max(1, have.sum())))
    row = Row(size, place[0], place[1], x.shape[1], values[best], error, SCREENING[best])
    return row, held[best]


def _per_sample(task: Task, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """A number per sample, higher is better: correctness, or minus the error."""
    outputs = as_outputs(task, logits)
    if task.kind == "single-label":
        return (outputs.argmax(1) == labels).astype(float)
    if task.kind == "multi-label":
        return ((outputs > 0.5) == (labels > 0.5)).mean(1)
    return -np.abs(outputs - labels)


def paired_gain(
    task: Task, labels: np.ndarray, a: np.ndarray, b: np.ndarray, metric: str
) -> tuple[float, float]:
    """Gain of b over a in the metric, and the standard error of the paired per-sample difference."""
    have = ~(np.isnan(a).any(1) | np.isnan(b).any(1))
    gain = score(task, metric, labels[have], b[have]) - score(task, metric, labels[have], a[have])
    difference = _per_sample(task, labels[have], b[have]) - _per_sample(task, labels[have], a[have])
    return gain, float(difference.std() / np.sqrt(max(1, have.sum())))
