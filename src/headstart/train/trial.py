"""A few steps of training on the real data that leave no trace: for finding rates and measuring speeds."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import torch

from headstart.models.model import Model
from headstart.train.attention import attention_in_parts
from headstart.train.averaging import restore
from headstart.train.batch import Batch, Feed, Terms
from headstart.train.loop import Settings, Work
from headstart.train.modes import make_optimizer, parameter_groups, set_train_mode
from headstart.train.objective import Context, Objective, all_feeds, joint_losses
from headstart.train.precision import CLEARLY, autocast, norms_in_float32
from headstart.train.reader import Reader
from headstart.train.update import Step

TRIED = 3
"""Steps in each number format; the fastest counts, so the first may warm up."""


def trial(
    model: Model, reader: Reader, work: Work, settings: Settings, factors: Sequence[float] | np.ndarray
) -> Iterator[tuple[float, float]]:
    """Train for as many steps as there are factors on the rates; (loss, seconds) of each.

    The model's weights, which of them are trained, and what the update learned are restored when the iteration
    ends or is left. What the objectives learn before the first step (pseudo-labels), copies of them learn.
    """
    kept = {n: t.detach().clone() for n, t in {**dict(model.named_parameters()), **dict(model.named_buffers())}.items()}
    learned = copy.deepcopy(work.update.state())
    requires = {n: p.requires_grad for n, p in model.named_parameters()}
    objectives = copy.deepcopy(work.objectives)
    feeds = all_feeds(objectives)
    ctx = Context(model, reader, settings.seed, settings.device, feeds=feeds)
    if any("teacher" in o.needs for o in objectives):
        ctx.teacher = copy.deepcopy(model).eval()
    new = [name for o in objectives for name in _build(o, ctx)]
    optimizer = make_optimizer(parameter_groups(model, work.phase), settings.device)
    streams = {name: _batches(reader, feed, work.phase.batch_size) for name, feed in feeds.items()}
    try:
        _begin(objectives, ctx)
        for i, factor in enumerate(factors):
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            set_train_mode(model, work.phase)
            torch.manual_seed(settings.seed + i)
            batches = {name: next(s).to(settings.device) for name, s in streams.items()}

            def terms(_: int, only: frozenset[str] | None, batches: dict = batches) -> Terms:
                with autocast(settings.dtype, settings.device), attention_in_parts(model.backbone, settings.device):
                    return joint_losses(objectives, model, batches, ctx, only)

            start = time.perf_counter()
            with norms_in_float32(model, settings.dtype, settings.device):
                logs = work.update(Step(model, terms, [1.0], optimizer, work.phase.clip))
            others = ("gradient_norm", "clipped", "skipped")
            loss = math.fsum(v for k, v in logs.items() if k not in others and not k.startswith("weight."))
            yield loss, time.perf_counter() - start
    finally:
        for name in new:
            del model.parts[name]
        restore(model, kept)
        work.update.load_state(learned)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(requires[name])


def _build(objective: Objective, ctx: Context) -> list[str]:
    """Give the model the parts of an objective that it does not have yet; their names."""
    with torch.random.fork_rng(devices=[]):
        parts = {n: p for n, p in objective.build(ctx).items() if n not in ctx.model.parts}
    for name, part in parts.items():
        ctx.model.parts[name] = part.to(ctx.device)
    return list(parts)


def _batches(reader: Reader, feed: Feed, size: int) -> Iterator[Batch]:
    """Of one epoch of a feed after the other."""
    for epoch in count():
        yield from reader.epoch(feed, epoch, size)


@torch.no_grad()
def _begin(objectives: Sequence[Objective], ctx: Context) -> None:
    """What training does before the first step of a phase and of an epoch."""
    ctx.model.eval()
    for objective in objectives:
        objective.prepare(ctx)
    for objective in objectives:
        objective.epoch(ctx)


def faster_precision(model: Model, reader: Reader, work: Work, settings: Settings) -> tuple[torch.dtype, str]:
    """`settings.dtype` where steps in it are clearly faster here than in float32; float32 otherwise.

    A processor may compute in bfloat16 and still be slower in it: the gradients of depthwise convolutions are.

    Returns
    -------
    dtype, reason
        The reason is empty where there was nothing to compare.
    """
    if settings.dtype == torch.float32:
        return torch.float32, ""
    seconds = {}
    for dtype in (torch.float32, settings.dtype):
        tried = trial(model, reader, work, replace(settings, dtype=dtype), np.full(TRIED, 1e-6))
        seconds[dtype] = min(time for _, time in tried)
    ratio = seconds[torch.float32] / seconds[settings.dtype]
    name = str(settings.dtype).removeprefix("torch.")
    taken, left = (name, "float32") if ratio >= CLEARLY else ("float32", name)
    times = ratio if ratio >= CLEARLY else 1 / ratio
    return getattr(torch, taken), f"Trained in {taken}: here a step takes {times:.1f} times as long in {left}."
