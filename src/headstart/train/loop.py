"""The loop: phases, epochs, steps, validation, averaging, checkpoints. Every method trains here."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from headstart.core.allocator import freed_memory_kept
from headstart.core.errors import HeadstartError
from headstart.core.progress import progress
from headstart.core.seeding import derive
from headstart.models.model import Model
from headstart.store.tensors import load_tree, save_tree
from headstart.train.attention import attention_in_parts
from headstart.train.averaging import restore
from headstart.train.batch import Batch, Feed, Terms
from headstart.train.folding import folded_norms
from headstart.train.modes import set_train_mode
from headstart.train.objective import Context, joint_losses
from headstart.train.phase import Phase
from headstart.train.phase_state import PhaseState
from headstart.train.precision import autocast, norms_in_float32
from headstart.train.reader import Reader
from headstart.train.update import Step
from headstart.train.work import History, Log, MemoryLog, Score, Settings, Validate, Work

__all__ = ["History", "Log", "MemoryLog", "Score", "Settings", "Trainer", "Validate", "Work"]

WRITING_SHARE = 0.05
"""Of the time that writing checkpoints may take."""


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
        self._write_seconds = 0.0
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
        with self._watching_for_interrupts(), freed_memory_kept():
            for number in range(first, len(self.works)):
                self._run_phase(number, saved if saved and number == first else None)
        return self.history

    def _run_phase(self, number: int, saved: dict[str, Any] | None) -> None:
        work = self.works[number]
        phase = work.phase
        state = PhaseState(self, work, number)
        if saved:
            state.load(saved)
        else:
            self.model.eval()
            with torch.no_grad():
                for objective in work.objectives:
                    objective.prepare(self.ctx)
        total = state.clock.steps_per_epoch * min(phase.epochs, phase.stop_after or phase.epochs)
        name = f"{self.settings.name} {phase.name}".strip()
        with self._folded(phase), progress().task(name, total) as advance:
            advance(state.clock.step)
            while state.clock.epoch < min(phase.epochs, phase.stop_after or phase.epochs) and not state.done:
                self._run_epoch(state, advance)
        state.keep_weights()

    def _folded(self, phase: Phase) -> AbstractContextManager[object]:
        whole = self.settings.dtype == torch.float32 and phase.bn == "freeze"
        return folded_norms(self.model.backbone) if whole else nullcontext()

    # -- an epoch -----------------------------------------------------------------------------------------------

    def _run_epoch(self, state: PhaseState, advance: Callable[..., None]) -> None:
        work, clock = state.work, state.clock
        in_epoch = clock.step - clock.epoch * clock.steps_per_epoch
        assert 0 <= in_epoch < clock.steps_per_epoch, "an epoch had another number of steps than the first"
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
        over = state.done or clock.epoch >= min(work.phase.epochs, work.phase.stop_after or work.phase.epochs)
        # Where epochs are short and the network is large, writing after each would take longer than training.
        rest = min(self.settings.every, self._write_seconds / WRITING_SHARE)
        if over or self._interrupted.is_set() or time.monotonic() - self._last_checkpoint >= rest:
            self._save(state)
        self._stop_if_interrupted()

    def _step(self, state: PhaseState, micro: list[dict[str, Batch]]) -> dict[str, float]:
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
            with autocast(settings.dtype, settings.device), attention_in_parts(self.model.backbone, settings.device):
                return joint_losses(work.objectives, self.model, batches, self.ctx, only)

        step = Step(self.model, terms, [s / sum(sizes) for s in sizes], state.optimizer, work.phase.clip, clock)
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

    def _log_step(self, state: PhaseState, logs: dict[str, float]) -> None:
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

    def _end_epoch(self, state: PhaseState) -> None:
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
        every = phase.validate_every
        if self.validate is not None and every is not None and (clock.epoch % every == 0 or last):
            state.judge("raw", record)
            if state.average is not None:
                with state.average.swapped_in(self.model):
                    state.judge("average", record)
            state.since_best = 0 if state.improved else state.since_best + every
            state.improved = False
            if phase.patience is not None and state.since_best >= phase.patience:
                state.done = True
                record["stopped"] = f"no better validation for {phase.patience} epochs"
        record["seconds"] = round(time.monotonic() - self._start, 3)
        self.history.epochs.append(record)
        self.log.write(record)

    # -- checkpoints --------------------------------------------------------------------------------------------

    def _save(self, state: PhaseState) -> None:
        if self.settings.checkpoint is None:
            return
        tree = {
            "work": state.number,
            "model": self._all_tensors(),
            "history": {"epochs": self.history.epochs, "kept": self.history.kept},
            "log": self.log.position(self.settings.labels),
            **state.as_tree(),
        }
        start = time.monotonic()
        save_tree(self.settings.checkpoint, tree)
        self._last_checkpoint = time.monotonic()
        self._write_seconds = self._last_checkpoint - start

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
