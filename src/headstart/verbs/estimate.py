"""`estimate`: what a fit would do, and about how long, without doing it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from headstart.core.progress import progress
from headstart.core.words import counted
from headstart.finetune import Situation, make_strategy
from headstart.finetune.reinit import check_reinit
from headstart.models.backbone import Backbone, State
from headstart.store.runfolder import RunFolder
from headstart.train.attention import attention_in_parts
from headstart.train.phase import Phase
from headstart.train.precision import autocast
from headstart.verbs.job import Job, open_job
from headstart.verbs.options import make_options
from headstart.verbs.start import chosen_options, stage_sizes

MOMENT = 0.3
"""Seconds that a speed is measured for."""

LONG = 60
"""A run of more seconds than this says its estimate before it starts."""


def estimate(data: Any, **options: Any) -> dict[str, Any]:
    """Plan a fit and measure for a moment how fast this machine is.

    Returns
    -------
    dict
        `data`, `plan` (steps with about how many seconds each), `seconds`, `memory_mb`, `disk_mb`; of several tasks
        `tasks`, too.

    Raises
    ------
    HeadstartError
        What `fit` would refuse.
    """
    from headstart.verbs.tasks.check import check_one

    checked = make_options(options)
    with tempfile.TemporaryDirectory() as scratch:
        job = open_job(RunFolder(Path(scratch)), checked, data, several=True)
        if len(job.dataset.schema.tasks) > 1:
            return _of_tasks(job, checked.model)
        check_one(checked)
        return over_seeds(plan(job), checked.seeds, job.pretrained)


def _of_tasks(job: Job, asked: str) -> dict[str, Any]:
    from headstart.verbs.tasks.check import check_tasks
    from headstart.verbs.tasks.plan import plan_tasks
    from headstart.verbs.tasks.view import task_jobs

    views = task_jobs(job)
    check_tasks(job, views, asked)
    return plan_tasks(job, views)


def over_seeds(found: dict[str, Any], seeds: int, pretrained: bool) -> dict[str, Any]:
    """A plan over seeds: what a pretrained network computes frozen is kept from the first one."""
    if seeds == 1:
        return found
    kept = ("screen", "probe") if pretrained else ()
    each = sum(step["seconds"] for step in found["plan"] if step["name"] not in kept)
    more = round((seeds - 1) * each, 1)
    step = {"name": "seeds", "detail": f"the same with {counted(seeds - 1, 'more seed')}", "seconds": more}
    whole = {"seconds": round(found["seconds"] + more), "disk_mb": found["disk_mb"] * (seeds + 1)}
    return found | whole | {"plan": [*found["plan"], step]}


def announce(job: Job) -> None:
    """Say about how long a run will take, where that is more than a minute.

    A probe's passes have bars with the time that is left; measuring speeds first would only make it slower.
    """
    if job.options.strategy == "probe" and not job.options.reinit:
        job.frozen(job.asked_size)  # a reference that cannot be opened is refused here, before anything is written
        return
    found = plan(job)
    if found["seconds"] > LONG:
        parts = ", ".join(f"{step['name']} {step['seconds']:.0f} s" for step in found["plan"])
        # With a budget, what does not fit is not trained.
        said = "This will take" if job.options.budget is None else "Without a budget this would take"
        progress().say(f"{said} about {found['seconds'] / 60:.0f} min on {found['device']} ({parts}).")


def plan(job: Job) -> dict[str, Any]:
    """The steps of a fit, with about how many seconds each takes on this machine."""
    backbone = job.open(None)
    if job.options.reinit:
        check_reinit(backbone, job.options.reinit)
    sizes = job.modality.sizes(job, backbone)
    n = {part: len(data) for part, data in job.parts.items()}
    size = sizes[len(sizes) // 2]
    name = job.options.strategy if job.options.strategy != "auto" else "lp-ft" if job.pretrained else "full"
    phases = phases_of(job, name, backbone)
    measured = job.open(size).eval()
    forward, training = forward_speed(job, measured), training_speed(job, measured, phases)
    steps = frozen_steps(job, sizes, forward, n["train"] + n.get("validation", 0))
    if phases:
        epochs = sum(p.epochs for p in phases)
        passes = 2 if job.few else 1
        detail = counted(epochs, "epoch") + (", on two halves and then on all samples" if job.few else "")
        steps.append({"name": name, "detail": detail, "seconds": passes * epochs * n["train"] / training})
    if "test" in n:
        steps.append({"name": "test", "detail": f"{n['test']} samples, once", "seconds": 2 * n["test"] / forward})
    return described(job, backbone, size, steps)


def described(job: Job, backbone: Backbone, size: int, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """What `estimate` returns, out of the steps."""
    parameters = sum(p.numel() for p in backbone.parameters())
    found = planned(job, steps, size, parameters)
    return found | {"disk_mb": round(12 * 4 * parameters / 2**20) + 5}


def frozen_steps(job: Job, sizes: Sequence[int], forward: float, samples: int) -> list[dict[str, Any]]:
    """Screening, and one pass over `samples` for the probes, at `forward` samples per second of the middle size."""
    count, unit, size = len(job.parts["screen"]), job.modality.unit, sizes[len(sizes) // 2]
    screening = sum(count / forward * (s / size) ** 2 if size else 0.0 for s in sizes) + 8 * len(sizes)
    at = f" at {', '.join(map(str, sizes))} {unit}" if unit else ""
    return [
        {"name": "screen", "detail": f"{count} samples{at}", "seconds": screening},
        {"name": "probe", "detail": f"{samples} samples once", "seconds": samples / forward + 5},
    ]


def planned(job: Job, steps: Sequence[dict[str, Any]], size: int, parameters: int) -> dict[str, Any]:
    """What an estimate says: the data, the steps and their sums; `disk_mb` is the caller's."""
    steps = [{**s, "seconds": round(float(s["seconds"]), 1)} for s in steps]
    kept = size * size * (job.dataset.schema.channels or 3) if job.modality.name == "image" else 0
    samples = sum(len(data) for part, data in job.parts.items() if part != "screen")
    return {
        "data": {
            "name": job.dataset.name,
            "parts": {part: len(data) for part, data in job.parts.items() if part != "screen"},
        },
        "model": job.options.model,
        "size": size,
        "size_unit": job.modality.unit,
        "device": str(job.device),
        "plan": steps,
        "seconds": round(sum(s["seconds"] for s in steps)),
        "memory_mb": round((kept * samples + 16 * parameters + 800 * 2**20) / 2**20),
    }


def training_seconds(job: Job, name: str, size: int) -> float:
    """About how long a strategy trains, by this machine's speed on a batch of the job's own samples."""
    backbone = job.open(size)
    phases = phases_of(job, name, backbone)
    if not phases:
        return 0.0
    passes = (2 if job.few else 1) * sum(p.epochs for p in phases)
    return passes * len(job.parts["train"]) / training_speed(job, job.open(size).eval(), phases)


def phases_of(job: Job, name: str, backbone: Backbone) -> tuple[Phase, ...]:
    """The phases of a strategy for this job's network and samples."""
    samples = len(job.parts["train"])
    situation = Situation(stage_sizes(backbone), backbone.family, samples, chosen_options(job), job.pretrained)
    return make_strategy(name, situation).phases


def training_speed(job: Job, backbone: Backbone, phases: Sequence[Phase]) -> float:
    """Samples per second of training what the phases train, in batches of theirs, measured for a moment.

    1 where no stage is trained.
    """
    trained = {stage for phase in phases for stage in phase.rates} & set(backbone.stages)
    if not trained:
        return 1.0
    for name, stage in backbone.stages.items():
        stage.requires_grad_(name in trained)
    batch = begun(job, backbone, phases[-1].batch_size)
    # A run measures which of them it trains faster in.
    formats = {job.dtype, torch.float32} if job.options.precision == "auto" else {job.dtype}
    return max(_rate(job, backbone, *batch, True, dtype) for dtype in formats)


def forward_speed(job: Job, backbone: Backbone) -> float:
    """Samples per second that PyTorch runs the network forward in its faster format, measured for a moment."""
    batch = begun(job, backbone, backbone.batch_size())
    formats = {job.dtype, torch.float32} if job.options.precision == "auto" else {job.dtype}
    return max(_rate(job, backbone, *batch, False, dtype) for dtype in formats)


def begun(job: Job, backbone: Backbone, most: int) -> tuple[State, int]:
    """A batch of at most so many of the job's own samples as the first stage takes it, and their number."""
    batch = min(most, len(job.parts["screen"]))
    some = job.reader(backbone).batch("screen", range(batch), ("plain",), labels=False).to(job.device)
    return backbone.begin(some.views["plain"]), batch


def _rate(job: Job, backbone: Backbone, x: State, batch: int, train: bool, dtype: torch.dtype) -> float:
    done, start = 0, None
    while start is None or time.monotonic() - start < MOMENT:
        with torch.set_grad_enabled(train), autocast(dtype, job.device), attention_in_parts(backbone, job.device):
            out = backbone.pool(backbone.run(x))
            if train:
                out.sum().backward()
        if job.device.type == "cuda":
            torch.cuda.synchronize()  # what is only queued has not been done
        if start is None:
            start = time.monotonic()  # the first pass warms up
        else:
            done += batch
    return done / (time.monotonic() - start)
