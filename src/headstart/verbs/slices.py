"""Where a finished model does worse than elsewhere: by class, by what samples look like, by columns of a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.data.schema import missing
from headstart.inspect.slices import all_slices, weak_slices
from headstart.verbs.evaluation import label_words, losses
from headstart.verbs.job import Job
from headstart.verbs.showing import Judged

MOST_READ = 2000
"""Samples that are read once more, for what only their content tells."""


def slices(job: Job, final: Judged) -> dict[str, Any]:
    """The weak slices of the judged part, as report.json has them: with `outcome`, what is compared, and `part`."""
    task, data = job.task, final.data
    columns: dict[str, Any] = {}
    if task.kind == "single-label":
        errors = np.where(missing(final.labels), np.nan, final.outputs.argmax(1) != final.labels)
        columns["label"] = label_words(task, final.labels)
    else:
        errors = losses(task, final.labels, final.outputs)
        if task.kind == "regression":
            columns[task.name] = final.labels
        else:
            named = zip(task.classes, final.labels.T, strict=True)
            columns |= {c: [None if np.isnan(v) else bool(v > 0.5) for v in column] for c, column in named}
    columns |= job.modality.facets(data, MOST_READ) | dict(data.metadata)
    found = weak_slices(errors, all_slices(columns), data.ids)
    outcome = {"single-label": "errors", "multi-label": "log loss", "regression": "squared error"}[task.kind]
    return {"outcome": outcome, "part": final.part, **found}
