"""A picture of the trade-off: what each task reaches when the tasks are weighed otherwise (`--tradeoff`).

Short trainings of hard sharing from the probes, at a few fixed weights, and of every task alone: on one set of kept
activations behind the network's first half, which stays as it is; so many samples and epochs that they cost little. All
have the same budget and none is chosen by: held-out data only measure them. Which tasks compete can be seen from this;
what the shared model itself reaches cannot.

Weighing by hand as the baseline of all balancing: D. Xin et al. 2022, arXiv 2209.11379.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from headstart.core.errors import ConfigError
from headstart.core.progress import progress
from headstart.core.words import counted
from headstart.finetune.supervised import Supervised
from headstart.models.model import Model
from headstart.multitask import Balanced, make_balancer
from headstart.multitask.architectures import HARD
from headstart.train.cached import CachedReader
from headstart.train.inference import outputs
from headstart.train.loop import Settings, Trainer, Work
from headstart.train.phase import Phase
from headstart.train.reader import Reader
from headstart.train.update import OneBackward
from headstart.verbs.candidates import loss_of
from headstart.verbs.job import Job
from headstart.verbs.tasks.branch import middle_of
from headstart.verbs.tasks.model import build_shared
from headstart.verbs.tasks.recipe import Trained
from headstart.verbs.tasks.rule import metric_value
from headstart.verbs.tasks.starts import Start
from headstart.verbs.tasks.view import TaskJob

MOST_TASKS = 3

SHARES = {
    2: ((0.05, 0.95), (0.25, 0.75), (0.5, 0.5), (0.75, 0.25), (0.95, 0.05)),
    3: (
        (1 / 3, 1 / 3, 1 / 3),
        *((0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8)),
        *((0.45, 0.45, 0.1), (0.45, 0.1, 0.45), (0.1, 0.45, 0.45)),
    ),
}
"""Number of tasks -> shares of the weights that are tried."""

MOST_SAMPLES = 2000
"""Samples of a part, at most."""

EPOCHS_SHARE, LEAST_EPOCHS = 0.25, 2
"""Of the shared model's epochs."""


def check_tradeoff(job: Job, tasks: Sequence[str]) -> None:
    """Refuse a picture that cannot be drawn.

    Raises
    ------
    ConfigError
        For more tasks than three, or a strategy that trains nothing.
    """
    if not job.options.tradeoff:
        return
    if len(tasks) > MOST_TASKS:
        raise ConfigError(
            f"The trade-off is drawn for two or three tasks; these are {len(tasks)}.", "Leave --tradeoff out."
        )
    if job.options.strategy == "probe":
        raise ConfigError(
            "With the strategy 'probe' tasks share nothing that is trained: there is no trade-off.",
            "Leave --tradeoff out, or use another strategy.",
        )


def run_tradeoff(
    job: Job, views: Mapping[str, TaskJob], starts: Mapping[str, Start], shared: Trained
) -> dict[str, Any] | None:
    """The content of report.json's `tradeoff` (a durable step); None where it was not asked for."""
    if not job.options.tradeoff:
        return None
    return job.step("tradeoff", lambda: _Picture(job, views, starts, shared).draw())


class _Picture:
    """The trainings behind one."""

    def __init__(self, job: Job, views: Mapping[str, TaskJob], starts: Mapping[str, Start], shared: Trained) -> None:
        # Kept activations are float32, and formats would have to be measured for every training.
        options = job.options.model_copy(update={"architecture": HARD})
        self.job, self.views, self.starts = replace(job, options=options), views, starts
        self.after = middle_of(job, starts)
        last = shared.strategy.phases[-1]
        epochs = max(LEAST_EPOCHS, round(EPOCHS_SHARE * last.epochs))
        self.phase = replace(
            last, rates=self._rates(last), epochs=epochs, stop_after=None, keep="last", average=None, patience=None,
            validate_every=None, cut=None, views=1,
        )  # fmt: skip
        self.folds = [(fold, *self._parts(fold)) for fold in ([None] if not job.few else [0, 1])]

    def draw(self) -> dict[str, Any]:
        names = list(self.views)
        shares = SHARES[len(names)]
        progress().say(f"The trade-off: {counted(len(shares) + len(names), 'short training')}")
        points = []
        for share in shares:
            values = self._values(self.views, [len(names) * s for s in share])
            points.append({"weights": dict(zip(names, share, strict=True)), "values": values})
        alone = {name: self._values({name: self.views[name]}, [1.0])[name] for name in names}
        return {
            "part": "validation",
            "after": self.after,
            "epochs": self.phase.epochs,
            "samples": sum(len(reader.parts["train"]) for _, reader, _ in self.folds) // len(self.folds),
            "held": sum(len(held) for _, _, held in self.folds),
            "points": points,
            "alone": alone,
        }

    def _rates(self, last: Phase) -> dict[str, float]:
        """Of the stages behind the kept ones, and of the heads; those of an architecture that freezes the network
        are its own parts' and tell nothing of stages.
        """
        first = next(iter(self.starts.values())).shared
        stages = list(self.job.open(first.size, end_at=first.stage).stages)
        later = stages[stages.index(self.after) + 1 :] if self.after is not None else stages
        head = last.rates.get("head", 0.0)
        given = {name: rate for name, rate in last.rates.items() if name in later}
        return {**(given or dict.fromkeys(later, head)), "head": head}

    def _parts(self, fold: int | None) -> tuple[Reader, np.ndarray]:
        """A reader of "train" and "held", and the positions of "held" in the part that it is taken from."""
        job = self.job
        first = next(iter(self.starts.values())).shared
        halves, order = job.halves.numpy(), np.random.default_rng(job.options.seed)

        def some(where: np.ndarray) -> np.ndarray:
            return np.sort(order.permutation(where)[:MOST_SAMPLES])

        train, held_part = job.parts["train"], job.parts["train" if job.few else "validation"]
        fit = some(np.arange(len(train)) if fold is None else np.flatnonzero(halves != fold))
        held = some(np.arange(len(held_part)) if fold is None else np.flatnonzero(halves == fold))
        backbone = job.open(first.size, end_at=first.stage).eval()
        reader = job.reader(backbone, {"train": train.subset(fit), "held": held_part.subset(held)})
        if self.after is None:
            return reader, held
        return CachedReader(reader, self.after, job.device, scratch=job.folder.checkpoints / "activations"), held

    def _values(self, views: Mapping[str, TaskJob], weights: Sequence[float]) -> dict[str, float | None]:
        """Task -> metric on held-out samples, of a training with these weights."""
        logits = {name: self._blank(view) for name, view in views.items()}
        for fold, reader, held in self.folds:
            found = outputs(self._trained(views, weights, fold, reader), reader, "held").logits
            for name in views:
                logits[name][held] = found[name]
        values = {}
        for name, view in views.items():
            z = logits[name][view.rows[view.held_out]]
            value = metric_value(view, view.labels(view.held_out), z) if np.isfinite(z).all(axis=1).any() else np.nan
            values[name] = float(value) if np.isfinite(value) else None
        return values

    def _blank(self, view: TaskJob) -> np.ndarray:
        return np.full((len(self.job.parts[view.held_out]), view.task.outputs), np.nan, dtype=np.float32)

    def _trained(
        self, views: Mapping[str, TaskJob], weights: Sequence[float], fold: int | None, reader: Reader
    ) -> Model:
        job = self.job
        model = build_shared(job, views, {name: self.starts[name] for name in views}, "probe", fold)
        rules = {"proportion": None, "equal": float("inf")}
        asked = job.options.sampling
        objective = Supervised(
            tuple(view.task for view in views.values()),
            replace(loss_of([*views.values()], self.phase), mixup=0.0, cutmix=0.0),
            "plain",
            "length" if model.backbone.by_length else "shuffle",
            rules[asked] if isinstance(asked, str) else asked,
        )
        update = Balanced(make_balancer("fixed", weights=weights)) if len(views) > 1 else OneBackward()
        settings = Settings(seed=job.options.seed, device=job.device, dtype=torch.float32, name=_title(views, weights))
        Trainer(model, reader, [Work(self.phase, [objective], update)], settings).run()
        return model.eval()


def _title(views: Mapping[str, TaskJob], weights: Sequence[float]) -> str:
    if len(views) == 1:
        return f"{next(iter(views))} alone"
    return "weights " + ", ".join(f"{w / len(weights):.2g}" for w in weights)
