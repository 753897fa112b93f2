"""The loop: phases, epochs, steps, validation, averaging, checkpoints. Every method trains here."""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor

from headstart.core.errors import HeadstartError
from headstart.core.progress import progress
from headstart.core.seeding import derive
from headstart.models.model import Model
from headstart.store.tensors import load_tree, save_tree
from headstart.train.averaging import Average, restore, trained_tensors
from headstart.train.batch import Batch, Feed, Terms
from headstart.train.modes import make_optimizer, parameter_groups, set_train_mode
from headstart.train.objective import Clock, Context, Objective, all_feeds, joint_losses
from headstart.train.phase import Phase
from headstart.train.precision import autocast, norms_in_float32
from headstart.train.reader import CachedReader, Reader
from headstart.train.schedule import make_schedule
from headstart.train.update import OneBackward, Step, Update


@dataclass(frozen=True)
class Score:
    """A validation: `value` decides (higher is better), `loss` breaks ties, `metric` is what is shown."""

    value: float
    loss: float
    metric: float

    def better_than(self, other: Score | None) -> bool:
        return other is None or (self.value, -self.loss) > (other.value, -other.loss)


Validate = Callable[[Model, int, int, str], Score]
"""(model, number of the phase, epoch, "raw" or "average") -> score."""


class Log(Protocol):
    """Where training reports its steps and epochs. `position` and `rewind` let a resumed run overwrite its tail.

    Several trainings may share one log: `mine` is what the records of this one have in common.
    """

    def write(self, record: dict[str, Any]) -> None: ...

    def position(self, mine: Mapping[str, Any] = MappingProxyType({})) -> int: ...

    def rewind(self, position: int, mine: Mapping[str, Any] = MappingProxyType({})) -> None: ...


class MemoryLog:
    """Keeps records in a list, of one training."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def write(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def position(self, mine: Mapping[str, Any] = MappingProxyType({})) -> int:
        return len(self.records)

    def rewind(self, position: int, mine: Mapping[str, Any] = MappingProxyType({})) -> None:
        del self.records[position:]


@dataclass
class Work:
    """A phase with what it minimises and how."""

    phase: Phase
    objectives: Sequence[Objective]
    update: Update = field(default_factory=OneBackward)


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know besides its work.

    Attributes
    ----------
    seed
        Every random number of training is a function of it.
    checkpoint
        File to write checkpoints to; None writes none. If it exists, training continues from it.
    every
        Seconds between checkpoints within an epoch (one is also written after each epoch).
    name
        Shown with the progress and written into the log.
    """

    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    checkpoint: Path | None = None
    every: float = 60.0
    name: str = "training"
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class History:
    """What training did: one record per epoch, and which weights each phase kept."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """Runs phases over a model.

    Parameters
    ----------
    model
        Trained in place.
    reader
        Makes the batches.
    works
        Phases with their objectives and updates, in order.
    settings
        Seed, device, checkpoints.
    validate
        Scores the model after every epoch; None keeps the last weights.
    log
        Receives a record per step and per epoch.
    """

    def __init__(
        self,
        model: Model,
        reader: Reader,
        works: Sequence[Work],
        settings: Settings,
        validate: Validate | None = None,
        log: Log | None = None,
    ) -> None:
        self.model = model.to(settings.device)
        self.reader = reader
        self.works = list(works)
        self.settings = settings
        self.validate = validate
        self.log = log if log is not None else MemoryLog()
        self.history = History()
        self.ctx = Context(model, reader, settings.seed, settings.device)
        self._start = time.monotonic()
        self._last_checkpoint = time.monotonic()
        self._interrupted = threading.Event()
        self._warned = False

    # -- the whole ----------------------------------------------------------------------------------------------

    def run(self) -> History:
        """Train through all phases, continuing from the checkpoint if there is one."""
        for objective in {id(o): o for w in self.works for o in w.objectives}.values():
            parts = objective.build(self.ctx)
            for name, part in parts.items():
                self.model.parts[name] = part.to(self.settings.device)
        saved = self._load()
        first = saved["work"] if saved else 0
        if saved:
            restore(self.model, {k: v.to(self.settings.device) for k, v in saved["model"].items()})
            self.history = History(saved["history"]["epochs"], saved["history"]["kept"])
        self.log.rewind(saved["log"] if saved else 0, self.settings.labels)
        with self._watching_for_interrupts():
            for number in range(first, len(self.works)):
                self._run_phase(number, saved if saved and number == first else None)
        return self.history

    def _run_phase(self, number: int, saved: dict[str, Any] | None) -> None:
        work = self.works[number]
        phase = work.phase
        state = _PhaseState(self, work, number)
        if saved:
            state.load(saved)
        else:
            self.model.eval()
            with torch.no_grad():
                for objective in work.objectives:
                    objective.prepare(self.ctx)
        total = state.clock.steps_per_epoch * min(phase.epochs, phase.stop_after or phase.epochs)
        with progress().task(f"{self.settings.name} {phase.name}".strip(), total) as advance:
            advance(state.clock.step)
            while state.clock.epoch < min(phase.epochs, phase.stop_after or phase.epochs) and not state.done:
                self._run_epoch(state, advance)
        state.keep_weights()

    # -- an epoch -----------------------------------------------------------------------------------------------

    def _run_epoch(self, state: _PhaseState, advance: Callable[..., None]) -> None:
        work, clock = state.work, state.clock
        in_epoch = clock.step - clock.epoch * clock.steps_per_epoch
        if in_epoch == 0:
            self.ctx.carry = {}
            self.model.eval()
            torch.manual_seed(derive(self.settings.seed, "epoch", state.number, clock.epoch))
            with torch.no_grad():
                for objective in work.objectives:
                    objective.epoch(self.ctx)
            state.losses = []
        for micro in state.batches(first=in_epoch):
            logs = self._step(state, micro)
            for objective in work.objectives:
                objective.after_step(self.ctx, logs)
            state.losses.append(logs["loss"])
            self._log_step(state, logs)
            advance(1, f"loss {logs['loss']:.3f}")
            if clock.step < (clock.epoch + 1) * clock.steps_per_epoch:
                if self._interrupted.is_set() or time.monotonic() - self._last_checkpoint > self.settings.every:
                    self._save(state)
                self._stop_if_interrupted()
        clock.epoch += 1
        self._end_epoch(state)
        self._save(state)
        self._stop_if_interrupted()

    def _step(self, state: _PhaseState, micro: list[dict[str, Batch]]) -> dict[str, float]:
        work, clock, settings = state.work, state.clock, self.settings
        factor = state.schedule(clock.progress)
        for group in state.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        set_train_mode(self.model, work.phase)
        # Dropout and mixing are functions of (seed, step), so that a resumed run draws the same.
        torch.manual_seed(derive(settings.seed, "step", state.number, clock.step))
        pacer = next(name for name, feed in state.feeds.items() if feed.paces)
        sizes = [len(batches[pacer]) for batches in micro]

        def terms(i: int, only: frozenset[str] | None) -> Terms:
            batches = {name: self._carried(state.feeds[name], batch) for name, batch in micro[i].items()}
            with autocast(settings.dtype, settings.device):
                return joint_losses(work.objectives, self.model, batches, self.ctx, only)

        step = Step(self.model, terms, [s / sum(sizes) for s in sizes], state.optimizer, work.phase.clip)
        with norms_in_float32(self.model, settings.dtype, settings.device):
            logs = work.update(step)
        names = [n for n in logs if n not in ("gradient_norm", "clipped", "skipped") and not n.startswith("weight.")]
        logs["loss"] = math.fsum(logs[n] for n in names)
        if state.average is not None:
            state.average.update(self.model)
        clock.step += 1
        return logs

    def _carried(self, feed: Feed, batch: Batch) -> Batch:
        if feed.order != "stream" or not self.ctx.carry:
            return batch
        views = {}
        for view, s in batch.views.items():
            rows = len(batch)
            views[view] = {**s, **{k: v for k, v in self.ctx.carry.items() if v.shape[0] == rows}}
        return replace(batch, views=views)

    def _log_step(self, state: _PhaseState, logs: dict[str, float]) -> None:
        clock, phase = state.clock, state.work.phase
        state.clipped += logs.get("clipped", 0.0)
        state.skipped += logs.get("skipped", 0.0)
        self.log.write(
            {
                "kind": "step",
                **self.settings.labels,
                "phase": phase.name,
                "step": clock.step - 1,
                "epoch": clock.epoch,
                "loss": logs["loss"],
                "terms": {n: v for n, v in logs.items() if n not in ("loss", "gradient_norm", "clipped", "skipped")},
                "rates": {g["name"]: g["lr"] for g in state.optimizer.param_groups},
                "gradient_norm": logs.get("gradient_norm"),
                "seconds": round(time.monotonic() - self._start, 3),
            }
        )

    def _end_epoch(self, state: _PhaseState) -> None:
        clock, phase = state.clock, state.work.phase
        losses = state.losses
        record: dict[str, Any] = {
            "kind": "epoch",
            **self.settings.labels,
            "phase": phase.name,
            "epoch": clock.epoch - 1,
            "train_loss": math.fsum(losses) / max(1, len(losses)),
        }
        if not math.isfinite(record["train_loss"]) and state.skipped >= clock.steps_per_epoch:
            raise HeadstartError(
                f"Training diverged in epoch {clock.epoch} of {self.settings.name}: no gradient was finite.",
                "Lower the learning rate (--lr), or train in float32 (--precision float32).",
            )
        if state.clipped > 0.95 * clock.step and clock.step >= 20 and not self._warned:
            self._warned = True
            # The halves of a cross-validated training would only say it thrice.
            if self.settings.labels.get("fold") is None:
                progress().say(f"Note: gradients exceed --clip {phase.clip:g} at nearly every step.")
            record["note"] = "clipped at nearly every step"
        if state.skipped:
            record["skipped_steps"] = state.skipped
        last = clock.epoch >= min(phase.epochs, phase.stop_after or phase.epochs)
        if self.validate is not None and (clock.epoch % phase.validate_every == 0 or last):
            state.judge("raw", record)
            if state.average is not None:
                with state.average.swapped_in(self.model):
                    state.judge("average", record)
            state.since_best = 0 if state.improved else state.since_best + phase.validate_every
            state.improved = False
            if phase.patience is not None and state.since_best >= phase.patience:
                state.done = True
                record["stopped"] = f"no better validation for {phase.patience} epochs"
        record["seconds"] = round(time.monotonic() - self._start, 3)
        self.history.epochs.append(record)
        self.log.write(record)

    # -- checkpoints --------------------------------------------------------------------------------------------

    def _save(self, state: _PhaseState) -> None:
        if self.settings.checkpoint is None:
            return
        tree = {
            "work": state.number,
            "model": self._all_tensors(),
            "history": {"epochs": self.history.epochs, "kept": self.history.kept},
            "log": self.log.position(self.settings.labels),
            **state.as_tree(),
        }
        save_tree(self.settings.checkpoint, tree)
        self._last_checkpoint = time.monotonic()

    def _load(self) -> dict[str, Any] | None:
        path = self.settings.checkpoint
        return load_tree(path) if path is not None and path.exists() else None

    def _all_tensors(self) -> dict[str, Tensor]:
        named = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        return {n: t for n, t in named.items() if not n.startswith("backbone.source_head.")}

    # -- interruption -------------------------------------------------------------------------------------------

    @contextmanager
    def _watching_for_interrupts(self) -> Iterator[None]:
        """Ctrl-C lets the step end and the checkpoint be written; a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def handle(number: int, frame: object) -> None:
            if self._interrupted.is_set():
                raise KeyboardInterrupt
            self._interrupted.set()
            progress().say("Stopping after this step (again Ctrl-C: at once) ...")

        signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _stop_if_interrupted(self) -> None:
        if self._interrupted.is_set():
            raise KeyboardInterrupt


class _PhaseState:
    """Everything of one phase that changes while it runs, and therefore goes into checkpoints."""

    def __init__(self, trainer: Trainer, work: Work, number: int) -> None:
        self.trainer, self.work, self.number = trainer, work, number
        phase, model, ctx = work.phase, trainer.model, trainer.ctx
        self.feeds = all_feeds(work.objectives)
        groups = parameter_groups(model, phase)
        self.optimizer = make_optimizer(groups, trainer.settings.device)
        self.average = Average(model, phase.average) if phase.average is not None else None
        self.schedule = make_schedule(phase.schedule, phase.warmup)
        self.reader: Reader = trainer.reader
        if phase.cut is not None:
            model.eval()
            self.reader = CachedReader(trainer.reader, phase.cut, trainer.settings.device)
        ctx.reader, ctx.feeds = self.reader, self.feeds
        if any("teacher" in o.needs for o in work.objectives):
            ctx.teacher = copy.deepcopy(model).eval().requires_grad_(False)
        pacer = next(f for f in self.feeds.values() if f.paces)
        batches = len(self.reader.order(pacer, 0, phase.batch_size))
        self.clock = Clock(0, 0, math.ceil(batches / phase.accumulate), phase.epochs)
        ctx.clock = self.clock
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
