"""A branch for a task that sharing harms: the shared network's first stages as they are, and later ones of its own.

It costs less in use than a model of its own: the first stages are run for all tasks. Where it does as well, only late
sharing had harmed the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from headstart.core.progress import progress
from headstart.measure import Interval
from headstart.models.model import Model
from headstart.multitask import make_architecture
from headstart.multitask.architectures import HARD
from headstart.multitask.architectures.branching import MIDDLE, chosen_cut
from headstart.store.tensors import load_tree
from headstart.verbs.job import Job
from headstart.verbs.start import make_head, probe_without
from headstart.verbs.tasks.model import NAME, prefix_tensors, weights_of
from headstart.verbs.tasks.recipe import Recipe, Trained
from headstart.verbs.tasks.rule import metric_value
from headstart.verbs.tasks.sharing import BRANCH, SHARED, Alone, Verdict, better_by, certainly_worse
from headstart.verbs.tasks.starts import Start
from headstart.verbs.tasks.training import run_training
from headstart.verbs.tasks.view import TaskJob


@dataclass
class Branch:
    """One that was tried for a task.

    Attributes
    ----------
    after
        The last stage that is shared.
    trained
        The branch, on the samples of its task.
    gap
        Its metric minus that of the task alone, in the direction of better, on held-out data.
    """

    after: str
    trained: Trained
    gap: Interval


def place_of(job: Job, starts: Mapping[str, Start]) -> str | None:
    """Where a branch would leave the shared network: near its middle; None where there is no such place.

    Architectures other than hard sharing give tasks something of their own already.
    """
    return middle_of(job, starts) if job.options.architecture == HARD else None


def middle_of(job: Job, starts: Mapping[str, Start]) -> str | None:
    """The stage nearest to the middle of the shared network from which it can be resumed; None where none is."""
    first = next(iter(starts.values())).shared
    backbone = job.open(first.size, end_at=first.stage)
    after = chosen_cut(backbone, MIDDLE) if backbone.cuts else None
    return None if after == list(backbone.stages)[-1] else after


def run_branches(
    job: Job,
    views: Mapping[str, TaskJob],
    starts: Mapping[str, Start],
    shared: Trained,
    alone: Mapping[str, Alone],
    verdicts: Mapping[str, Verdict],
    mirror: Mapping[str, bool],
) -> dict[str, Branch]:
    """Train a branch for every task that would be given a model of its own, and let the verdict say which it is given.

    Returns
    -------
    dict
        Task -> the branch that was tried, taken or not.
    """
    harmed = [name for name, verdict in verdicts.items() if verdict.kept != SHARED]
    after = place_of(job, starts) if harmed and shared.strategy.phases else None
    if after is None:
        return {}
    tried = {}
    for name in harmed:
        view, start = views[name], starts[name]
        progress().say(f"{name}: a branch of its own after {after} is tried.")

        def build(head: str, fold: int | None, view: TaskJob = view, start: Start = start) -> Model:
            return build_branch(job, view, start, after, head, fold)

        recipe = Recipe(step_of(view), f"{name}, its own branch", build, after)
        trained = run_training(view, recipe, {name: view}, {name: start}, mirror[name])
        tried[name] = settle(view, verdicts[name], shared, alone[name], after, trained)
    return tried


def step_of(view: TaskJob) -> str:
    """The name of the step that trains a task's branch."""
    return f"branch-{view.number}"


def build_branch(job: Job, view: TaskJob, start: Start, after: str, head: str, fold: int | None = None) -> Model:
    """The first stages of the shared model, later ones from the network's own weights, and the task's probe as head.

    With a fold, the first stages are those that were trained without it: nothing may have seen what it is judged on.
    """
    place = start.shared
    backbone = job.open(place.size, end_at=place.stage)
    if fold is not None and head == "probe":
        place = replace(place, probe=probe_without(view, place, fold))
    if fold is not None:
        tensors = load_tree(weights_of(job, f"{NAME}-fold{fold}"))
    else:
        kept = load_tree(weights_of(job))
        tensors = {name: kept[f"backbone.{name}"] for name in prefix_tensors(backbone, after)}
    backbone.load_state_dict(tensors, strict=False)
    return Model(backbone, {view.task.name: make_head(view, place, head, fold)}, place.grid).to(job.device)


def settle(view: TaskJob, verdict: Verdict, shared: Trained, alone: Alone, after: str, trained: Trained) -> Branch:
    """Give the task its branch, unless validation is clearly for what it has alone, or the branch is below the shared
    model: then sharing hurts from the start.
    """
    name, labels = view.task.name, view.labels(view.held_out)
    logits = trained.validation[name]
    gap = better_by(view, labels, logits, alone.validation)
    sign = 1 if view.metric.higher_is_better else -1
    own, theirs = (sign * metric_value(view, labels, z) for z in (logits, shared.validation[name]))
    taken = gap.value is not None and not certainly_worse(gap) and bool(own >= theirs)
    said = _compared(view, gap)
    if taken:
        verdict.kept = BRANCH
        verdict.given = f"It is given a branch of its own after {after}: only late sharing had harmed it ({said})."
    else:
        why = "worse than shared" if own < theirs else said
        verdict.given += f" A branch of its own after {after} was tried, too, and falls short ({why})."
    return Branch(after, trained, gap)


def _compared(view: TaskJob, gap: Interval) -> str:
    if gap.value is None or gap.low is None or gap.high is None:
        return "nothing is known of it"
    how = "better" if gap.value >= 0 else "worse"
    return f"{view.metric.name} {abs(gap.value):.3f} {how} than alone, 95% interval {gap.low:+.3f} to {gap.high:+.3f}"


def with_branches(
    job: Job, model: Model, views: Mapping[str, TaskJob], starts: Mapping[str, Start], taken: Mapping[str, Branch]
) -> Model:
    """The shared model with the branches that were taken: what is handed back."""
    if not taken:
        return model
    branches = {name: load_branch(job, views[name], starts[name], branch) for name, branch in taken.items()}
    heads = {task: branches[task].head() if task in branches else model.head(task) for task in model.tasks}
    after = next(iter(taken.values())).after
    made = make_architecture("branching", model.backbone, heads, model.grid, after=after, own=list(taken))
    for name, branch in branches.items():
        # Its first stages are the shared network's, to the bit.
        made.network_of(name).load_state_dict(branch.backbone.state_dict(), strict=False)  # type: ignore[operator]
    return made.eval()


def load_branch(job: Job, view: TaskJob, start: Start, branch: Branch) -> Model:
    """The trained branch as a model of its task alone."""
    model = build_branch(job, view, start, branch.after, branch.trained.strategy.head)
    model.load_state_dict(load_tree(weights_of(job, step_of(view))), strict=False)
    return model.eval()


def held_out(branch: Branch, name: str) -> np.ndarray:
    """(n, K) logits of the task's held-out samples."""
    return branch.trained.validation[name]
