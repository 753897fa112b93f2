"""`--dry-run` of several tasks: the steps, with about how many seconds each takes on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.core.words import counted
from headstart.models.backbone import Backbone
from headstart.models.model import Head
from headstart.multitask import make_architecture, read_architecture
from headstart.multitask.architectures import Architecture
from headstart.verbs.estimate import described, forward_speed, phases_of, training_speed
from headstart.verbs.job import Job
from headstart.verbs.tasks.tradeoff import EPOCHS_SHARE, LEAST_EPOCHS, MOST_SAMPLES, SHARES
from headstart.verbs.tasks.view import TaskJob


def plan_tasks(job: Job, views: Mapping[str, TaskJob]) -> dict[str, Any]:
    """The steps of `fit_tasks`; called by `estimate`, which says what is returned. `tasks` is added: name -> kind and
    labelled samples by part.

    Models of a task's own are counted as if every task had one; without `--baselines full` only those are trained that
    are in doubt.
    """
    options, count = job.options, len(views)
    backbone = job.open(None)
    sizes = job.modality.sizes(job, backbone)
    size = sizes[len(sizes) // 2]
    strategy = "lp-ft" if options.strategy == "auto" else options.strategy
    phases = phases_of(job, strategy, backbone)
    measured = job.open(size).eval()
    forward, training = forward_speed(job, measured), training_speed(job, measured, phases)
    n = {part: len(data) for part, data in job.parts.items() if part != "screen"}
    everything = n["train"] + n.get("validation", 0)
    at = f" at {', '.join(map(str, sizes))} {job.modality.unit}" if job.modality.unit else ""
    screened = sum(len(view.parts["screen"]) for view in views.values())
    screening = sum(screened / forward * (s / size) ** 2 if size else 0.0 for s in sizes) + 8 * len(sizes) * count
    steps: list[dict[str, Any]] = [
        {"name": "screen", "detail": f"{screened} samples over {count} tasks{at}", "seconds": screening},
        {"name": "probes", "detail": f"{everything} samples once", "seconds": everything / forward + 5 * count},
    ]
    if phases:
        epochs = sum(phase.epochs for phase in phases)
        passes = 2 if job.few else 1
        halves = ", on two halves and then on all samples" if job.few else ""
        apart = passes_of(backbone, options.architecture, list(views))
        steps.append(
            {
                "name": "shared model",
                "detail": f"{strategy}, {options.architecture}: {counted(epochs, 'epoch')}{halves}",
                "seconds": passes * epochs * n["train"] * apart / training,
            }
        )
        if options.guard != "off":
            doubt = "" if options.baselines == "full" else "at most: only where sharing is in doubt"
            drawn = sum(passes * _epochs(view, strategy) * len(view.parts["train"]) for view in views.values())
            steps.append({"name": "own models", "detail": doubt or "one for each task", "seconds": drawn / training})
        if options.tradeoff:
            trainings = len(SHARES[count]) + count
            short = max(LEAST_EPOCHS, round(EPOCHS_SHARE * phases[-1].epochs))
            some = min(n["train"], MOST_SAMPLES)
            steps.append(
                {
                    "name": "trade-off",
                    "detail": f"{counted(trainings, 'short training')} on {some} samples",
                    "seconds": trainings * passes * short * some / training,
                }
            )
    if "test" in n:
        seconds = (2 + count) * n["test"] / forward
        steps.append({"name": "test", "detail": f"{n['test']} samples, once", "seconds": seconds})
    tasks = {
        name: {"kind": v.task.kind, "labelled": {p: len(d) for p, d in v.parts.items() if p != "screen"}}
        for name, v in views.items()
    }
    return {**described(job, backbone, size, steps), "tasks": tasks}


def _epochs(view: TaskJob, strategy: str) -> int:
    return sum(phase.epochs for phase in phases_of(view, strategy, view.open(None)))


def passes_of(backbone: Backbone, asked: str, tasks: list[str]) -> float:
    """How many passes through the network a step takes: one up to where the tasks part, then one for each."""
    name, options = read_architecture(asked)
    model = make_architecture(name, backbone, {task: Head(1, 1) for task in tasks}, **options)
    if not isinstance(model, Architecture):
        return 1.0
    names = list(backbone.stages)
    shared = 0.0 if model.common is None else (names.index(model.common) + 1) / len(names)
    return shared + (1 - shared) * len(tasks)
