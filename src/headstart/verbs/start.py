"""What training starts from: a network cut at the probe's place with its solution as head, and the user's options."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from headstart.core.seeding import derive
from headstart.data.augment import POLICIES, Augmentation
from headstart.features.probe import class_weights, fit_probe, label_scale
from headstart.models.backbone import Backbone
from headstart.models.model import Head, Model
from headstart.verbs.frozen import FrozenProbe
from headstart.verbs.job import Job

LEAST_SCALE = 0.1
"""Least unit of a feature in front of a head, of the root mean square of all."""


def build_model(job: Job, start: FrozenProbe, head: str, fold: int | None = None) -> Model:
    """A fresh network that ends at the probe's place, with the probe's solution or a random one as its head."""
    backbone = job.open(start.size, end_at=start.stage)
    return Model(backbone, {job.task.name: make_head(job, start, head, fold)}, start.grid).to(job.device)


def make_head(job: Job, start: FrozenProbe, head: str, fold: int | None = None) -> Head:
    """The probe's solution ("probe"), or one of its kind with small random weights ("random")."""
    probe = start.probe
    made = Head(len(probe.mean), job.task.outputs)
    shift, spread = label_scale(job.task, job.labels("train"))
    made.shift.fill_(shift)
    made.spread.fill_(spread)
    # A feature that hardly varies before training would be blown up as soon as it moves: it gets a larger unit, and
    # its weights with it, so that the head computes the same.
    scale = probe.scale.clamp(min=LEAST_SCALE * float(probe.scale.square().mean().sqrt()))
    made.load_probe(probe.weight * (scale / probe.scale), probe.bias, probe.mean, scale)
    if head == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(job.options.seed, "head", fold))
            torch.nn.init.normal_(made.linear.weight, std=0.01)
            torch.nn.init.zeros_(made.linear.bias)
    return made


def probe_without(job: Job, start: FrozenProbe, fold: int) -> Any:
    """The probe fitted without one half: a head must not have seen what it is judged on."""
    place = (start.stage, start.grid)
    x = job.features(start.size, "train", [place])[place]
    inside = (job.halves != fold).numpy()
    labels = job.labels("train")[inside]
    weights = class_weights(job.task, labels) if job.balanced else None
    none = torch.full((int(inside.sum()),), -1, dtype=torch.long)
    return fit_probe(
        x[torch.as_tensor(inside)], labels, job.task, job.metric.name, none, weights, [start.probe.strength]
    )


def augmentation_of(job: Job, mirror: bool) -> Augmentation | None:
    """The policy asked for; "auto" is strong where data are few, else light. None is no augmentation."""
    name = job.options.augment
    if name == "auto":
        name = "strong" if job.few else "light"
    if name == "none":
        return None
    return replace(POLICIES[name], flip=0.5 if mirror else 0.0)


def chosen_options(job: Job) -> dict[str, Any]:
    """The user's options that override a strategy's defaults, under the strategies' names."""
    o = job.options
    return {
        "lr": None if isinstance(o.lr, str) else o.lr,
        "layer_decay": o.layer_decay,
        "epochs": o.epochs,
        "batch_size": None if o.batch_size == "auto" else o.batch_size,
        "accumulate": o.accumulate,
        "schedule": None if o.schedule == "auto" else o.schedule,
        "warmup": o.warmup,
        "weight_decay": o.weight_decay,
        "clip": o.clip,
        "bn": None if o.bn == "auto" else o.bn,
        "ema": 0.0 if o.ema is False else None,
        "patience": o.patience,
        "last_k": o.last_k,
        "reinit": o.reinit,
        "label_smoothing": o.label_smoothing,
    }


def stage_sizes(backbone: Backbone) -> dict[str, int]:
    """Stage -> number of its parameters."""
    return {name: sum(p.numel() for p in parameters) for name, parameters in backbone.stage_parameters().items()}
