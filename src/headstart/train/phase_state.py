"""Everything of one phase that changes while it runs, and therefore goes into checkpoints."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from headstart.train.averaging import Average, restore, trained_tensors
from headstart.train.batch import Batch, Feed
from headstart.train.cached import CachedReader
from headstart.train.modes import make_optimizer, parameter_groups
from headstart.train.objective import Clock, all_feeds
from headstart.train.reader import Reader
from headstart.train.schedule import make_schedule
from headstart.train.work import Score, Work

if TYPE_CHECKING:
    from headstart.train.loop import Trainer


class PhaseState:
    """Everything of one phase that changes while it runs, and therefore goes into checkpoints."""

    def __init__(self, trainer: Trainer, work: Work, number: int) -> None:
        self.trainer, self.work, self.number = trainer, work, number
        phase, model, ctx = work.phase, trainer.model, trainer.ctx
        self.feeds = all_feeds(work.objectives)
        groups = parameter_groups(model, phase)
        self.optimizer = make_optimizer(groups, trainer.settings.device)
        self.average = Average(model, phase.average) if phase.average is not None else None
        self.reader: Reader = trainer.reader
        # A text read in windows has several rows behind a stage, and no state of its own that could be kept.
        if phase.cut is not None and model.backbone.input_spec.long == "truncate":
            model.eval()
            self.reader = CachedReader(
                trainer.reader, phase.cut, trainer.settings.device, phase.views, trainer.settings.scratch
            )
        ctx.reader, ctx.feeds = self.reader, self.feeds
        if any("teacher" in o.needs for o in work.objectives):
            ctx.teacher = copy.deepcopy(model).eval().requires_grad_(False)
        pacer = next(f for f in self.feeds.values() if f.paces)
        batches = len(self.reader.order(pacer, 0, phase.batch_size))
        self.clock = Clock(0, 0, math.ceil(batches / phase.accumulate), phase.epochs)
        ctx.clock = self.clock
        self.schedule = make_schedule(phase.schedule, phase.warmup, self.clock.steps_per_epoch * phase.epochs)
        self.best: Score | None = None
        self.best_kind = "raw"
        self.best_epoch = -1
        self.best_tensors: dict[str, Tensor] = {}
        self.since_best = 0
        self.improved = False
        self.done = False
        self.losses: list[float] = []
        self.clipped = 0.0
        self.skipped = 0.0

    def batches(self, first: int) -> Iterator[list[dict[str, Batch]]]:
        """Micro-batches of each step of the current epoch, from step `first` on."""
        phase, device = self.work.phase, self.trainer.settings.device
        epoch, skip = self.clock.epoch, first * phase.accumulate
        streams = {
            name: (self.reader.epoch(f, epoch, phase.batch_size, skip) if f.paces else self._endless(f, epoch, skip))
            for name, f in self.feeds.items()
        }
        pacer = next(name for name, f in self.feeds.items() if f.paces)
        micro: list[dict[str, Batch]] = []
        for batch in streams[pacer]:
            others = {name: next(s).to(device) for name, s in streams.items() if name != pacer}
            micro.append({pacer: batch.to(device), **others})
            if len(micro) == phase.accumulate:
                yield micro
                micro = []
        if micro:
            yield micro

    def _endless(self, feed: Feed, epoch: int, skip: int) -> Iterator[Batch]:
        """A feed that does not pace starts again, in another order, whenever it ends within an epoch."""
        size, again = self.work.phase.batch_size, 0
        while True:
            round_ = epoch * 1000 + again
            order = self.reader.order(feed, round_, size)
            if skip >= len(order):
                skip -= len(order)
            else:
                yield from self.reader.epoch(feed, round_, size, skip)
                skip = 0
            again += 1

    def judge(self, kind: str, record: dict[str, Any]) -> None:
        """Validate the weights that the model has now and remember them if they are the best so far."""
        trainer = self.trainer
        assert trainer.validate is not None
        trainer.model.eval()
        with torch.no_grad():
            score = trainer.validate(trainer.model, self.number, self.clock.epoch - 1, kind)
        record["validation_metric" if kind == "raw" else "ema_metric"] = score.metric
        record["validation_loss" if kind == "raw" else "ema_loss"] = score.loss
        if score.better_than(self.best):
            self.best, self.best_kind, self.best_epoch, self.improved = (
                score,
                kind,
                self.clock.epoch - 1,
                True,
            )
            self.best_tensors = {n: t.detach().clone() for n, t in trained_tensors(trainer.model).items()}

    def keep_weights(self) -> None:
        """End the phase with the weights it asks for, and say which they are."""
        phase, model = self.work.phase, self.trainer.model
        kind, epoch = "raw", self.clock.epoch - 1
        if phase.keep == "average" and self.average is not None:
            self.average.copy_to(model)
            kind = "average"
        elif phase.keep == "best" and self.best is not None:
            restore(model, self.best_tensors)
            kind, epoch = self.best_kind, self.best_epoch
        score = {"metric": self.best.metric, "loss": self.best.loss} if self.best else {}
        self.trainer.history.kept.append({"phase": phase.name, "weights": kind, "epoch": epoch, **score})

    def as_tree(self) -> dict[str, Any]:
        return {
            "clock": {"epoch": self.clock.epoch, "step": self.clock.step},
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state() if self.average else None,
            "objectives": [o.state() for o in self.work.objectives],
            "update": self.work.update.state(),
            "teacher": self._teacher_tensors(),
            "carry": self.trainer.ctx.carry,
            "best": [self.best.value, self.best.loss, self.best.metric] if self.best else None,
            "best_kind": self.best_kind,
            "best_epoch": self.best_epoch,
            "best_tensors": self.best_tensors,
            "since_best": self.since_best,
            "done": self.done,
            "losses": self.losses,
            "clipped": self.clipped,
            "skipped": self.skipped,
        }

    def _teacher_tensors(self) -> dict[str, Tensor] | None:
        teacher = self.trainer.ctx.teacher
        return dict(teacher.state_dict()) if teacher is not None else None

    def load(self, tree: dict[str, Any]) -> None:
        device = self.trainer.settings.device
        self.clock.epoch, self.clock.step = tree["clock"]["epoch"], tree["clock"]["step"]
        self.optimizer.load_state_dict(tree["optimizer"])
        # Kernels round differently in another memory layout, and files keep none: each moment gets its parameter's.
        for parameter, moments in self.optimizer.state.items():
            for name, tensor in moments.items():
                if isinstance(tensor, Tensor) and tensor.shape == parameter.shape:
                    moments[name] = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        if self.average is not None:
            self.average.load_state(tree["average"])
        for objective, state in zip(self.work.objectives, tree["objectives"], strict=True):
            objective.load_state(state)
        self.work.update.load_state(tree["update"])
        if tree["teacher"] is not None and self.trainer.ctx.teacher is not None:
            self.trainer.ctx.teacher.load_state_dict(tree["teacher"])
        self.trainer.ctx.carry = {k: v.to(device) for k, v in tree["carry"].items()}
        self.best = Score(*tree["best"]) if tree["best"] else None
        self.best_kind, self.best_epoch = tree["best_kind"], tree["best_epoch"]
        self.best_tensors = {k: v.to(device) for k, v in tree["best_tensors"].items()}
        self.since_best, self.done, self.losses = tree["since_best"], tree["done"], tree["losses"]
        self.clipped, self.skipped = tree["clipped"], tree["skipped"]
