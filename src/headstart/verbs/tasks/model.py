"""The shared model: one network with a head per task, how its tasks are balanced, and where its weights lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from headstart.core.errors import ConfigError
from headstart.models.model import Model
from headstart.multitask import make_architecture, make_balancer
from headstart.multitask.balancing import Balancer
from headstart.store.tensors import load_tree
from headstart.verbs.candidates import make_head, probe_without
from headstart.verbs.job import Job
from headstart.verbs.tasks.starts import Start
from headstart.verbs.tasks.view import TaskJob

NAME = "shared"


def build_shared(
    job: Job, views: Mapping[str, TaskJob], starts: Mapping[str, Start], head: str, fold: int | None = None
) -> Model:
    """A fresh network that ends at the common place, with a head for each task."""
    first = next(iter(starts.values())).shared
    backbone = job.open(first.size, end_at=first.stage)
    heads = {}
    for name, view in views.items():
        start = starts[name].shared
        if fold is not None and head == "probe":
            # A head must not have seen what it is judged on.
            start = replace(start, probe=probe_without(view, start, fold))
        heads[name] = make_head(view, start, head, fold)
    return make_architecture("hard", backbone, heads, first.grid).to(job.device)


def weights_of(job: Job) -> Path:
    """The file of its trained weights."""
    return job.folder.steps / f"{NAME}-weights.safetensors"


def load_shared(job: Job, views: Mapping[str, TaskJob], starts: Mapping[str, Start], head: str) -> Model:
    """The trained model; `head` as its strategy says."""
    model = build_shared(job, views, starts, head)
    model.load_state_dict(load_tree(weights_of(job)), strict=False)
    return model.eval()


def balancer_of(asked: str, tasks: int) -> Balancer:
    """The balancing method that `--balance` names; `fixed:1,2` says its weights.

    Raises
    ------
    ConfigError
        Unknown, or weights that are no numbers or not one for each task.
    """
    name, _, given = asked.partition(":")
    if not given:
        if name == "fixed":
            raise ConfigError("Fixed weights are not said.", "Say one for each task: --balance fixed:1,2.")
        return make_balancer(name)
    try:
        weights = [float(part) for part in given.split(",")]
    except ValueError:
        raise ConfigError(f"{asked!r}: weights are numbers.", "Such as --balance fixed:1,2.") from None
    if name != "fixed" or len(weights) != tasks:
        raise ConfigError(f"{asked!r} does not fit {tasks} tasks.", "Say fixed: and one weight for each task.")
    return make_balancer(name, weights=weights)
