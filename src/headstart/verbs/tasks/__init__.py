"""`fit` of several tasks: one backbone for all, with evidence for each that it is better off with the others.

The steps, each kept in the run folder as it ends:

1. screen every task's stages; agree on one place; solve a probe per task there, and at its own best place;
2. train one network with a head per task from these probes (`--architecture`, `--strategy`, `--balance`,
   `--sampling`); validation chooses by a rule across tasks (`--task-rule`);
3. single-task baselines: each task's probe, and a fine-tuned model of its own where sharing is in doubt, or always
   (`--baselines full`);
4. per task: is it better off shared? One that is not is given a branch of its own, or else its own model;
5. read the test part, once; write the bundle and the report.

What is there for one task only is refused (`check`): choosing among networks, several seeds, a budget, `--guard full`,
`--curve full`, blending with a linear model without a network, `--lr find` and `--reinit`.
"""

from __future__ import annotations

import time

from headstart.core.progress import progress
from headstart.verbs.job import Job
from headstart.verbs.run import Run
from headstart.verbs.tasks.branch import run_branches
from headstart.verbs.tasks.check import check_tasks
from headstart.verbs.tasks.finish import TasksResult, finish
from headstart.verbs.tasks.shared import run_shared
from headstart.verbs.tasks.sharing import judge_sharing, run_alone
from headstart.verbs.tasks.starts import mirrors, run_starts
from headstart.verbs.tasks.tradeoff import run_tradeoff
from headstart.verbs.tasks.view import task_jobs

__all__ = ["fit_tasks"]


def fit_tasks(job: Job, asked: str) -> Run:
    """Fit all tasks of a job; called by `fit` and `resume`, whose errors it has.

    Parameters
    ----------
    job
        Opened with `several`.
    asked
        What was said to `--model`.
    """
    start = time.monotonic()
    views = task_jobs(job)
    check_tasks(job, views, asked)
    reasons: list[str] = []
    starts = run_starts(job, views, reasons)
    mirror = mirrors(views, starts, reasons)
    shared = run_shared(job, views, starts, all(mirror.values()))
    reasons += shared.notes
    alone = run_alone(job, views, starts, shared, mirror, reasons)
    verdicts = judge_sharing(views, shared, alone, job.options.guard != "off")
    branches = run_branches(job, views, starts, shared, alone, verdicts, mirror)
    for verdict in verdicts.values():
        progress().say(f"- {verdict.text}")
    for branch in branches.values():
        reasons += branch.trained.notes
    tradeoff = run_tradeoff(job, views, starts, shared)
    finish(job, TasksResult(views, starts, shared, alone, verdicts, branches, tradeoff, reasons), start)
    return Run(job.folder.path)
