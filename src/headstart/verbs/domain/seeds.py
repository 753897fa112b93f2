"""`adapt --seeds K`: the same adaptation with seeds N, N + 1, ..., and what holds over all of them.

Every seed is a run of its own in `RUN/seed-0`, `RUN/seed-1`, ..., on one split. Each picks a method. Of the methods
that were picked, the one that is best on average over the seeds is taken, and of the seeds that picked it the one that
scores best: its files are copied to RUN. One seed's luck that the others do not confirm is not handed back.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headstart.core.progress import progress
from headstart.core.words import counted
from headstart.measure import over_seeds
from headstart.models.backbone import Backbone
from headstart.store.runfolder import RunFolder
from headstart.verbs.adapt import adapt, config_of
from headstart.verbs.domain.options import AdaptOptions
from headstart.verbs.fit import resume
from headstart.verbs.report import report
from headstart.verbs.run import Run
from headstart.verbs.running import interruptible, tidy
from headstart.verbs.seeds import hand_back

ANY = (-math.inf, math.inf)
"""Ends of a validator's score: none that would hold for all of them."""


def adapt_seeds(
    folder: RunFolder,
    there: Collection[Path],
    options: AdaptOptions,
    source: Any,
    target: Any,
    module: Backbone | None,
) -> Run:
    """Start an adaptation over `options.seeds` seeds; called by `adapt`, whose errors it has.

    Parameters
    ----------
    folder, there
        The new folder, and those that were there before it.
    options, source, target, module
        As `adapt` was given them.
    """
    with tidy(folder, there), interruptible(folder):
        folder.write_config(config_of(options, source, target))
        return _run(folder, options, source, target, module)


def resume_seeds(folder: RunFolder, options: AdaptOptions, source: Any, target: Any, module: Backbone | None) -> Run:
    """Go on with one: seeds that have ended are kept, one that has not goes on, the others follow."""
    with folder.locked(), interruptible(folder):
        return _run(folder, options, source, target, module)


def _run(folder: RunFolder, options: AdaptOptions, source: Any, target: Any, module: Backbone | None) -> Run:
    runs: list[Run] = []
    for i in range(options.seeds):
        own = options.model_copy(update={"seed": options.seed + i, "seeds": 1})
        run = RunFolder(folder.path / f"seed-{i}")
        if not run.report.exists():
            progress().say(f"Seed {own.seed} ({i + 1} of {options.seeds})")
        if run.page.exists():
            runs.append(Run(run.path))
        elif run.config.exists():
            runs.append(resume(run.path, model=module))
        else:
            shutil.rmtree(run.path, ignore_errors=True)  # killed before there was anything to go on with
            given = own.model_dump(exclude={"out", "model"})
            runs.append(adapt(source, target, model=module or own.model, out=run.path, **given))
    _finish(folder, options, runs)
    return Run(folder.path)


def _finish(folder: RunFolder, options: AdaptOptions, runs: list[Run]) -> None:
    """Copy the run that is handed back and write the report; as in every run, report.json comes last."""
    reports = [run.data for run in runs]
    over = over_attempts(reports, [run.path.name for run in runs])
    best = next(i for i, row in enumerate(over["runs"]) if row["seed"] == over["best"])
    hand_back(runs[best].path, folder.path)
    kept = reports[best]
    cost = kept["cost"]
    parts = {name: round(sum(r["cost"]["parts"].get(name, 0.0) for r in reports), 2) for name in cost["parts"]}
    seconds = round(sum(r["cost"]["seconds"] for r in reports), 2)
    folder.write_report(
        kept
        | {
            "name": folder.path.name,
            "strategy": kept["strategy"] | {"reasons": [*kept["strategy"]["reasons"], over["text"]]},
            "adaptation": kept["adaptation"] | {"over_seeds": over},
            "cost": cost | {"seconds": seconds, "parts": parts},
            "seeds": [row["seed"] for row in over["runs"]],
            "options": kept["options"] | {"seed": options.seed, "seeds": options.seeds},
        }
    )
    folder.clear_checkpoints()
    report(folder.path)


def over_attempts(reports: list[dict[str, Any]], folders: list[str]) -> dict[str, Any]:
    """What the reports of several seeds say of each method; docs/run-folder.md describes it.

    The oracle's numbers are collected beside what decides, and decide nothing.
    """
    tables = [{row["method"]: row for row in r["adaptation"]["attempts"]} for r in reports]
    by = reports[0]["adaptation"]["validator"]
    ends = None if by == "target labels" else ANY
    attempts = []
    for name, first in tables[0].items():
        rows = [table[name] for table in tables]
        attempts.append(
            {
                "method": name,
                "picked": sum(row["taken"] for row in rows),
                "decided_by": asdict(over_seeds("accuracy", [row["decided_by"] for row in rows], within=ends)),
                "scores": {
                    v: asdict(over_seeds(v, [row["scores"][v] for row in rows], within=ANY)) for v in first["scores"]
                },
                **{key: _accuracy([row[key] for row in rows]) for key in ("oracle", "unseen")},
            }
        )
    mean = {row["method"]: row["decided_by"]["mean"] for row in attempts if row["picked"]}
    method = max(mean, key=lambda name: mean[name])
    runs = []
    for r, table, folder in zip(reports, tables, folders, strict=True):
        taken = next(row for row in table.values() if row["taken"])
        runs.append(
            {
                "seed": r["seeds"][0],
                "run": folder,
                "picked": taken["method"],
                "refused": r["adaptation"]["refused"] is not None,
                "score": taken["decided_by"],
                **{key: None if taken[key] is None else taken[key]["value"] for key in ("oracle", "unseen")},
                "seconds": r["cost"]["seconds"],
            }
        )
    best = max((row for row in runs if row["picked"] == method), key=lambda row: row["score"])
    text = (
        f"{counted(len(runs), 'seed')} were tried on the same data; of the methods that they picked, {method} (by "
        f"{counted(sum(row['picked'] == method for row in runs), 'seed')}) has the best mean {by}, "
        f"{mean[method]:.3f}. Of these seeds, {best['seed']} scores best and is handed back."
    )
    return {"by": by, "method": method, "best": best["seed"], "runs": runs, "attempts": attempts, "text": text}


def _accuracy(values: list[dict[str, Any] | None]) -> dict[str, Any] | None:
    known = [v["value"] for v in values if v is not None]
    return asdict(over_seeds("accuracy", known)) if len(known) == len(values) else None
