"""A fit of several tasks as jobs of one task each: the samples that have its label, the features that all share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.errors import DataError
from headstart.data import Task
from headstart.data.schema import missing
from headstart.features.extract import Place
from headstart.models.backbone import Backbone
from headstart.verbs.job import Job, metric_of, screened_of


@dataclass
class TaskJob(Job):
    """One task of a fit.

    Its parts hold only the samples that have its label, so that everything that works on one task works on it.

    Attributes
    ----------
    whole
        The fit of all tasks.
    rows
        Part -> positions of this job's samples in that part of the whole.
    number
        Of the task, in the order of the schema; names files.
    """

    whole: Job | None = None
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    number: int = 0

    def features(self, size: int, part: str, places: Sequence[Place], view: str = "plain") -> dict[Place, Tensor]:
        """Those of the whole, which are computed once for all tasks; mirrored ones are few and its own."""
        if view != "plain" or part not in self.rows or self.whole is None:
            return super().features(size, part, places, view)
        where = torch.as_tensor(self.rows[part])
        return {place: x[where] for place, x in self.whole.features(size, part, places).items()}

    def open(self, size: int | None, end_at: str | None = None) -> Backbone:
        """The whole's network: its vocabulary and its channels' statistics are of all samples."""
        return super().open(size, end_at) if self.whole is None else self.whole.open(size, end_at)

    @property
    def held_out(self) -> str:
        """The part whose answers decide: training's own, out of folds, where data are few."""
        return "train" if self.few else "validation"


def task_jobs(job: Job) -> dict[str, TaskJob]:
    """Task -> its job.

    Raises
    ------
    DataError
        When a part that must judge a task has no label of it.
    """
    return {task.name: _view(job, task, i) for i, task in enumerate(job.dataset.schema.tasks)}


def rows_in(job: Job, view: TaskJob, part: str) -> np.ndarray:
    """Positions of a task's samples in a part of a job: that of all tasks, or the task's own."""
    return np.arange(len(view.parts[part])) if job is view else view.rows[part]


def _view(job: Job, task: Task, number: int) -> TaskJob:
    rows = {
        part: np.flatnonzero(~missing(data.labels(task.name))) for part, data in job.parts.items() if part != "screen"
    }
    for part, where in rows.items():
        if not len(where):
            raise DataError(
                f"No sample of the {part} part has a label of {task.name!r}.",
                "Label some of each part, or leave the parts to Headstart.",
            )
    parts = {part: job.parts[part].subset(where) for part, where in rows.items()}
    screened = screened_of(parts["train"], task, job.options)
    parts["screen"] = parts["train"].subset(screened)
    mine: dict[str, Any] = {f.name: getattr(job, f.name) for f in fields(Job)}
    mine |= {
        "task": task,
        "metric": metric_of(task, job.options.metric, job.dataset.schema.tasks),
        "parts": parts,
        "folds": _renumbered(job.folds[torch.as_tensor(rows["train"])]),
        "halves": job.halves[torch.as_tensor(rows["train"])],
        "screened": screened,
        "_features": {},
    }
    return TaskJob(**mine, whole=job, rows=rows, number=number)


def _renumbered(folds: Tensor) -> Tensor:
    """Without the folds that hold out no sample of the task."""
    made = torch.full_like(folds, -1)
    for number, fold in enumerate(torch.unique(folds[folds >= 0])):
        made[folds == fold] = number
    return made
