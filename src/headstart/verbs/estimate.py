"""`estimate`: what a fit would do, and about how long, without doing it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from headstart.core.progress import progress
from headstart.features.screen import sizes_to_try
from headstart.finetune import Situation, make_strategy
from headstart.store.runfolder import RunFolder
from headstart.verbs.candidates import chosen_options, stage_sizes
from headstart.verbs.frozen import median_side
from headstart.verbs.job import Job, open_job
from headstart.verbs.options import make_options

MOMENT = 0.5
"""Seconds that a speed is measured for."""

LONG = 60
"""A run of more seconds than this says its estimate before it starts."""


def estimate(data: Any, **options: Any) -> dict[str, Any]:
    """Plan a fit and measure for a moment how fast this machine is.

    Returns
    -------
    dict
        `data`, `plan` (steps with about how many seconds each), `seconds`, `memory_mb`, `disk_mb`.
    """
    checked = make_options(options)
    with tempfile.TemporaryDirectory() as scratch:
        job = open_job(RunFolder(Path(scratch)), checked, data)
        return plan(job)


def announce(job: Job) -> None:
    """Say about how long a run will take, where that is more than a minute."""
    found = plan(job)
    if found["seconds"] > LONG:
        parts = ", ".join(f"{step['name']} {step['seconds']:.0f} s" for step in found["plan"])
        progress().say(f"This will take about {found['seconds'] / 60:.0f} min on {found['device']} ({parts}).")


def plan(job: Job) -> dict[str, Any]:
    """The steps of a fit, with about how many seconds each takes on this machine."""
    backbone = job.open(None)
    spec = backbone.input_spec
    asked = job.options.image_size
    sizes = (
        sizes_to_try(spec.native_size, spec.fixed_size, median_side(job.parts["screen"]))
        if asked == "auto"
        else [asked]
    )
    n = {part: len(data) for part, data in job.parts.items()}
    size = sizes[len(sizes) // 2]
    name = {"auto": "lp-ft"}.get(job.options.strategy, job.options.strategy)
    situation = Situation(stage_sizes(backbone), backbone.family, n["train"], chosen_options(job))
    phases = make_strategy(name, situation).phases
    trained = {stage for phase in phases for stage in phase.rates}
    forward, training = _speeds(job, size, trained)
    screening = sum(n["screen"] / forward * (s / size) ** 2 for s in sizes) + 8 * len(sizes)
    everything = n["train"] + n.get("validation", 0)
    steps: list[dict[str, Any]] = [
        {"name": "screen", "detail": f"{n['screen']} samples at {', '.join(map(str, sizes))} px", "seconds": screening},
        {"name": "probe", "detail": f"{everything} samples once", "seconds": everything / forward + 5},
    ]
    if phases:
        epochs = sum(p.epochs for p in phases)
        passes = 2 if job.few else 1
        detail = f"{epochs} epochs" + (", on two halves and then on all samples" if job.few else "")
        steps.append({"name": name, "detail": detail, "seconds": passes * epochs * n["train"] / training})
    if "test" in n:
        steps.append({"name": "test", "detail": f"{n['test']} samples, once", "seconds": 2 * n["test"] / forward})
    steps = [{**s, "seconds": round(float(s["seconds"]), 1)} for s in steps]
    picture = size * size * (job.dataset.schema.channels or 3)
    parameters = sum(p.numel() for p in backbone.parameters())
    return {
        "data": {"name": job.dataset.name, "parts": {k: v for k, v in n.items() if k != "screen"}},
        "model": job.options.model,
        "image_size": size,
        "device": str(job.device),
        "plan": steps,
        "seconds": round(sum(s["seconds"] for s in steps)),
        "memory_mb": round((picture * len(job.dataset) + 16 * parameters + 800 * 2**20) / 2**20),
        "disk_mb": round(12 * 4 * parameters / 2**20) + 5,
    }


def _speeds(job: Job, size: int, trained: set[str]) -> tuple[float, float]:
    """Pictures per second, forward only and in training of these stages, each measured for a moment."""
    backbone = job.open(size).eval()
    for name, stage in backbone.stages.items():
        stage.requires_grad_(name in trained)
    batch = backbone.batch_size()
    channels = backbone.input_spec.channels
    x = backbone.begin({"x": torch.zeros(batch, channels, size, size, dtype=torch.uint8, device=job.device)})

    def rate(train: bool) -> float:
        done, start = 0, None
        while start is None or time.monotonic() - start < MOMENT:
            with torch.set_grad_enabled(train):
                out = backbone.pool(backbone.run(x))
                if train:
                    out.sum().backward()
            if start is None:
                start = time.monotonic()  # the first pass warms up
            else:
                done += batch
        return done / (time.monotonic() - start)

    return rate(False), rate(True) if trained & set(backbone.stages) else 1.0
