"""The shared model: one network with a head per task, how its tasks are balanced, and where its weights lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from headstart.core.errors import ConfigError
from headstart.core.seeding import derive
from headstart.models.backbone import Backbone
from headstart.models.model import Head, Model
from headstart.multitask import Balanced, make_architecture, make_balancer, read_architecture
from headstart.multitask.architectures import HARD, Architecture
from headstart.multitask.balancing import Balancer
from headstart.multitask.update import Where
from headstart.store.tensors import load_tree
from headstart.train.phase import Phase, Strategy
from headstart.verbs.job import Job
from headstart.verbs.start import make_head, probe_without
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
    name, options = read_architecture(job.options.architecture)
    # What an architecture draws is drawn again for the start that weights are averaged with.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(job.options.seed, "architecture"))
        return make_architecture(name, backbone, heads, first.grid, **options).to(job.device)


def check_architecture(job: Job, tasks: Sequence[str]) -> None:
    """Refuse an architecture that does not fit the network, the strategy or the balancing, before anything is trained.

    Raises
    ------
    ConfigError
        Which of them.
    """
    asked = job.options.architecture
    name, options = read_architecture(asked)
    balancer = balancer_of(job.options.balance, len(tasks))
    if name == HARD:
        return
    if job.options.strategy == "probe":
        raise ConfigError(
            f"The architecture {name!r} shares what is trained, and the strategy 'probe' trains nothing.",
            "Use another strategy, or --architecture hard.",
        )
    model = make_architecture(name, job.open(None), {task: Head(1, 1) for task in tasks}, **options)
    if balancer.needs == "gramian" and meeting_of(model) is None:
        raise ConfigError(
            f"With the architecture {asked!r} no task moves what another reads: there are no gradients to balance.",
            f"{job.options.balance!r} weighs gradients; use equal, or another architecture.",
        )


def meeting_of(model: Model) -> Where | None:
    """Where the gradients of the model's tasks meet."""
    return model.meeting if isinstance(model, Architecture) else "features"


def update_of(job: Job, model: Model, watch: int) -> Balanced:
    """The update that balances the model's tasks as `--balance` says."""
    return Balanced(balancer_of(job.options.balance, len(model.tasks)), meeting_of(model) or "features", watch)


def with_sharing(strategy: Strategy, model: Model) -> Strategy:
    """The strategy with rates for what the model's architecture adds; without those of stages that it freezes.

    A network that stays frozen is not unfrozen step by step: of several phases the last is left.
    """
    if not isinstance(model, Architecture) or not strategy.phases:
        return strategy
    phases = strategy.phases[-1:] if model.freezes else strategy.phases
    return replace(strategy, phases=tuple(_with_sharing(phase, model) for phase in phases))


def _with_sharing(phase: Phase, model: Architecture) -> Phase:
    stages = {name: rate for name, rate in phase.rates.items() if name in model.backbone.stages}
    rates = {name: rate for name, rate in phase.rates.items() if not (model.freezes and name in stages)}
    if "sharing" in model.parts and stages:
        rates["sharing"] = model.pace * max(stages.values())
    return replace(phase, rates=rates)


def weights_of(job: Job, name: str = NAME) -> Path:
    """The file of a step's trained weights."""
    return job.folder.steps / f"{name}-weights.safetensors"


def prefix_tensors(backbone: Backbone, after: str) -> dict[str, Tensor]:
    """Name -> tensor, as the network's own state has it, of the stages up to `after`."""
    names = list(backbone.stages)
    stages = [backbone.stages[name] for name in names[: names.index(after) + 1]]
    inside = {t.data_ptr() for stage in stages for t in (*stage.parameters(), *stage.buffers())}
    return {name: tensor for name, tensor in backbone.state_dict().items() if tensor.data_ptr() in inside}


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
