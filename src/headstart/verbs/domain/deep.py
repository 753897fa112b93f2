"""Deep adaptation: the network learns the source first; then a method moves it towards the target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from headstart.adapt.deep import Recipe, Setting, build
from headstart.adapt.deep.statistics import adapt_statistics
from headstart.adapt.validators import validate
from headstart.data.augment import Augmentation
from headstart.finetune import Situation, make_strategy
from headstart.finetune.supervised import Loss, Supervised
from headstart.models.model import Model
from headstart.store.runfolder import JsonLines
from headstart.store.tensors import load_tree, save_tree
from headstart.train.loop import Score, Settings, Trainer, Work
from headstart.train.phase import Phase
from headstart.verbs.candidates import augmentation_of, build_model, chosen_options, stage_sizes
from headstart.verbs.domain.attempt import Attempt, keep_model, load_model, on_both
from headstart.verbs.domain.pair import TARGET, Pair
from headstart.verbs.domain.scoring import evidence
from headstart.verbs.frozen import FrozenProbe

SOURCE_NETWORK, STATISTICS = "source-network", "adabn"
"""The network trained on the source alone, which every method starts from; the same with the target's statistics."""


def run_deep(pair: Pair, name: str, start: FrozenProbe, validator: str) -> Attempt:
    """Train a method (a durable step; its weights lie in steps/NAME-weights)."""
    step = f"adapt-{name}"
    tree = pair.job.step(step, lambda: _run(pair, name, start, validator).as_tree())
    return Attempt.from_tree(tree, pair.job.seconds[step])


def _run(pair: Pair, name: str, start: FrozenProbe, validator: str) -> Attempt:
    job = pair.job
    if name == STATISTICS:
        model = load_model(pair, SOURCE_NETWORK, start)
        reader = job.reader(model.backbone)
        layers = adapt_statistics(model, (b.to(job.device) for b in reader.sweep(TARGET, 128, labels=False)))
        notes = [] if layers else ["The network has no batch norms: with the target's statistics it is the same."]
        keep_model(pair, name, model.eval())
        return Attempt(name, "deep", *on_both(pair, model), facts={"layers": layers}, notes=notes)
    model = build_model(job, start, "probe" if _solved(pair) else "random")
    if name != SOURCE_NETWORK:
        model.load_state_dict(load_model(pair, SOURCE_NETWORK, start).state_dict(), strict=False)
    view = "plain"
    augmentation = _augmentation(pair)
    if augmentation is not None:
        model.backbone.augmentations, view = {"train": augmentation}, "train"
    setting = Setting(job.task.name, len(job.task.classes), view, "length" if model.backbone.by_length else "shuffle")
    recipe = None if name == SOURCE_NETWORK else build(name, setting)
    work = _work(pair, model, setting, recipe)
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


def _solved(pair: Pair) -> bool:
    """Whether the head starts from the probe."""
    return _strategy(pair) == "lp-ft"


def _strategy(pair: Pair) -> str:
    asked = pair.job.options.strategy
    return asked if asked != "auto" else "lp-ft" if pair.job.pretrained else "full"


def _augmentation(pair: Pair) -> Augmentation | None:
    """The same for both domains; nothing is mirrored, since nothing says that classes survive it in the target."""
    if pair.job.dataset.schema.modality != "image":
        return None
    return augmentation_of(pair.job, False)


def _work(pair: Pair, model: Model, setting: Setting, recipe: Recipe | None) -> Work:
    """One phase with the rates of fine-tuning; what a method adds learns at the rate of the last stage."""
    job = pair.job
    situation = Situation(
        stage_sizes(model.backbone),
        model.backbone.family,
        len(job.parts["train"]),
        chosen_options(job),
        job.pretrained,
    )
    phase = make_strategy(_strategy(pair), situation).phases[-1]
    rates = dict(phase.rates)
    fastest = max(rate for name, rate in rates.items() if name != "head")
    if recipe is not None and recipe.frozen_head:
        del rates["head"]
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
        right = validate("source-accuracy", e)
        self.folder.mkdir(parents=True, exist_ok=True)
        said = torch.from_numpy(e.target.argmax(1))
        record = {"epoch": epoch, "kind": kind, "score": value, "source_accuracy": right, "said": said}
        save_tree(self.folder / f"{epoch:04d}-{kind}.safetensors", record)
        return Score(value, -right, value)

    def curve(self) -> list[dict[str, Any]]:
        return [load_tree(path) for path in sorted(self.folder.glob("*.safetensors"))]
