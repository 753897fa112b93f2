"""Deep adaptation: a network that has learned the source is moved towards the target by a method."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.adapt.deep import Recipe, Setting, build
from headstart.adapt.deep.statistics import Tent, adapt_statistics
from headstart.adapt.validators import validate
from headstart.core.errors import ConfigError
from headstart.core.seeding import derive
from headstart.core.words import counted
from headstart.data.augment import Augmentation
from headstart.finetune import Situation, make_strategy
from headstart.finetune.supervised import Loss, Supervised
from headstart.models.backbone import Backbone
from headstart.models.model import Model
from headstart.store.runfolder import JsonLines
from headstart.store.tensors import load_tree, save_tree
from headstart.train.batch import Batch
from headstart.train.loop import Score, Settings, Trainer, Work
from headstart.train.phase import Phase
from headstart.train.trial import faster_precision
from headstart.verbs.domain.attempt import Attempt, blank_model, keep_model, load_model, on_both
from headstart.verbs.domain.pair import TARGET, Pair
from headstart.verbs.domain.scoring import evidence
from headstart.verbs.frozen import FrozenProbe
from headstart.verbs.job import SPEED
from headstart.verbs.start import augmentation_of, build_model, chosen_options, stage_sizes

SOURCE_NETWORK, STATISTICS = "source-network", "adabn"
"""The network trained on the source alone, which every method starts from; the same with the target's statistics."""

SOURCE_MODEL, TEST_TIME = "source-model", "tent"
"""In place of the former where there are no source data: the model that was given. And its entropy minimised once."""


STATISTICS_BATCH, TENT_BATCH = 128, 64
"""Samples that statistics are taken of at once, and that TENT adapts to at once."""


def run_deep(pair: Pair, name: str, start: FrozenProbe | None, validator: str) -> Attempt:
    """Train a method (a durable step; its weights lie in steps/NAME-weights).

    Without source data there is no `start`: every method goes on from the model that was given.
    """
    step = f"adapt-{name}"
    tree = pair.job.step(step, lambda: _run(pair, name, start, validator).as_tree())
    return Attempt.from_tree(tree, pair.job.seconds[step])


def _run(pair: Pair, name: str, start: FrozenProbe | None, validator: str) -> Attempt:
    if name == STATISTICS:
        return _with_statistics(pair, start)
    if name == SOURCE_MODEL:
        model = blank_model(pair, None).eval()
        keep_model(pair, name, model)
        return Attempt(name, "deep", *on_both(pair, model))
    if name == TEST_TIME:
        return _passed_once(pair)
    return _trained(pair, name, _begun(pair, name, start), validator)


def _with_statistics(pair: Pair, start: FrozenProbe | None) -> Attempt:
    model = load_model(pair, _learned(pair), start)
    layers = adapt_statistics(model, _batches(pair, model))
    lacking = "The target has one sample" if len(pair.target) == 1 else "The network has no batch norms"
    notes = [] if layers else [f"{lacking}: with the target's statistics it is the same."]
    keep_model(pair, STATISTICS, model.eval())
    return Attempt(STATISTICS, "deep", *on_both(pair, model), facts={"layers": layers}, notes=notes)


def _passed_once(pair: Pair) -> Attempt:
    """What TENT leaves behind after one pass over the target in random order, as a model that stays as it is.

    TENT's batch norms use the statistics of the batch at hand; those of the model that is kept are of the whole target.
    """
    job = pair.job
    model = load_model(pair, SOURCE_MODEL, None)
    tent = Tent(model, job.task.name)
    for batch in _batches(pair, model, TENT_BATCH):
        tent.predict(batch)
    adapt_statistics(model, _batches(pair, model))
    keep_model(pair, TEST_TIME, model.eval())
    facts = {"first_loss": tent.losses[0], "last_loss": tent.losses[-1], "collapses": tent.collapses}
    notes = (
        [f"In {counted(tent.collapses, 'batch')} the answers collapsed, and it began anew."] if tent.collapses else []
    )
    return Attempt(TEST_TIME, "deep", *on_both(pair, model), facts=facts, notes=notes)


def _batches(pair: Pair, model: Model, size: int = STATISTICS_BATCH) -> Iterator[Batch]:
    """The target once, in random order: in a folder by class, batches in order would have statistics of one class."""
    job = pair.job
    rows = np.random.default_rng(derive(job.options.seed, "statistics")).permutation(len(pair.target))
    return (b.to(job.device) for b in job.reader(model.backbone).sweep(TARGET, size, labels=False, rows=rows))


def _learned(pair: Pair) -> str:
    """The attempt that has learned the source, and that methods start from."""
    return SOURCE_NETWORK if pair.model is None else SOURCE_MODEL


def _begun(pair: Pair, name: str, start: FrozenProbe | None) -> Model:
    if pair.model is not None:
        return load_model(pair, SOURCE_MODEL, None)
    assert start is not None
    model = build_model(pair.job, start, "probe" if _strategy(pair) == "lp-ft" else "random")
    if name != SOURCE_NETWORK:
        model.load_state_dict(load_model(pair, SOURCE_NETWORK, start).state_dict(), strict=False)
    return model


def _trained(pair: Pair, name: str, model: Model, validator: str) -> Attempt:
    job = pair.job
    view = "plain"
    augmentation = _augmentation(pair)
    if augmentation is not None:
        model.backbone.augmentations, view = {"train": augmentation}, "train"
    setting = Setting(job.task.name, len(job.task.classes), view, "length" if model.backbone.by_length else "shuffle")
    recipe = None if name == SOURCE_NETWORK else build(name, setting, source=pair.model is None)
    work = _work(pair, model, setting, recipe)
    _settle_precision(pair, model, work)
    judge = _Judge(pair, name, validator if recipe is not None else "source-accuracy")
    settings = Settings(
        seed=job.options.seed,
        device=job.device,
        dtype=job.training_dtype,
        checkpoint=job.folder.checkpoint(f"adapt-{name}"),
        name=name,
        labels={"stage": name, "fold": None},
    )
    trainer = Trainer(model, job.reader(model.backbone), [work], settings, judge, JsonLines(job.folder.metrics))
    history = trainer.run()
    keep_model(pair, name, model.eval())
    facts: dict[str, Any] = {"epoch": history.kept[-1]["epoch"] + 1, "epochs": work.phase.epochs}
    if recipe is not None:
        facts["passes"] = recipe.passes
    return Attempt(name, "deep", *on_both(pair, model), judge.curve(), facts)


def _settle_precision(pair: Pair, model: Model, work: Work) -> None:
    """The number format in which the first network is trained faster here; all others are trained in the same."""
    job = pair.job
    settings = Settings(seed=job.options.seed, device=job.device, dtype=job.dtype)
    why = job.settle_precision("adapt", lambda: faster_precision(model, job.reader(model.backbone), work, settings))
    if why:
        job.notes.info(SPEED, why)


def _strategy(pair: Pair) -> str:
    asked = pair.job.options.strategy
    # A classifier that is moved to other data has no new head that its first stages would have to be spared from.
    return asked if asked != "auto" else "lp-ft" if pair.job.pretrained and pair.model is None else "full"


def _augmentation(pair: Pair) -> Augmentation | None:
    """The same for both domains; nothing is mirrored, since nothing says that classes survive it in the target."""
    if pair.job.dataset.schema.modality != "image":
        return None
    return augmentation_of(pair.job, False)


def phase_of(pair: Pair, backbone: Backbone) -> Phase:
    """The last phase of the strategy that methods train by."""
    job = pair.job
    samples = len(job.parts["train" if pair.model is None else TARGET])
    situation = Situation(stage_sizes(backbone), backbone.family, samples, chosen_options(job), job.pretrained)
    phases = make_strategy(_strategy(pair), situation).phases
    if not phases:
        raise ConfigError(f"The strategy {_strategy(pair)!r} trains nothing.", "Use lp-ft or full.")
    return phases[-1]


def _work(pair: Pair, model: Model, setting: Setting, recipe: Recipe | None) -> Work:
    """One phase with the rates of fine-tuning; what a method adds learns at the rate of the last stage."""
    job, phase = pair.job, phase_of(pair, model.backbone)
    rates = dict(phase.rates)
    fastest = max(rate for name, rate in rates.items() if name != "head")
    if recipe is not None and recipe.frozen_head:
        del rates["head"]
    elif pair.model is not None:
        rates["head"] = fastest  # strategies give a new head a higher rate; this one has learned
    phase = replace(phase, name="source" if recipe is None else "adapt", rates={**rates, "*": fastest}, patience=None)
    if recipe is None:
        phase = _quiet(phase)
    plain = Supervised((job.task,), Loss(phase.label_smoothing), setting.view, setting.order)
    if recipe is None:
        return Work(phase, [plain])
    return Work(phase, [*([] if recipe.alone else [plain]), *recipe.objectives], recipe.update)


def _quiet(phase: Phase) -> Phase:
    """The source's network is kept as it ends: its best epoch on the source says nothing about the target."""
    return replace(phase, keep="last" if phase.average is None else "average", validate_every=None)


class _Judge:
    """Scores every epoch by a validator, and keeps what was said of the target on disk, for resuming and the report."""

    def __init__(self, pair: Pair, name: str, validator: str) -> None:
        self.pair, self.validator = pair, validator
        self.folder: Path = pair.job.folder.checkpoints / f"adapt-{name}-epochs"

    def __call__(self, model: Model, phase: int = 0, epoch: int = 0, kind: str = "raw") -> Score:
        source, target = on_both(self.pair, model)
        e = evidence(self.pair, source, target)
        value = validate(self.validator, e)
        right = validate("source-accuracy", e) if self.pair.model is None else None
        self.folder.mkdir(parents=True, exist_ok=True)
        said = torch.from_numpy(e.target.argmax(1))
        record = {"epoch": epoch, "kind": kind, "score": value, "source_accuracy": right, "said": said}
        save_tree(self.folder / f"{epoch:04d}-{kind}.safetensors", record)
        return Score(value, 0.0 if right is None else -right, value)

    def curve(self) -> list[dict[str, Any]]:
        return [load_tree(path) for path in sorted(self.folder.glob("*.safetensors"))]
