"""report.json of several tasks: what each reached, what sharing did to it, and what it all rests on."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.registry import get
from headstart.measure.multitask import delta_m
from headstart.models.model import Model
from headstart.multitask import read_architecture
from headstart.verbs.evaluation import calibrated, confusion, metrics_of, per_class
from headstart.verbs.job import SPEED, Job
from headstart.verbs.mixture import constant_outputs
from headstart.verbs.tasks.rule import changes, metric_value
from headstart.verbs.tasks.sharing import BRANCH, PROBE, SHARED, TUNED, as_rows, better_by, verdict_of
from headstart.verbs.writing import about_data, about_model, cost_of, counts_of, versions

if TYPE_CHECKING:
    from headstart.verbs.tasks.finish import Judged, TasksResult


def task_metrics(judged: Judged) -> dict[str, Any]:
    """Every metric of what is handed back for a task, with intervals."""
    return metrics_of(judged.view.task, judged.labels, judged.outputs, judged.view.options.seed)


def report_of(
    job: Job,
    result: TasksResult,
    model: Model,
    judged: Mapping[str, Mapping[str, Judged]],
    metrics: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """The content of report.json; docs/run-folder.md describes it."""
    part = "test" if "test" in judged else "validation"
    final = judged[part]
    deltas = _deltas(result, final)
    own = [name for name, verdict in result.verdicts.items() if verdict.kept in (PROBE, TUNED)]
    branches = {n: b.after for n, b in result.branches.items() if result.verdicts[n].kept == BRANCH}
    phases = [phase.as_json() for phase in result.shared.strategy.phases]
    return {
        "schema": 1,
        "kind": "tasks",
        "name": job.folder.path.name,
        "status": "finished",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "data": about_data(job, job.modality.lengths(job, model.backbone), {}),
        "model": about_model(job, model),
        "strategy": {
            "name": "lp-ft" if job.options.strategy == "auto" else job.options.strategy,
            "asked": job.options.strategy,
            "reasons": result.reasons,
            "phases": phases,
        },
        "metric": "change by sharing",
        "tasks": [_task(result, name, judged, metrics[name], deltas[name], part) for name in result.views],
        "sharing": {
            "part": part,
            "architecture": job.options.architecture,
            "how": _how(job, model),
            "balance": job.options.balance,
            "rule": job.options.task_rule,
            "sampling": job.options.sampling if job.dataset.origins is not None else None,
            "baselines": job.options.baselines,
            "delta_m": _finite(delta_m(deltas)),
            "own": own,
            "branches": branches,
            "cosines": as_rows(result.shared.cosines),
        },
        "tradeoff": result.tradeoff,
        "cost": cost_of(job, model, seconds, result.shared.trained, job.precision_of("shared")),
        "seeds": [job.options.seed],
        "split_seed": job.options.split_seed,
        "options": job.options.model_dump(mode="json", exclude={"out"}),
        "versions": versions(),
        "notes": [n for n in job.notes.as_json() if n["topic"] == SPEED],
    }


def _how(job: Job, model: Model) -> str:
    """How the tasks share the network, in words; branches that the guard gave are told of apart."""
    name, _ = read_architecture(job.options.architecture)
    words = get("architecture", name).summary.removesuffix("; the default")
    return f"{words} (they part after {model.common or 'the input'})" if name == "branching" else words


def _deltas(result: TasksResult, final: Mapping[str, Judged]) -> dict[str, float]:
    """Task -> relative change of the shared model against the task alone."""
    shared, alone = {}, {}
    for name, j in final.items():
        shared[name] = metric_value(j.view, j.labels, j.logits[SHARED])
        alone[name] = metric_value(j.view, j.labels, j.logits[result.alone[name].name])
    return changes({name: view.metric for name, view in result.views.items()}, shared, alone)


def _task(
    result: TasksResult,
    name: str,
    judged: Mapping[str, Mapping[str, Judged]],
    metrics: Mapping[str, Any],
    delta: float,
    part: str,
) -> dict[str, Any]:
    view, verdict, final = result.views[name], result.verdicts[name], judged[part][name]
    task, seed, branch = view.task, view.options.seed, result.branches.get(name)
    others = {"shared": SHARED, "linear_probe": PROBE, "own_branch": BRANCH, "own_model": TUNED}
    baselines: dict[str, Any] = {"majority": {}}
    for p, tasks in judged.items():
        j = tasks[name]
        guess = constant_outputs(task, view.labels("train"), len(j.labels))
        baselines["majority"][p] = metrics_of(task, j.labels, guess, seed)
        for key, model in others.items():
            if model in j.logits:
                found = metrics_of(task, j.labels, calibrated(task, j.logits[model], 1.0), seed)
                baselines.setdefault(key, {})[p] = found
    alone = result.alone[name].name
    gap = better_by(view, final.labels, final.logits[SHARED], final.logits[alone])
    matrix = confusion(task, final.labels, final.outputs)
    return {
        "name": name,
        "kind": task.kind,
        "classes": list(task.classes),
        "metric": view.metric.name,
        "labelled": {p: len(data) for p, data in view.parts.items() if p != "screen"},
        "counts": {p: counts_of(view, p) for p in view.parts if p != "screen"},
        "metrics": metrics,
        "baselines": baselines,
        "per_class": per_class(task, final.labels, final.outputs),
        "confusion": None
        if matrix is None
        else {"part": part, "classes": list(task.classes), "matrix": matrix.tolist()},
        "temperature": final.temperature,
        "sharing": {
            "delta": _finite(delta),
            "gap": gap.as_json(),
            "verdict": verdict_of(gap),
            "compared_with": alone,
            "validation": verdict.gap.as_json(),
            "branch": None if branch is None else {"after": branch.after, "gap": branch.gap.as_json()},
            "kept": verdict.kept,
            "text": verdict.text,
        },
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
