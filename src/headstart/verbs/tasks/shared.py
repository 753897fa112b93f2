"""The shared model: one network for all tasks (`--architecture`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from headstart.verbs.job import Job
from headstart.verbs.tasks.branch import place_of
from headstart.verbs.tasks.model import NAME, build_shared
from headstart.verbs.tasks.recipe import Recipe, Trained
from headstart.verbs.tasks.starts import Start
from headstart.verbs.tasks.training import run_training
from headstart.verbs.tasks.view import TaskJob


def run_shared(job: Job, views: Mapping[str, TaskJob], starts: Mapping[str, Start], mirror: bool) -> Trained:
    """Train it (a durable step; its weights lie in steps/shared-weights)."""
    # A task that sharing harms may be given a branch: out of folds, it grows from the fold's own trunk.
    keep = place_of(job, starts) if job.options.guard != "off" else None
    recipe = Recipe(NAME, "all tasks", partial(build_shared, job, views, starts), keep=keep)
    return run_training(job, recipe, views, starts, mirror)
