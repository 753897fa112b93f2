"""Where to look: which stage, pooling grid and image size give the best features for these data.

Measured by a probe's cross-validation on at most 1,000 stratified samples of the training part. All stages and grids
come from one pass over the pictures; a larger size is taken only where it pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.progress import progress
from headstart.data.schema import Task
from headstart.features.engines import Engines
from headstart.features.extract import Place, every_place, extract
from headstart.features.following import follow, joined
from headstart.features.probe import (
    ROUGH,
    SCREENING,
    as_metric,
    label_scale,
    per_sample,
    sample_losses,
    score,
    target_of,
)
from headstart.features.solved import remembered
from headstart.features.solver import fold_weights_of, out_of_fold
from headstart.models.backbone import Backbone
from headstart.train.reader import Reader

MOST_SAMPLES = 1000
STEP = 32
KEPT = 4
"""Places of the first size that further sizes are probed at."""

LEAST_GAIN = 0.002
"""A larger size must gain at least this much in the metric; a fifth of a point is no reason to double the work."""

Open = Callable[[int], tuple[Backbone, Reader]]
"""Size in pixels -> a backbone for that size and a reader whose part "screen" are the samples."""


@dataclass
class Row:
    """One place at one size.

    Attributes
    ----------
    score, error
        Cross-validated metric (higher is better) and its standard error.
    loss
        Cross-validated loss per sample, after a temperature: less noisy than the metric where samples are few.
    strength
        Of the penalty that gave the score.
    """

    size: int
    stage: str
    grid: int
    dimensions: int
    score: float
    error: float
    loss: float
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
    """Two sizes, smallest first: the network's own for large pictures, less for small ones.

    Parameters
    ----------
    native
        The size that the network was trained at.
    fixed
        Whether it takes no other size without being changed (position embeddings).
    side
        Median shorter side of the pictures, pixels.

    >>> sizes_to_try(224, False, 28), sizes_to_try(224, False, 100)
    ([64, 96], [128, 224])
    >>> sizes_to_try(224, False, 500)
    [160, 224]
    >>> sizes_to_try(224, True, 28)
    [224]
    """
    if fixed:
        return [native]
    if side >= native:
        return [_round(native * 0.7), native]
    factors = (2.2, 3.4) if side < 64 else (1.2, native / side)
    return sorted({min(native, _round(f * max(side, 28))) for f in factors})


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
    engines: Engines | None = None,
    count: int | None = None,
) -> Screening:
    """Probe every stage, grid and size, and choose.

    The first size is probed everywhere; further sizes only at the places that did well there. Among places whose
    metric lies within one standard error of the best, the one with the lowest loss is taken. Among sizes, the smaller
    is taken unless the larger gains more than a standard error (less where samples are few and the larger costs
    little), in the metric or in the loss.

    Parameters
    ----------
    labels, assignment
        Of the screening samples, and the fold that holds each out.
    stage
        "auto", "last", or the name of one.
    engines
        What runs the network.
    count
        Samples that it will be run over after the choice, most likely at the last size: what an engine is chosen for.
    """
    rows: list[Row] = []
    held: dict[tuple[int, Place], np.ndarray] = {}
    places: list[Place] | None = None
    final: Place | None = None
    for size in sizes:
        backbone, reader = open_at(size)
        names = list(backbone.stages)
        final = (names[-1], 1)
        if stage == "last":
            places = [final]
        elif stage != "auto":
            own = [place for place in every_place(backbone, reader, "screen", "plain") if place[0] == stage]
            places = list(dict.fromkeys([*(own or [(stage, 1)]), final]))
        features = extract(
            backbone, reader, "screen", places, engines=engines, count=count if size == sizes[-1] else None
        )
        with progress().task("probing stages", len(features)) as advance:
            for place, x in features.items():
                row, held[size, place] = _probe(x, labels, task, metric, assignment, size, place)
                rows.append(row)
                advance(1)
        if places is None:
            ranked = sorted((r for r in rows if r.size == size), key=lambda r: (-r.score, r.loss))
            places = list(dict.fromkeys([*((r.stage, r.grid) for r in ranked[:KEPT]), final]))
    eligible = [r for r in rows if stage in ("auto", r.stage) or (stage == "last" and (r.stage, r.grid) == final)]
    chosen, reasons = _best(r for r in eligible if r.size == sizes[0]), []
    for size in sizes[1:]:
        other = _best(r for r in eligible if r.size == size)
        pays, why = _larger_pays(task, labels, held, chosen, other, metric)
        reasons.append(why)
        chosen = other if pays else chosen
    last = next(r for r in rows if (r.stage, r.grid) == final and r.size == chosen.size)
    if (chosen.stage, chosen.grid) != (last.stage, last.grid):
        pooled = f", pooled to {chosen.grid}×{chosen.grid}," if chosen.grid > 1 else ""
        reasons.insert(
            0,
            f"The stage {chosen.stage}{pooled} probes at {as_metric(task, metric, chosen.score):.3f} "
            f"({metric}, cross-validated) against {as_metric(task, metric, last.score):.3f} for the last layer.",
        )
    return Screening(rows, chosen, last, reasons)


def _best(rows: Iterable[Row]) -> Row:
    """Lowest loss among the rows within one standard error of the best metric."""
    rows = list(rows)
    top = max(rows, key=lambda r: r.score)
    return min((r for r in rows if r.score >= top.score - top.error), key=lambda r: r.loss)


def _larger_pays(
    task: Task, labels: np.ndarray, held: dict[tuple[int, Place], np.ndarray], small: Row, large: Row, metric: str
) -> tuple[bool, str]:
    a, b = held[small.size, (small.stage, small.grid)], held[large.size, (large.stage, large.grid)]
    gain, error = paired_gain(task, labels, a, b, metric)
    have = ~(np.isnan(a).any(1) | np.isnan(b).any(1))
    losses = sample_losses(task, labels[have], a[have]) - sample_losses(task, labels[have], b[have])
    less, spread = float(losses.mean()), float(losses.std() / np.sqrt(max(1, len(losses))))
    # Few samples make standard errors large and the larger size cheap: the doubt that a gain must exceed shrinks too.
    doubt = min(1.0, len(losses) / MOST_SAMPLES)
    pays = gain > max(doubt * error, LEAST_GAIN) or (less > doubt * spread and gain > -doubt * error)
    why = (
        f"{large.size} px instead of {small.size} px changes the probe's {metric} by {gain:+.3f} (standard error "
        f"{error:.3f}) and its loss by {-less:+.3f} ({spread:.3f}): "
        f"the larger size {'pays' if pays else 'does not pay'}."
    )
    return pays, why


def _probe(
    x: Tensor, labels: np.ndarray, task: Task, metric: str, assignment: Tensor, size: int, place: Place
) -> tuple[Row, np.ndarray]:
    inputs = [labels, task.kind, task.outputs, metric, assignment]
    tree = remembered("screening", x, inputs, lambda: _measured(x, labels, task, metric, assignment))
    held_out = tree.pop("held_out").numpy()
    return Row(size, place[0], place[1], x.shape[1], **tree), held_out


def _measured(x: Tensor, labels: np.ndarray, task: Task, metric: str, assignment: Tensor) -> dict[str, Any]:
    """Score, error, loss and strength of a `Row`, and the out-of-fold outputs behind them."""
    folds = int(assignment.max()) + 1
    shift, spread = label_scale(task, labels)
    y = target_of(task, labels)
    y = (y - shift) / spread if task.kind == "regression" else y
    of_folds = fold_weights_of(assignment, folds)
    path = joined(follow(x, y, task.kind, task.outputs, SCREENING, of_folds, ROUGH))
    held = (out_of_fold(path, x, assignment) * spread + shift).numpy()
    values = [score(task, metric, labels, z) for z in held]
    best = int(np.argmax(values))
    have = ~np.isnan(held[best]).any(axis=1)
    root = np.sqrt(max(1, have.sum()))
    error = float(per_sample(task, labels[have], held[best][have], metric).std() / root)
    loss = min(float(sample_losses(task, labels[have], z[have]).mean()) for z in held)
    return {
        "score": values[best],
        "error": error,
        "loss": loss,
        "strength": SCREENING[best],
        "held_out": torch.from_numpy(held[best]),
    }


def paired_gain(task: Task, labels: np.ndarray, a: np.ndarray, b: np.ndarray, metric: str) -> tuple[float, float]:
    """Gain of b over a in the metric, and the standard error of the paired per-sample difference."""
    have = ~(np.isnan(a).any(1) | np.isnan(b).any(1))
    gain = score(task, metric, labels[have], b[have]) - score(task, metric, labels[have], a[have])
    first, second = (per_sample(task, labels[have], z[have], metric) for z in (a, b))
    difference = second - first
    return gain, float(difference.std() / np.sqrt(max(1, have.sum())))
