"""How the shared model is judged while it trains: all tasks at once, by the rule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from headstart.data.schema import missing
from headstart.models.model import Model
from headstart.store.tensors import load_tree, save_tree
from headstart.train.inference import outputs
from headstart.train.loop import Score, Trainer
from headstart.train.reader import Reader
from headstart.verbs.interpolation import HALF, in_between
from headstart.verbs.job import Job
from headstart.verbs.judging import loss_of_logits
from headstart.verbs.tasks.rule import changes, metric_value, rule_value
from headstart.verbs.tasks.starts import Start
from headstart.verbs.tasks.view import TaskJob, rows_in

Answers = dict[tuple[int, str], dict[str, np.ndarray]]
"""(epoch, "raw", "average" or "half") -> task -> logits."""


class TasksJudge:
    """Scores a model on a part, and keeps every epoch's logits on disk, so that a resumed run has them too.

    The score is the rule's, of the tasks' changes against their own probes; what is shown is that number, too. With the
    weights that training starts from, the logits of those half-way there are kept, too ("half").
    """

    def __init__(
        self,
        job: Job,
        views: Mapping[str, TaskJob],
        starts: Mapping[str, Start],
        reader: Reader,
        part: str,
        label: str,
        start: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self.job, self.views, self.reader, self.part, self.start = job, views, reader, part, start
        self.trainer: Trainer | None = None
        self.folder = job.folder.checkpoints / f"{label}-epochs"
        data = reader.parts[part]
        self.labels = {name: data.labels(name) for name in views}
        self.have = {name: ~missing(labels) for name, labels in self.labels.items()}
        self.baselines = baselines(views, starts)

    def __call__(self, model: Model, phase: int, epoch: int, kind: str) -> Score:
        # Where activations are kept, validation reads them too.
        reader = self.trainer.ctx.reader if self.trainer is not None else self.reader
        logits = outputs(model, reader, self.part, dtype=self.job.dtype).logits
        self.folder.mkdir(parents=True, exist_ok=True)
        self._keep(f"{phase}-{epoch}-{kind}", logits)
        if self.start is not None and kind == "raw":
            with in_between(model, self.start, HALF):
                self._keep(f"{phase}-{epoch}-half", outputs(model, reader, self.part, dtype=self.job.dtype).logits)
        values, loss = {}, 0.0
        for name, view in self.views.items():
            labels, z = self.labels[name][self.have[name]], logits[name][self.have[name]]
            values[name] = metric_value(view, labels, z) if len(labels) else float("nan")
            loss += loss_of_logits(view, labels, z) if len(labels) else 0.0
        deltas = changes({n: v.metric for n, v in self.views.items()}, values, self.baselines)
        value = rule_value(self.job.options.task_rule, deltas)
        return Score(value, loss, value)

    def _keep(self, name: str, logits: Mapping[str, np.ndarray]) -> None:
        save_tree(self.folder / f"{name}.safetensors", {task: torch.from_numpy(z) for task, z in logits.items()})


def baselines(views: Mapping[str, TaskJob], starts: Mapping[str, Start]) -> dict[str, float]:
    """Task -> metric of its own probe on held-out data: out of two folds where data are few, as the shared model's."""
    found = {}
    for name, view in views.items():
        own = starts[name].own
        logits = own.halves if view.few and own.halves is not None else own.validation
        found[name] = metric_value(view, view.labels(view.held_out), logits)
    return found


def fold_answers(job: Job, views: Mapping[str, TaskJob], name: str, phase: int) -> Answers:
    """Out-of-fold logits of every epoch that both folds have: over each task's training samples, NaN if never held."""
    halves = job.halves.numpy()
    held: Answers = {}
    for fold in np.unique(halves[halves >= 0]):
        for path in _files(job.folder.checkpoints / f"{name}-fold{fold}-epochs", phase):
            _, epoch, kind = path.stem.split("-")
            tree = load_tree(path)
            mine = held.setdefault((int(epoch), kind), {})
            for task, view in views.items():
                blank = np.full((len(halves), view.task.outputs), np.nan, dtype=np.float32)
                mine.setdefault(task, blank)[halves == fold] = tree[task].numpy()
    judged = halves >= 0
    whole = {key: all_ for key, all_ in held.items() if not any(np.isnan(z[judged]).any() for z in all_.values())}
    return {key: {t: all_[t][rows_in(job, v, "train")] for t, v in views.items()} for key, all_ in whole.items()}


def _files(folder: Path, phase: int) -> list[Path]:
    return sorted(folder.glob(f"{phase}-*.safetensors"))


def latest_of_the_best(
    job: Job, views: Mapping[str, TaskJob], starts: Mapping[str, Start], answers: Answers
) -> tuple[tuple[int, str], dict[str, np.ndarray]]:
    """The epoch that the rule prefers, the latest among equals, and none of the first half: a schedule that is
    stopped half-way has not settled. Returns it with its logits.
    """
    middle = max(epoch for epoch, _ in answers) / 2
    kinds = ("half", "raw", "average")
    best = max(
        (key for key in answers if key[0] >= middle),
        key=lambda key: (value_of(job, views, starts, answers[key]), key[0], kinds.index(key[1])),
    )
    return best, answers[best]


def value_of(
    job: Job, views: Mapping[str, TaskJob], starts: Mapping[str, Start], logits: Mapping[str, np.ndarray]
) -> float:
    """What the rule says of held-out logits of every task."""
    values = {name: metric_value(v, v.labels(v.held_out), logits[name]) for name, v in views.items()}
    deltas = changes({name: v.metric for name, v in views.items()}, values, baselines(views, starts))
    return rule_value(job.options.task_rule, deltas)
