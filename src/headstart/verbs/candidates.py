"""Training candidates: one strategy, trained and judged by the protocol that the amount of data asks for.

From 1,000 labelled samples on, a held-out validation part stops training and judges. Below, two folds do: each half
is trained once and judged on the other half; their curves choose the epoch and whether averaged weights are taken;
then the model is trained on all samples for that long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from headstart.core.progress import progress
from headstart.data.schema import missing
from headstart.features.probe import class_weights, label_scale
from headstart.finetune import Situation, make_strategy
from headstart.finetune.reinit import reinitialise
from headstart.finetune.supervised import Loss, Supervised
from headstart.models.backbone import Backbone
from headstart.models.model import Model
from headstart.pretrain import pretraining_objective, unlabelled
from headstart.store.runfolder import JsonLines
from headstart.store.tensors import load_tree, save_tree
from headstart.train.finder import suggest
from headstart.train.inference import outputs
from headstart.train.loop import History, Settings, Trainer, Work
from headstart.train.objective import Objective
from headstart.train.phase import Phase, Strategy
from headstart.train.reader import Reader
from headstart.train.steady import steadier
from headstart.train.trial import faster_precision
from headstart.verbs.frozen import FrozenProbe
from headstart.verbs.interpolation import HALF, interpolate, interpolates, settle_share, snapshot
from headstart.verbs.job import Job
from headstart.verbs.judging import Judge, judged_rarely, latest_of_the_best
from headstart.verbs.overfitting import overfitting, overfitting_of_folds
from headstart.verbs.prefix import with_kept_prefix
from headstart.verbs.start import augmentation_of, build_model, chosen_options, probe_without, stage_sizes

T = TypeVar("T")

FOLDS_OF_FEW = 2


@dataclass
class Candidate:
    """A trained strategy.

    Attributes
    ----------
    name
        Of the strategy.
    start
        The probe that it starts from: place, size, and the head's solution.
    validation
        (N, K) logits on the validation part; where data are few, out of two folds over the training part.
    strategy
        What was run.
    arm, mirror
        What was asked for, and whether pictures may be mirrored.
    notes
        What was decided on the way.
    """

    name: str
    start: FrozenProbe
    validation: np.ndarray
    strategy: Strategy
    trained: int
    notes: list[str]
    arm: Arm
    mirror: bool


@dataclass(frozen=True)
class Arm:
    """A candidate that may be trained.

    Attributes
    ----------
    name
        What it is called: that of its strategy, unless several differ in their options.
    strategy
        Of the registry.
    options
        Fields of `FitOptions` in which it differs from what was asked.
    share
        Of the epochs that it is given. Less than 1 is a trial: nothing is kept but its held-out logits.
    """

    name: str
    strategy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    trial: bool = False

    @property
    def step(self) -> str:
        """The name of its durable step."""
        return self.name if not self.trial else f"{self.name}, {self.share:.0%}"


def train_candidate(job: Job, arm: Arm, start: FrozenProbe, mirror: bool) -> Candidate:
    """Train an arm by the job's protocol (a durable step; its weights lie in steps/NAME-weights)."""
    job = replace(job, options=job.options.model_copy(update=dict(arm.options)))
    value = job.step(arm.step, lambda: _train(job, arm, start, mirror))
    strategy = Strategy.from_json(value["strategy"])
    logits = value["validation"].numpy()
    return Candidate(arm.step, start, logits, strategy, value["trained"], value["notes"], arm, mirror)


def weights_path(job: Job, name: str) -> Path:
    return job.folder.steps / f"{name}-weights.safetensors"


def load_candidate(job: Job, candidate: Candidate) -> Model:
    """The trained model of a candidate."""
    model = build_model(job, candidate.start, candidate.strategy.head)
    model.load_state_dict(load_tree(weights_path(job, candidate.name)), strict=False)
    return model.eval()


def _train(job: Job, arm: Arm, start: FrozenProbe, mirror: bool) -> dict[str, Any]:
    name = arm.step
    strategy, notes = _strategy(job, arm.strategy, start, mirror)
    strategy = replace(strategy, name=name, phases=tuple(_shortened(p, arm.share) for p in strategy.phases))
    if strategy.phases:
        why = job.settle_precision(name, lambda: _trial(job, strategy, start, mirror, faster_precision))
        notes += [why] if why else []
        strategy, why = _steadied(job, strategy, start, mirror)
        notes += [why] if why else []
        strategy, remarks = with_kept_prefix(job, strategy, lambda: _tried(job, strategy, start, mirror))
        notes += remarks
    between, share = interpolates(job.options, strategy), 1.0
    if job.few:
        logits, strategy, share = _two_folds(job, strategy, start, mirror, notes, arm.trial)
        if arm.trial:
            return _as_tree(strategy, logits, 0, notes)
        model, _ = _run(job, strategy, start, mirror, name, fold=None)
    else:
        model, history = _run(job, strategy, start, mirror, name, fold=None, held_out="validation")
        reader = job.reader(model.backbone)
        logits = outputs(model, reader, "validation", dtype=job.dtype).logits[job.task.name]
        if arm.trial:
            return _as_tree(strategy, logits, 0, notes)
        if why := overfitting(history):
            notes.append(why)
        if between:
            begun = snapshot(build_model(job, start, strategy.head))
            share, logits, why = settle_share(job, model, begun, logits)
            notes.append(why)
            progress().say(why)
    if share < 1:
        interpolate(model, snapshot(build_model(job, start, strategy.head)), share)
    job.folder.steps.mkdir(exist_ok=True)
    tensors = {k: v for k, v in model.state_dict().items() if not k.startswith("backbone.source_head.")}
    save_tree(weights_path(job, name), tensors)
    moved = {group for phase in strategy.phases for group in phase.rates}
    trained = sum(p.numel() for group, ps in model.groups().items() if group in moved for p in ps)
    return _as_tree(strategy, logits, trained, notes)


def _as_tree(strategy: Strategy, logits: np.ndarray, trained: int, notes: list[str]) -> dict[str, Any]:
    return {
        "strategy": strategy.as_json(),
        "validation": torch.from_numpy(logits),
        "trained": trained,
        "notes": notes,
    }


def _shortened(phase: Phase, share: float) -> Phase:
    """A phase whose whole schedule is run in a share of the epochs."""
    return phase if share == 1 else replace(phase, epochs=max(1, round(phase.epochs * share)))


def _strategy(job: Job, name: str, start: FrozenProbe, mirror: bool) -> tuple[Strategy, list[str]]:
    backbone = job.open(start.size, end_at=start.stage)
    samples = int((~missing(job.labels("train"))).sum())
    options = chosen_options(job)
    notes: list[str] = []
    situation = Situation(stage_sizes(backbone), backbone.family, samples, options, job.pretrained)
    strategy = make_strategy(name, situation)
    if job.options.reinit:
        strategy = replace(strategy, head="random")
        names = reinitialise(backbone, job.options.reinit, job.options.seed)
        notes.append(f"{', '.join(names)} started at random, and with them the head (--reinit).")
    if job.options.lr == "find" and strategy.phases:
        factor, why = _find_rate(job, strategy, start, mirror)
        notes.append(why)
        if factor is not None:
            strategy = scaled(strategy, factor)
    return strategy, notes


def _objective(job: Job, phase: Phase, backbone: Backbone, view: str) -> Objective:
    if phase.objective == "pretraining":
        return pretraining_objective(backbone)
    return Supervised((job.task,), loss_of([job], phase), view, "length" if backbone.by_length else "shuffle")


def loss_of(jobs: Sequence[Job], phase: Phase) -> Loss:
    """How the losses of these jobs' tasks are computed; what they share is the first one's."""
    weights: dict[str, torch.Tensor] = {}
    for job in jobs:
        if job.balanced and job.task.kind == "single-label":
            labels = job.labels("train")
            per_sample = class_weights(job.task, labels)
            assert per_sample is not None
            per_class = torch.zeros(len(job.task.classes))
            per_class[torch.as_tensor(labels[labels >= 0])] = per_sample[torch.as_tensor(labels >= 0)]
            weights[job.task.name] = per_class
    spread = {job.task.name: label_scale(job.task, job.labels("train"))[1] for job in jobs}
    return Loss(phase.label_smoothing, weights, spread, jobs[0].options.mixup, jobs[0].options.cutmix)


def _prepare(job: Job, strategy: Strategy, start: FrozenProbe, mirror: bool, fold: int | None) -> tuple[Model, str]:
    """A fresh model with its views set, and the name of the view to train on."""
    head = start
    if fold is not None and strategy.head == "probe":
        head = replace(start, probe=probe_without(job, start, fold))
    model = build_model(job, head, strategy.head, fold)
    if job.options.reinit:
        reinitialise(model.backbone, job.options.reinit, job.options.seed)
    augmentation = augmentation_of(job, mirror)
    if augmentation is not None and job.dataset.schema.modality == "image":
        model.backbone.augmentations = {"train": augmentation}
        return model, "train"
    return model, "plain"


def _run(
    job: Job,
    strategy: Strategy,
    start: FrozenProbe,
    mirror: bool,
    name: str,
    fold: int | None,
    held_out: str | None = None,
) -> tuple[Model, History]:
    """Train through the strategy's phases; with `held_out`, every epoch is judged on that part."""
    model, view = _prepare(job, strategy, start, mirror, fold)
    parts = dict(job.parts)
    if fold is not None:
        halves = job.halves.numpy()
        parts["held"] = job.parts["train"].subset(np.flatnonzero(halves == fold))
        parts["train"] = job.parts["train"].subset(np.flatnonzero(halves != fold))
    reader = job.reader(model.backbone, parts)
    label = name if fold is None else f"{name}-fold{fold}"
    settings = Settings(
        seed=job.options.seed,
        device=job.device,
        dtype=job.training_dtype,
        checkpoint=job.folder.checkpoint(label),
        name=f"{name}, fold {fold + 1} of {FOLDS_OF_FEW}" if fold is not None else name,
        labels={"stage": name, "fold": fold},
        scratch=job.folder.checkpoints / "activations",
    )
    if any(phase.objective == "pretraining" for phase in strategy.phases):
        kept = job.folder.checkpoints / f"{label}-corpus"
        reader.parts["corpus"] = unlabelled(model.backbone, parts["train"], kept)
    works = [Work(phase, [_objective(job, phase, model.backbone, view)]) for phase in strategy.phases]
    # Out of folds, weights in between are judged on the way; on a validation part once, at the end.
    begun = snapshot(model) if fold is not None and interpolates(job.options, strategy) else None
    judge = Judge(job, reader, held_out, label, begun) if held_out is not None else None
    trainer = Trainer(model, reader, works, settings, judge, JsonLines(job.folder.metrics))
    if judge is not None:
        judge.trainer = trainer
    history = trainer.run()
    return model.eval(), history


def _two_folds(
    job: Job, strategy: Strategy, start: FrozenProbe, mirror: bool, notes: list[str], trial: bool = False
) -> tuple[np.ndarray, Strategy, float]:
    """Out-of-fold logits, the strategy cut to the epoch that the folds' curves chose, and the share of its weights."""
    n = len(job.parts["train"])
    last = len(strategy.phases) - 1
    labels, halves = job.labels("train"), job.halves.numpy()
    held: dict[tuple[int, str], np.ndarray] = {}
    histories = []
    for fold in range(FOLDS_OF_FEW):
        histories.append(_run(job, judged_rarely(strategy), start, mirror, strategy.name, fold, "held")[1])
        for path in (job.folder.checkpoints / f"{strategy.name}-fold{fold}-epochs").glob(f"{last}-*.safetensors"):
            _, number, of = path.stem.split("-")
            logits = held.setdefault((int(number), of), np.full((n, job.task.outputs), np.nan, dtype=np.float32))
            logits[halves == fold] = load_tree(path).numpy()
    judged = halves >= 0
    whole = {key: logits for key, logits in held.items() if not np.isnan(logits[judged]).any()}
    epoch, kind, between = latest_of_the_best(job, labels[judged], {k: z[judged] for k, z in whole.items()})
    logits = whole[epoch, kind]
    final = replace(
        strategy.phases[last],
        stop_after=epoch + 1,
        keep="average" if kind == "average" else "last",
        patience=None,
    )
    earlier = [replace(p, keep="average" if p.average else "last", patience=None) for p in strategy.phases[:-1]]
    said = {"average": " and averaged weights", "half": " and weights half-way between probe and fine-tuned ones"}
    notes.append(
        f"Two folds chose epoch {epoch + 1} of {strategy.phases[last].epochs}{said.get(kind, '')}; the model was then "
        f"trained on all {n} samples."
    )
    if not trial:
        progress().say(notes[-1])
    notes += [why for why in (between, overfitting_of_folds(histories, epoch, kind)) if why]
    return logits, replace(strategy, phases=(*earlier, final)), HALF if kind == "half" else 1.0


def _steadied(job: Job, strategy: Strategy, start: FrozenProbe, mirror: bool) -> tuple[Strategy, str]:
    """Lower rates where the first steps from a solved head would blow up; rates that were asked for are kept."""
    if job.options.lr != "auto" or strategy.head != "probe" or strategy.phases[-1].objective != "supervised":
        return strategy, ""
    guessing = {"single-label": np.log(max(2, len(job.task.classes))), "multi-label": np.log(2)}.get(job.task.kind, 1.0)
    of = partial(steadier, guessing=float(guessing))
    factor, why = _trial(job, strategy, start, mirror, of, job.training_dtype)
    if why:
        progress().say(why)
    return scaled(strategy, factor), why


def scaled(strategy: Strategy, factor: float) -> Strategy:
    """With every rate multiplied."""
    if factor == 1:
        return strategy
    phases = [replace(p, rates={k: v * factor for k, v in p.rates.items()}) for p in strategy.phases]
    return replace(strategy, phases=tuple(phases))


def _find_rate(job: Job, strategy: Strategy, start: FrozenProbe, mirror: bool) -> tuple[float | None, str]:
    return _trial(job, strategy, start, mirror, suggest)


def _trial(
    job: Job,
    strategy: Strategy,
    start: FrozenProbe,
    mirror: bool,
    of: Callable[..., T],
    dtype: torch.dtype | None = None,
) -> T:
    """Try a few steps of the strategy's last phase on a model that is thrown away."""
    model, reader, view = _tried(job, strategy, start, mirror)
    last = strategy.phases[-1]
    work = Work(last, [_objective(job, last, model.backbone, view)])
    return of(model, reader, work, Settings(seed=job.options.seed, device=job.device, dtype=dtype or job.dtype))


def _tried(job: Job, strategy: Strategy, start: FrozenProbe, mirror: bool) -> tuple[Model, Reader, str]:
    model, view = _prepare(job, strategy, start, mirror, None)
    return model, job.reader(model.backbone), view
