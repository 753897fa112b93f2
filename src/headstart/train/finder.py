"""A learning-rate finder that keeps the ratios between stages, and says so when the curve suggests nothing."""

from __future__ import annotations

import copy
import math
from itertools import cycle, islice

import numpy as np
import torch

from headstart.core.progress import progress
from headstart.models.model import Model
from headstart.train.averaging import restore
from headstart.train.batch import Terms
from headstart.train.loop import Settings, Work
from headstart.train.modes import make_optimizer, parameter_groups, set_train_mode
from headstart.train.objective import Context, all_feeds, joint_losses
from headstart.train.precision import autocast, norms_in_float32
from headstart.train.reader import Reader
from headstart.train.update import Step

STEPS = 60
LOWEST, HIGHEST = 1e-3, 1e2


def suggest(model: Model, reader: Reader, work: Work, settings: Settings) -> tuple[float | None, str]:
    """Train for a moment with rates growing from 1/1000 to 100 times the phase's, and read off a factor.

    Every group's rate is multiplied by the same factor, so the ratios between stages stay. The factor suggested is
    where the smoothed loss falls fastest per decade (Smith 2017, arXiv 1506.01186), at most a third of where it starts
    to rise. The model's weights are restored.

    Returns
    -------
    factor, reason
        None where the loss never fell by a twentieth of its start: then there is no suggestion.
    """
    kept = {n: t.detach().clone() for n, t in {**dict(model.named_parameters()), **dict(model.named_buffers())}.items()}
    requires = {n: p.requires_grad for n, p in model.named_parameters()}
    feeds = all_feeds(work.objectives)
    ctx = Context(model, reader, settings.seed, settings.device, feeds=feeds, teacher=copy.deepcopy(model).eval())
    optimizer = make_optimizer(parameter_groups(model, work.phase), settings.device)
    factors = np.geomspace(LOWEST, HIGHEST, STEPS)
    streams = {
        name: (b for epoch in cycle(range(10**6)) for b in reader.epoch(feed, epoch, work.phase.batch_size))
        for name, feed in feeds.items()
    }
    losses: list[float] = []
    try:
        with progress().task("learning-rate finder", STEPS) as advance:
            for i, factor in enumerate(factors):
                for group in optimizer.param_groups:
                    group["lr"] = group["initial_lr"] * factor
                set_train_mode(model, work.phase)
                torch.manual_seed(settings.seed + i)
                batches = {name: next(islice(s, 1)).to(settings.device) for name, s in streams.items()}

                def terms(_: int, only: frozenset[str] | None, batches: dict = batches) -> Terms:
                    with autocast(settings.dtype, settings.device):
                        return joint_losses(work.objectives, model, batches, ctx, only)

                with norms_in_float32(model, settings.dtype, settings.device):
                    logs = work.update(Step(model, terms, [1.0], optimizer, work.phase.clip))
                losses.append(math.fsum(v for k, v in logs.items() if k not in ("gradient_norm", "clipped", "skipped")))
                advance(1)
                if not math.isfinite(losses[-1]) or losses[-1] > 4 * max(losses[0], 1e-3):
                    break
    finally:
        restore(model, kept)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(requires[name])
    return read_curve(factors[: len(losses)], np.array(losses))


def read_curve(factors: np.ndarray, losses: np.ndarray) -> tuple[float | None, str]:
    """The factor that a sweep's losses suggest, or None.

    >>> f = np.geomspace(1e-3, 1e2, 60)
    >>> read_curve(f, np.full(60, 2.3))[0] is None
    True
    """
    use = np.isfinite(losses)
    factors, losses = factors[use], losses[use]
    nothing = "The learning-rate finder has no suggestion (its curve never falls clearly): the default rates are used."
    if len(losses) < 10:
        return None, nothing
    smooth = np.convolve(np.pad(losses, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    lowest = int(smooth.argmin())
    if smooth[0] - smooth[lowest] < 0.05 * abs(smooth[0]) or lowest < 3:
        return None, nothing
    slope = np.gradient(smooth, np.log10(factors))
    steepest = int(slope[: lowest + 1].argmin())
    factor = float(min(factors[steepest], factors[lowest] / 3))
    return (
        factor,
        f"The learning-rate finder multiplies every rate by {factor:.2g} (ratios between stages kept).",
    )
