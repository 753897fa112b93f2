"""Training for several tasks: a network with a head per task, each head from its probe.

The protocol is that of one task: a validation part judges the epochs; where data are few, two folds choose the epoch
and give held-out answers, and the model is then trained on everything. What is best is said by the rule (`rule`), from
the tasks' relative changes against their own probes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.progress import progress
from headstart.finetune import Situation, make_strategy
from headstart.finetune.supervised import Supervised
from headstart.models.model import Model
from headstart.multitask import Balanced
from headstart.store.runfolder import JsonLines
from headstart.store.tensors import save_tree
from headstart.train.inference import outputs
from headstart.train.loop import Settings, Trainer, Work
from headstart.train.phase import Phase, Strategy
from headstart.train.steady import steadier
from headstart.train.trial import faster_precision
from headstart.train.update import OneBackward
from headstart.verbs.candidates import FOLDS_OF_FEW, loss_of, scaled
from headstart.verbs.interpolation import HALF, SHARES, in_between, interpolate, interpolates, snapshot
from headstart.verbs.job import Job
from headstart.verbs.judging import judged_rarely
from headstart.verbs.prefix import with_kept_prefix
from headstart.verbs.start import augmentation_of, chosen_options, stage_sizes
from headstart.verbs.tasks.judge import TasksJudge, fold_answers, latest_of_the_best, value_of
from headstart.verbs.tasks.model import prefix_tensors, update_of, weights_of, with_sharing
from headstart.verbs.tasks.recipe import Recipe, Trained
from headstart.verbs.tasks.starts import Start
from headstart.verbs.tasks.view import TaskJob, rows_in

WATCH = 4
"""Cosines of the tasks' gradients are measured at every fourth step."""


SAID = {"raw": "", "average": " and averaged weights", "half": " and weights half-way from the probes"}


class Training:
    """Trains a recipe's model for the tasks in `views`; `job` has the samples: all tasks', or those of one."""

    def __init__(
        self, job: Job, recipe: Recipe, views: Mapping[str, TaskJob], starts: Mapping[str, Start], mirror: bool
    ) -> None:
        self.job, self.recipe, self.views, self.starts, self.mirror = job, recipe, views, starts, mirror
        self.notes: list[str] = []

    def train(self) -> dict[str, Any]:
        """The value of the recipe's step; `run_training` reads it."""
        job, strategy = self.job, self._strategy()
        cosines: dict[int, Tensor] = {}
        share = 1.0
        if strategy.phases:
            strategy = self._prepared(strategy)
        if not strategy.phases:
            model = self.recipe.build("probe", None)
            held = self._probes()
        elif job.few:
            held, strategy, share = self._two_folds(strategy)
            model, cosines = self._run(strategy, None)
        else:
            model, cosines = self._run(strategy, None, "validation")
            held, share = self._interpolated(strategy, model)
        if share < 1:
            interpolate(model, snapshot(self.recipe.build(strategy.head, None)), share)
        job.folder.steps.mkdir(exist_ok=True)
        save_tree(
            weights_of(job, self.recipe.name),
            {k: v for k, v in model.state_dict().items() if not k.startswith("backbone.source_head.")},
        )
        moved = {group for phase in strategy.phases for group in phase.rates}
        return {
            "strategy": strategy.as_json(),
            "validation": {name: torch.from_numpy(np.ascontiguousarray(logits)) for name, logits in held.items()},
            "cosines": [[epoch, matrix] for epoch, matrix in sorted(cosines.items())],
            "trained": sum(p.numel() for group, ps in model.groups().items() if group in moved for p in ps),
            "notes": self.notes,
        }

    def _interpolated(self, strategy: Strategy, model: Model) -> tuple[dict[str, np.ndarray], float]:
        """Logits on validation, and the share of the way from the probes that the rule prefers there."""
        job, reader = self.job, self.job.reader(model.backbone)

        def answers() -> dict[str, np.ndarray]:
            found = outputs(model, reader, "validation", dtype=job.dtype).logits
            return {name: found[name][rows_in(job, view, "validation")] for name, view in self.views.items()}

        tried = {1.0: answers()}
        if interpolates(job.options, strategy):
            begun = snapshot(self.recipe.build(strategy.head, None))
            for share in SHARES:
                with in_between(model, begun, share):
                    tried[share] = answers()
        best = max(tried, key=lambda share: (value_of(job, self.views, self.starts, tried[share]), share))
        if best < 1:
            self.notes.append(f"Weights were interpolated: {best:.0%} of the way from the probes is best by the rule.")
        return tried[best], best

    def _probes(self) -> dict[str, np.ndarray]:
        """Held-out answers where nothing is trained: the probes', which no other task can change."""
        held = {}
        for name, start in self.starts.items():
            out = start.shared.halves if self.job.few else start.shared.validation
            assert out is not None
            held[name] = out
        return held

    def _strategy(self) -> Strategy:
        job = self.job
        first = next(iter(self.starts.values())).shared
        backbone = job.open(first.size, end_at=first.stage)
        options = chosen_options(job)
        situation = Situation(stage_sizes(backbone), backbone.family, len(job.parts["train"]), options, job.pretrained)
        asked = "lp-ft" if job.options.strategy == "auto" else job.options.strategy
        strategy = make_strategy(asked, situation)
        phases = tuple(self._limited(phase, list(backbone.stages)) for phase in strategy.phases)
        strategy = replace(strategy, name=self.recipe.name, phases=phases)
        return with_sharing(strategy, self.recipe.build("random", None))

    def _limited(self, phase: Phase, stages: list[str]) -> Phase:
        recipe = self.recipe
        still = stages[: stages.index(recipe.after) + 1] if recipe.after is not None else ()
        rates = {name: rate for name, rate in phase.rates.items() if name not in still}
        return replace(phase, rates=rates, epochs=max(1, round(phase.epochs * recipe.epochs)))

    def _prepared(self, strategy: Strategy) -> Strategy:
        """Number format, rates that do not blow up, and kept activations: as of a single task."""
        job, last = self.job, strategy.phases[-1]

        def trial(of: Any, dtype: torch.dtype) -> Any:
            model, view = self._model(strategy, None)
            settings = Settings(seed=job.options.seed, device=job.device, dtype=dtype)
            return of(model, job.reader(model.backbone), self._work(last, view, model), settings)

        why = job.settle_precision(self.recipe.name, lambda: trial(faster_precision, job.dtype))
        self.notes += [why] if why else []
        if job.options.lr == "auto" and strategy.head == "probe":
            guessing = sum(_guessing(view) for view in self.views.values())
            factor, why = trial(partial(steadier, guessing=guessing), job.training_dtype)
            self.notes += [why] if why else []
            strategy = scaled(strategy, factor)

        def tried() -> tuple[Model, Any, str]:
            model, view = self._model(strategy, None)
            return model, job.reader(model.backbone), view

        strategy, remarks = with_kept_prefix(job, strategy, tried)
        self.notes += remarks
        return strategy

    def _model(self, strategy: Strategy, fold: int | None) -> tuple[Model, str]:
        """A fresh model with its views set, and the name of the view to train on."""
        model = self.recipe.build(strategy.head, fold)
        augmentation = augmentation_of(self.job, self.mirror)
        if augmentation is None or self.job.modality.name != "image":
            return model, "plain"
        model.backbone.augmentations = {"train": augmentation}
        return model, "train"

    def _work(self, phase: Phase, view: str, model: Model) -> Work:
        options, tasks = self.job.options, tuple(v.task for v in self.views.values())
        rules = {"proportion": None, "equal": float("inf")}
        temperature = rules[options.sampling] if isinstance(options.sampling, str) else options.sampling
        order = "length" if model.backbone.by_length else "shuffle"
        objective = Supervised(tasks, loss_of([*self.views.values()], phase), view, order, temperature)  # type: ignore[arg-type]
        return Work(phase, [objective], update_of(self.job, model, WATCH) if len(tasks) > 1 else OneBackward())

    def _run(
        self, strategy: Strategy, fold: int | None, held_out: str | None = None
    ) -> tuple[Model, dict[int, Tensor]]:
        """Train through the phases; with `held_out`, every epoch is judged on that part."""
        job = self.job
        model, view = self._model(strategy, fold)
        parts = dict(job.parts)
        if fold is not None:
            halves = job.halves.numpy()
            parts["held"] = job.parts["train"].subset(np.flatnonzero(halves == fold))
            parts["train"] = job.parts["train"].subset(np.flatnonzero(halves != fold))
        reader = job.reader(model.backbone, parts)
        label = self.recipe.name if fold is None else f"{self.recipe.name}-fold{fold}"
        settings = Settings(
            seed=job.options.seed,
            device=job.device,
            dtype=job.training_dtype,
            checkpoint=job.folder.checkpoint(label),
            name=self.recipe.title + ("" if fold is None else f", fold {fold + 1} of {FOLDS_OF_FEW}"),
            labels={"stage": self.recipe.name, "fold": fold},
            scratch=job.folder.checkpoints / "activations",
        )
        works = [self._work(phase, view, model) for phase in strategy.phases]
        # Out of folds, weights in between are judged on the way; on a validation part once, at the end.
        begun = snapshot(model) if fold is not None and interpolates(job.options, strategy) else None
        judge = TasksJudge(job, self.views, self.starts, reader, held_out, label, begun) if held_out else None
        trainer = Trainer(model, reader, works, settings, judge, JsonLines(job.folder.metrics))
        if judge is not None:
            judge.trainer = trainer
        trainer.run()
        update = works[-1].update
        return model.eval(), update.cosines() if isinstance(update, Balanced) else {}

    def _two_folds(self, strategy: Strategy) -> tuple[dict[str, np.ndarray], Strategy, float]:
        """Out-of-fold logits, the strategy cut to the epoch that the rule prefers, and the share of its weights."""
        job, last = self.job, len(strategy.phases) - 1
        for fold in range(FOLDS_OF_FEW):
            model, _ = self._run(judged_rarely(strategy), fold, "held")
            if self.recipe.keep is not None:
                job.folder.steps.mkdir(exist_ok=True)
                kept = prefix_tensors(model.backbone, self.recipe.keep)
                save_tree(weights_of(job, f"{self.recipe.name}-fold{fold}"), kept)
        answers = fold_answers(job, self.views, self.recipe.name, last)
        (epoch, kind), held = latest_of_the_best(job, self.views, self.starts, answers)
        final = replace(
            strategy.phases[last],
            stop_after=epoch + 1,
            keep="average" if kind == "average" else "last",
            patience=None,
        )
        earlier = [replace(p, keep="average" if p.average else "last", patience=None) for p in strategy.phases[:-1]]
        self.notes.append(
            f"Two folds chose epoch {epoch + 1} of {strategy.phases[last].epochs}{SAID[kind]}; the model was then "
            f"trained on all {len(job.parts['train'])} samples."
        )
        progress().say(self.notes[-1])
        return held, replace(strategy, phases=(*earlier, final)), HALF if kind == "half" else 1.0


def _guessing(view: TaskJob) -> float:
    """The loss of guessing."""
    known = {"single-label": np.log(max(2, len(view.task.classes))), "multi-label": np.log(2)}
    return float(known.get(view.task.kind, 1.0))


def run_training(
    job: Job, recipe: Recipe, views: Mapping[str, TaskJob], starts: Mapping[str, Start], mirror: bool
) -> Trained:
    """Train a recipe (a durable step; its weights lie in steps/NAME-weights)."""
    kept = job.step(recipe.name, lambda: Training(job, recipe, views, starts, mirror).train())
    return Trained(
        Strategy.from_json(kept["strategy"]),
        {name: kept["validation"][name].numpy() for name in views},
        [(epoch, matrix) for epoch, matrix in kept["cosines"]],
        kept["trained"],
        kept["notes"],
    )
