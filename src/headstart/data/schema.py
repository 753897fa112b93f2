"""What a data set is about: its modality, its tasks, and one sample of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Modality = Literal["image", "text", "sequence"]
TaskKind = Literal["single-label", "multi-label", "regression"]

MISSING = -1
"""The class index of a single-label sample without a label; missing labels of other tasks are NaN."""


@dataclass(frozen=True)
class Task:
    """One thing to predict.

    Attributes
    ----------
    name
        The label column, or "label".
    kind
        "single-label" (one of `classes`), "multi-label" (any of `classes`) or "regression" (a number).
    classes
        Names in index order; empty for regression.
    """

    name: str
    kind: TaskKind
    classes: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """How many numbers a head for this task gives."""
        return 1 if self.kind == "regression" else len(self.classes)


@dataclass(frozen=True)
class Schema:
    """Modality and tasks of a data set, and the columns that splitting may use.

    Attributes
    ----------
    channels
        Of pictures or series.
    inputs
        Columns that the inputs came from, where they came from a table: one of pictures, one or two of texts; or
        the names of a series' channels.
    period
        Time between two steps of a series, where it is known.
    reading
        How a long table was cut into series: the options `id`, `time`, `window` and `stride` that were given. Of
        pictures in arrays of floating point: `scale`, the values that became 0 and 1 ("0.0,255.0").
    """

    modality: Modality
    tasks: tuple[Task, ...]
    group: str | None = None
    time: str | None = None
    weight: str | None = None
    channels: int | None = None
    inputs: tuple[str, ...] = ()
    period: float | None = None
    reading: Mapping[str, str] = field(default_factory=dict)

    def task(self, name: str | None = None) -> Task:
        """The task of that name, or the first."""
        if name is None:
            return self.tasks[0]
        return next(t for t in self.tasks if t.name == name)


@dataclass
class Sample:
    """One sample as read; `headstart.data.source.Source` says what the inputs of each modality are.

    `labels` maps a task's name to its label: an int, a float, or a (classes,) float array.
    """

    id: str
    inputs: Any
    labels: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)


def missing(labels: np.ndarray) -> np.ndarray:
    """Which rows have no label at all; (n,) bool.

    >>> missing(np.array([0, -1, 2])).tolist()
    [False, True, False]
    >>> missing(np.array([0.5, np.nan])).tolist()
    [False, True]
    """
    if labels.dtype.kind in "iu":
        return labels == MISSING if labels.ndim == 1 else (labels == MISSING).all(axis=1)
    return np.isnan(labels) if labels.ndim == 1 else np.isnan(labels).all(axis=1)
