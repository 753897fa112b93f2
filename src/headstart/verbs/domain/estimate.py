"""`estimate_adaptation`: what an adaptation would try, and about how long each part takes, without doing it."""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.adapt.deep import Setting, build
from headstart.adapt.shallow import Domains
from headstart.adapt.shallow import build as build_shallow
from headstart.adapt.validators import Evidence, validate
from headstart.adapt.validators import names as validators
from headstart.core.progress import progress
from headstart.core.words import counted
from headstart.models.backbone import Backbone
from headstart.store.runfolder import RunFolder
from headstart.verbs.adapt import check_adapt_options, open_either
from headstart.verbs.domain.attempt import blank_model
from headstart.verbs.domain.choosing import methods_to_try, methods_without_source
from headstart.verbs.domain.deep import SOURCE_MODEL, SOURCE_NETWORK, STATISTICS, TEST_TIME, phase_of
from headstart.verbs.domain.given import able
from headstart.verbs.domain.options import AdaptOptions, make_adapt_options
from headstart.verbs.domain.pair import TARGET, Pair
from headstart.verbs.domain.shallow import SOURCE_ONLY, imitating
from headstart.verbs.estimate import begun, forward_speed, frozen_steps, over_seeds, planned, training_speed
from headstart.verbs.running import take_model

PILOTS = (80, 160)
"""Samples of each domain that a method on features is timed with, to tell how its time grows."""

DISTANCES, PAGE = 8, 2
"""Seconds for the distances of both domains and for the page, at any size: they look at some samples only."""


def estimate_adaptation(
    source: Any, target: Any, *, model: str | Backbone | None = None, **options: Any
) -> dict[str, Any]:
    """Plan an adaptation and measure for a moment how fast this machine is; nothing is written.

    Parameters
    ----------
    source, target, model, **options
        As for `adapt`.

    Returns
    -------
    dict
        As of `estimate`: `data`, `plan` (steps with about how many seconds each), `seconds`, `memory_mb`, `disk_mb`.

    Raises
    ------
    HeadstartError
        As for `adapt`.
    """
    module = take_model(model, options)
    checked = make_adapt_options(options)
    check_adapt_options(checked, source is None)
    with tempfile.TemporaryDirectory() as scratch:
        pair = open_either(RunFolder(Path(scratch)), checked, source, target, module)
        found = _with_source(pair, checked) if pair.model is None else _without(pair, checked)
        return over_seeds(found, checked.seeds, pair.job.pretrained and pair.model is None)


def _with_source(pair: Pair, options: AdaptOptions) -> dict[str, Any]:
    job = pair.job
    backbone = job.open(None)
    sizes = job.modality.sizes(job, backbone)
    size = sizes[len(sizes) // 2]
    backbone = job.open(size).eval()
    shallow, deep = methods_to_try(options.method)
    progress().say("Measuring speeds")
    forward = forward_speed(job, backbone)
    training = training_speed(job, backbone, [phase_of(pair, backbone)] if deep else [])
    steps = frozen_steps(job, sizes, forward, job.samples)
    steps += [_of_features(pair, name, backbone) for name in shallow if name != SOURCE_ONLY]
    steps += [_of_network(pair, name, backbone, forward, training) for name in deep]
    return _whole(pair, steps, size, backbone, len(deep))


def _without(pair: Pair, options: AdaptOptions) -> dict[str, Any]:
    job = pair.job
    backbone = blank_model(pair, None).backbone.eval()
    names = [SOURCE_MODEL, *able(pair, methods_without_source(options.method), options.method)]
    progress().say("Measuring speeds")
    forward, training = forward_speed(job, backbone), training_speed(job, backbone, [phase_of(pair, backbone)])
    steps = [_of_network(pair, name, backbone, forward, training) for name in names]
    found = _whole(pair, steps, backbone.input_spec.size, backbone, len(names))
    assert pair.model is not None
    return found | {"model": f"run:{pair.model.name}"}


def _whole(pair: Pair, steps: list[dict[str, Any]], size: int, backbone: Backbone, kept: int) -> dict[str, Any]:
    job = pair.job
    seconds = _scoring(pair, _width(pair, backbone))
    count = len(steps) - (pair.model is None)  # two steps come before the attempts, and one of these needs no step
    steps.append({"name": "scores", "detail": f"{count} attempts by every validator", "seconds": count * seconds})
    ending = PAGE if pair.model is not None else PAGE + DISTANCES
    steps.append({"name": "report", "detail": "what was found, as a page", "seconds": ending})
    parameters = sum(p.numel() for p in backbone.parameters())
    found = planned(job, steps, size, parameters)
    source = job.dataset.name if pair.model is None else pair.model.name
    data = found["data"] | {"name": f"{source} → {pair.target.name}"}
    # Every attempt's weights, the checkpoint of the one that trains, and the bundle.
    return found | {"data": data, "disk_mb": round((kept + 6) * 4 * parameters / 2**20) + 5}


def _of_network(pair: Pair, name: str, backbone: Backbone, forward: float, training: float) -> dict[str, Any]:
    """A step that runs or trains the network, at samples per second of either."""
    parts = {part: len(data) for part, data in pair.job.parts.items()}
    n, m = parts.get("train", 0), parts[TARGET]
    judged = (parts.get("validation", 0) + m) / forward

    def step(detail: str, seconds: float) -> dict[str, Any]:
        return {"name": name, "detail": detail, "seconds": seconds + judged}

    if name == SOURCE_MODEL:
        return step("the model as it is", 0.0)
    if name == STATISTICS:
        return step(f"{m} target samples, forward", m / forward)
    if name == TEST_TIME:
        return step(f"{m} target samples, once", m / training + 2 * m / forward)
    phase = phase_of(pair, backbone)
    epochs = phase.epochs
    if name == SOURCE_NETWORK:
        return step(f"{counted(epochs, 'epoch')} of {n} source samples", epochs * n / training)
    recipe = build(name, Setting(pair.job.task.name, len(pair.job.task.classes)), source=pair.model is None)
    if all(feed.part == TARGET for objective in recipe.objectives for feed in objective.feeds):
        detail = f"{counted(epochs, 'epoch')} of {m} target samples"
        return step(detail, epochs * (m / training + m / forward + judged))
    # A step takes a batch of either domain, and an epoch is as many steps as the source has batches.
    detail = f"{counted(epochs, 'epoch')} of {n} source and as many target samples"
    detail += f", {recipe.passes} passes" if recipe.passes > 1 else ""
    return step(detail, epochs * (2 * n * recipe.passes / training + judged))


def _of_features(pair: Pair, name: str, backbone: Backbone) -> dict[str, Any]:
    """A method on frozen features, timed on few made-up ones of the network's width; its time grows as it did there."""
    job = pair.job
    n, m, classes = len(job.parts["train"]), len(job.parts[TARGET]), len(job.task.classes)
    width = _width(pair, backbone)
    sizes = [(max(classes, min(n, pilot)), min(m, pilot)) for pilot in PILOTS]
    _seconds(pair, name, sizes[0], width)  # the first call imports and warms up
    few, more = (_seconds(pair, name, size, width) for size in sizes)
    growth = math.log(sum(sizes[1]) / sum(sizes[0])) if sum(sizes[1]) > sum(sizes[0]) else 0.0
    power = min(3.0, max(1.0, math.log(more / few) / growth)) if growth else 1.0
    seconds = more * (max(1.0, (n + m) / sum(sizes[1]))) ** power
    return {"name": name, "detail": f"features of {n} source and {m} target samples", "seconds": seconds}


def _width(pair: Pair, backbone: Backbone) -> int:
    state, _ = begun(pair.job, backbone, 1)
    with torch.inference_mode():
        return backbone.pool(backbone.run(state)).shape[1]


def _scoring(pair: Pair, width: int) -> float:
    """Seconds of all validators, on made-up answers of as many samples."""
    parts, classes = {k: len(v) for k, v in pair.job.parts.items()}, len(pair.job.task.classes)
    random = np.random.default_rng(0)
    v, m = parts.get("validation", 0), parts[TARGET]
    p, q = (random.dirichlet(np.ones(classes), n) for n in (v, m))
    x, z = (random.normal(size=(n, width)).astype(np.float32) for n in (v, m))
    start = time.perf_counter()
    made = Evidence(p, np.arange(v) % classes, x, q, z)
    for name in validators(pair.model is None):
        validate(name, made)
    return time.perf_counter() - start


def _seconds(pair: Pair, name: str, size: tuple[int, int], width: int) -> float:
    """Of the method, and of the head that learns to answer as it does."""
    n, m = size
    classes = len(pair.job.task.classes)
    random = np.random.default_rng(0)
    centres = random.normal(size=(classes, width))
    labels, hidden = np.arange(n) % classes, np.arange(m) % classes
    x = centres[labels] + random.normal(size=(n, width))
    z = centres[hidden] + 0.5 + random.normal(size=(m, width))
    start = time.perf_counter()
    found = build_shallow(name).fit(Domains(x, labels, z, classes))
    imitating(pair.job, torch.from_numpy(z).float(), found.probabilities)
    return time.perf_counter() - start
