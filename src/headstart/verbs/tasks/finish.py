"""The end of a fit of several tasks: the test part is read, once; then bundle, predictions and report are written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from headstart.core.progress import progress
from headstart.models.bundle import Bundle, save_bundle
from headstart.models.model import Model
from headstart.store.atomic import replacing
from headstart.train.inference import outputs
from headstart.verbs.candidates import load_candidate
from headstart.verbs.evaluation import calibrated, prediction_rows
from headstart.verbs.job import Job
from headstart.verbs.mixture import temperature_of
from headstart.verbs.report import report
from headstart.verbs.start import build_model
from headstart.verbs.tasks.branch import Branch, held_out, load_branch, with_branches
from headstart.verbs.tasks.model import load_shared
from headstart.verbs.tasks.recipe import Trained
from headstart.verbs.tasks.sharing import BRANCH, PROBE, SHARED, TUNED, Alone, Verdict, probe_logits
from headstart.verbs.tasks.starts import Start
from headstart.verbs.tasks.view import TaskJob
from headstart.verbs.writing import versions


@dataclass
class TasksResult:
    """What a fit of several tasks decided, before the test is read; everything by task."""

    views: Mapping[str, TaskJob]
    starts: Mapping[str, Start]
    shared: Trained
    alone: Mapping[str, Alone]
    verdicts: Mapping[str, Verdict]
    branches: Mapping[str, Branch]
    tradeoff: dict[str, Any] | None
    reasons: list[str]


@dataclass
class Judged:
    """One task on one part: logits of every model over its labelled samples.

    Attributes
    ----------
    logits
        "shared model", "probe" and, where there are such, "own model" and "own branch" -> (n, K).
    kept
        Which of them is handed back.
    """

    view: TaskJob
    part: str
    ids: list[str]
    labels: np.ndarray
    logits: dict[str, np.ndarray]
    kept: str
    temperature: float

    @property
    def outputs(self) -> np.ndarray:
        """Calibrated, of the model that is handed back."""
        return calibrated(self.view.task, self.logits[self.kept], self.temperature)


def finish(job: Job, result: TasksResult, start: float) -> None:
    """Read the test, write everything; report.json, which says that a run has ended, comes last."""
    from headstart.verbs.tasks.tell import report_of, task_metrics

    model = load_shared(job, result.views, result.starts, result.shared.strategy.head)
    own = {name: _own_model(result, name) for name, v in result.verdicts.items() if v.kept in (PROBE, TUNED)}
    judged = {"validation": _on_validation(result)}
    if "test" in job.parts:
        progress().say("Reading the test part, once")
        judged["test"] = _on_test(job, result, model)
    taken = {name: branch for name, branch in result.branches.items() if result.verdicts[name].kept == BRANCH}
    model = with_branches(job, model, result.views, result.starts, taken)
    rows = [_rows(j) for tasks in judged.values() for j in tasks.values()]
    with replacing(job.folder.predictions) as path:
        pd.concat(rows, ignore_index=True).to_parquet(path)
    metrics = {name: {part: task_metrics(tasks[name]) for part, tasks in judged.items()} for name in result.views}
    model.backbone.augmentations = {}
    if job.module is None:
        _save(job, result, model, own, judged["validation"], metrics)
    job.folder.write_report(report_of(job, result, model, judged, metrics, time.monotonic() - start))
    job.folder.clear_checkpoints()
    report(job.folder.path)


def _rows(judged: Judged) -> pd.DataFrame:
    """A row per sample and task. Labels of all kinds stand in one column, so they are texts; p_TASK.CLASS are apart."""
    task = judged.view.task
    rows = prediction_rows(task, judged.part, judged.ids, judged.labels, judged.outputs)
    for column in ("label", "predicted"):
        rows[column] = rows[column].map(str, na_action="ignore")
    return rows.rename(columns={f"p_{c}": f"p_{task.name}.{c}" for c in task.classes})


def _own_model(result: TasksResult, name: str) -> Model:
    """What a task has alone, as a model."""
    view, alone = result.views[name], result.alone[name]
    if result.verdicts[name].kept == TUNED and alone.candidate is not None:
        return load_candidate(view, alone.candidate)
    return build_model(view, result.starts[name].own, "probe").eval()


def _on_validation(result: TasksResult) -> dict[str, Judged]:
    """Held-out answers: of the validation part, or out of folds."""
    found = {}
    for name, view in result.views.items():
        candidate = result.alone[name].candidate
        logits = {SHARED: result.shared.validation[name], PROBE: probe_logits(view, result.starts[name])}
        if candidate is not None:
            logits[TUNED] = candidate.validation
        if name in result.branches:
            logits[BRANCH] = held_out(result.branches[name], name)
        have = np.flatnonzero(~np.isnan(np.concatenate([*logits.values()], axis=1)).any(axis=1))
        data = view.parts[view.held_out]
        labels = view.labels(view.held_out)[have]
        logits = {model: z[have] for model, z in logits.items()}
        kept = result.verdicts[name].kept
        temperature = temperature_of(view.task, labels, logits[kept])
        ids = [data.ids[int(i)] for i in have]
        found[name] = Judged(view, "validation", ids, labels, logits, kept, temperature)
    return found


def _on_test(job: Job, result: TasksResult, model: Model) -> dict[str, Judged]:
    """Every model runs over the test once, in float32: a bundle must predict the same on every machine."""
    together = outputs(model, job.reader(model.backbone), "test").logits
    temperatures = {name: j.temperature for name, j in _on_validation(result).items()}
    found = {}
    for name, view in result.views.items():
        own, candidate = result.starts[name].own, result.alone[name].candidate
        place = (own.stage, own.grid)
        probe = own.probe.logits(view.features(own.size, "test", [place])[place]).numpy()
        logits = {SHARED: together[name][view.rows["test"]], PROBE: probe}
        if candidate is not None:
            tuned = load_candidate(view, candidate)
            logits[TUNED] = outputs(tuned, view.reader(tuned.backbone), "test").logits[name]
        if name in result.branches:
            branch = load_branch(job, view, result.starts[name], result.branches[name])
            logits[BRANCH] = outputs(branch, view.reader(branch.backbone), "test").logits[name]
        ids, kept = list(view.parts["test"].ids), result.verdicts[name].kept
        found[name] = Judged(view, "test", ids, view.labels("test"), logits, kept, temperatures[name])
    return found


def _save(
    job: Job,
    result: TasksResult,
    model: Model,
    own: Mapping[str, Model],
    judged: Mapping[str, Judged],
    metrics: Mapping[str, Any],
) -> None:
    schema = job.dataset.schema
    about = {"name": job.folder.path.name, "metrics": metrics, "versions": versions(), "strategy": "several tasks"}
    bundles = {}
    for name, one in own.items():
        one.backbone.augmentations = {}
        temperatures = {name: judged[name].temperature}
        bundles[name] = Bundle(one, (result.views[name].task,), temperatures, {}, schema.inputs, schema.reading)
    tasks = tuple(view.task for view in result.views.values())
    temperatures = {name: j.temperature for name, j in judged.items()}
    save_bundle(
        job.folder.bundle, Bundle(model, tasks, temperatures, about, schema.inputs, schema.reading, own=bundles)
    )
