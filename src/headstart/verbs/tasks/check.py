"""What must hold before several tasks are fitted, and what is not there for them yet."""

from __future__ import annotations

from collections.abc import Mapping

from headstart.core.errors import ConfigError
from headstart.core.registry import get
from headstart.multitask.architectures import HARD
from headstart.verbs.job import Job
from headstart.verbs.model_choice import several
from headstart.verbs.options import FitOptions
from headstart.verbs.tasks.model import check_architecture
from headstart.verbs.tasks.rule import check_rule
from headstart.verbs.tasks.tradeoff import check_tradeoff
from headstart.verbs.tasks.view import TaskJob


def check_tasks(job: Job, views: Mapping[str, TaskJob], asked: str) -> None:
    """Refuse what does not fit, before anything is measured.

    Parameters
    ----------
    asked
        What was said to `--model`.

    Raises
    ------
    ConfigError
        With what may be said instead.
    """
    check_absent(job.options, asked)
    check_rule(job.options.task_rule, views)
    check_architecture(job, list(views))
    check_tradeoff(job, list(views))


def check_one(options: FitOptions) -> None:
    """Refuse what one task alone cannot have.

    Raises
    ------
    ConfigError
        For an architecture that shares a network, or a trade-off.
    """
    for there, name in ((options.architecture != HARD, "--architecture"), (options.tradeoff, "--tradeoff")):
        if there:
            raise ConfigError(
                f"{name} is for several tasks; these data have one.",
                "Name their columns with --labels, or leave it out.",
            )


def check_absent(options: FitOptions, asked: str = "") -> None:
    """Refuse options that are there for one task only: passed over in silence they would be taken for done.

    Raises
    ------
    ConfigError
        For the first of them.
    """
    strategy = "lp-ft" if options.strategy == "auto" else options.strategy
    alone = "Leave it out, or fit the tasks one by one with --label."
    absent = (
        (asked == "auto" or several(asked), "Networks are not compared for several tasks.", "Name one with --model."),
        (
            "text" in get("strategy", strategy).needs,
            f"The strategy {options.strategy!r} is for one task.",
            "Use lp-ft, full or probe.",
        ),
        (options.seeds > 1, "Several tasks are fitted with one seed; --seeds is for one task.", alone),
        (options.lr == "find", "--lr find is for one task.", "Give a rate, or leave it to auto."),
        (bool(options.reinit), "--reinit is for one task.", alone),
        (options.budget is not None, "--budget is for one task.", "Say --epochs; --dry-run estimates the time."),
        (options.guard == "full", "--guard full is for one task.", "Use --guard quick; see also --baselines full."),
        (options.curve == "full", "--curve full is for one task.", alone),
        (options.blend is True, "--blend is for one task.", alone),
    )
    for there, what, hint in absent:
        if there:
            raise ConfigError(what, hint)
