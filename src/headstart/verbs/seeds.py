"""`fit --seeds K`: the same fit with seeds N, N + 1, ..., and what holds over all of them.

Every seed is a run of its own in `RUN/seed-0`, `RUN/seed-1`, ...: one split and one test part, so that whatever
differs comes from training, and samples are paired. The best by validation is handed back: its files are copied to
RUN, where a run without `--seeds` has them, and RUN's report is its report with a section on all seeds.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headstart.core.errors import ConfigError, DataError
from headstart.core.progress import progress
from headstart.core.words import counted
from headstart.measure import Metric, find_metric, gap_over_seeds, over_seeds
from headstart.models.backbone import Backbone
from headstart.store.atomic import replacing
from headstart.store.runfolder import RunFolder
from headstart.verbs.fit import fit, resume
from headstart.verbs.guard import verdict_over_seeds
from headstart.verbs.modalities import modality_of
from headstart.verbs.options import FitOptions
from headstart.verbs.report import report
from headstart.verbs.run import Run
from headstart.verbs.running import interruptible, tidy

FILES = ("data.json", "metrics.jsonl", "predictions.parquet", "maps.parquet")
FOLDERS = ("pictures", "bundle")
"""What is copied of the run that is handed back."""


def fit_seeds(
    folder: RunFolder,
    there: Collection[Path],
    options: FitOptions,
    data: Any,
    source: Any,
    module: Backbone | None,
) -> Run:
    """Start a fit over `options.seeds` seeds; called by `fit`, whose errors it has.

    Parameters
    ----------
    folder, there
        The new folder, and those that were there before it.
    options, data, module
        As `fit` was given them.
    source
        The data as `resume` finds them again; None for objects.
    """
    with tidy(folder, there), interruptible(folder):
        folder.write_config(_config(options, source))
        return _run(folder, options, data, source, module)


def resume_seeds(folder: RunFolder, options: FitOptions, data: Any, source: Any, module: Backbone | None) -> Run:
    """Go on with one: seeds that have ended are kept, one that has not goes on, the others follow."""
    with folder.locked(), interruptible(folder):
        return _run(folder, options, source if data is None else data, source, module)


def _config(options: FitOptions, source: Any) -> dict[str, Any]:
    return {"data": source, **options.model_dump(mode="json", exclude={"out"})}


def _run(folder: RunFolder, options: FitOptions, data: Any, source: Any, module: Backbone | None) -> Run:
    first = RunFolder(folder.path / "seed-0")
    runs: list[Run] = []
    for i in range(options.seeds):
        if i == 1 and runs[0].data.get("kind") == "tasks":
            raise ConfigError("Several tasks are fitted with one seed.", f"It is in {runs[0].path}.")
        budget = None if options.budget is None else options.budget / options.seeds
        own = options.model_copy(update={"seed": options.seed + i, "seeds": 1, "budget": budget})
        run = RunFolder(folder.path / f"seed-{i}")
        if not run.report.exists():
            progress().say(f"Seed {own.seed} ({i + 1} of {options.seeds})")
        if not run.config.exists():
            shutil.rmtree(run.path, ignore_errors=True)  # killed before there was anything to go on with
            if i == 0:
                given = own.model_dump(exclude={"out", "model"})
                runs.append(fit(data, model=module or own.model, out=run.path, **given))
                continue
            # A run that has its data's split but no results yet: resuming it is the whole fit, on the same split.
            run.path.mkdir()
            with replacing(run.data) as path:
                shutil.copyfile(first.data, path)
            run.write_config(_config(own, source))
        runs.append(Run(run.path) if run.page.exists() else resume(run.path, None if source else data, module))
    _finish(folder, options, runs)
    return Run(folder.path)


def _finish(folder: RunFolder, options: FitOptions, runs: list[Run]) -> None:
    """Copy the best run and write the report; as in every run, report.json comes last."""
    reports = [run.data for run in runs]
    metric = find_metric(reports[0]["task"]["kind"], reports[0]["metric"])
    best = _best(metric, _judged(reports))
    hand_back(runs[best].path, folder.path)
    cost = reports[best]["cost"]
    parts = {name: round(sum(r["cost"]["parts"].get(name, 0.0) for r in reports), 2) for name in cost["parts"]}
    seconds = round(sum(r["cost"]["seconds"] for r in reports), 2)
    over = _over_seeds(metric, runs, reports, best)
    what = f"{counted(len(runs), 'seed')} were tried on the same split; seed {over['best']} is the best on validation."
    everything = reports[best] | {
        "name": folder.path.name,
        "strategy": reports[best]["strategy"] | {"reasons": [what, *reports[best]["strategy"]["reasons"]]},
        "cost": cost | {"seconds": seconds, "parts": parts},
        "seeds": [options.seed + i for i in range(len(runs))],
        "over_seeds": over,
        "guard": _verdict(metric, runs, reports, over["gaps"]),
        "options": reports[best]["options"] | {"seed": options.seed, "seeds": options.seeds},
    }
    folder.write_report(everything)
    folder.clear_checkpoints()
    report(folder.path)


def _judged(reports: list[dict[str, Any]]) -> list[float | None]:
    """What every seed reached on held-out samples; runs that older versions ended have it of the network alone."""
    if all("held_out" in r for r in reports):
        return [r["held_out"] for r in reports]
    return [next(row for row in r["tried"] if row["chosen"])["validation"]["value"] for r in reports]


def _best(metric: Metric, values: list[float | None]) -> int:
    best = 0
    for i, value in enumerate(values):
        if metric.better(value, values[best]):
            best = i
    return best


def hand_back(run: Path, to: Path) -> None:
    """Copy what a seed's run wrote to where a run without seeds has it."""
    for name in FILES:
        if (run / name).exists():
            with replacing(to / name) as path:
                shutil.copyfile(run / name, path)
    for name in FOLDERS:
        if (run / name).exists():
            # What a killed process had begun to copy is no bundle: it gets its name when it is whole.
            begun = to / f".{name}.tmp"
            shutil.rmtree(begun, ignore_errors=True)
            shutil.copytree(run / name, begun)
            shutil.rmtree(to / name, ignore_errors=True)
            begun.rename(to / name)


def _over_seeds(metric: Metric, runs: list[Run], reports: list[dict[str, Any]], best: int) -> dict[str, Any]:
    """The key "over_seeds" of report.json; docs/run-folder.md describes it."""
    part = "test" if "test" in reports[0]["metrics"] else "validation"
    metrics = {
        p: {
            name: asdict(over_seeds(name, [r["metrics"][p][name]["value"] for r in reports]))
            for name in reports[0]["metrics"][p]
        }
        for p in reports[0]["metrics"]
    }
    rows = [
        {
            "seed": r["seeds"][0],
            "run": run.path.name,
            "strategy": r["strategy"]["name"],
            **{p: values[metric.name]["value"] for p, values in r["metrics"].items()},
            "held_out": judged,
            "seconds": r["cost"]["seconds"],
        }
        for run, r, judged in zip(runs, reports, _judged(reports), strict=True)
    ]
    gaps = _gaps(metric, runs, "model")
    return {"part": part, "best": rows[best]["seed"], "runs": rows, "metrics": metrics, "gaps": gaps}


def _verdict(metric: Metric, runs: list[Run], reports: list[dict[str, Any]], gaps: list[dict[str, Any]]) -> Any:
    """What transfer brought, over all seeds: the best one's own verdict would be that of a lucky one."""
    one = reports[0]
    subject = "the model"
    kept = all("network" in RunFolder(run.path).step("answers", _lost) for run in runs)  # older versions did not
    if kept and any(r["fallback"] for r in reports):  # the verdict is on the networks, taken or not
        gaps, subject = _gaps(metric, runs, "network"), "the network"
    pretrained = not one["model"]["reference"].startswith("scratch:")
    part = "test" if "test" in one["metrics"] else "validation"
    raw = modality_of(one["data"]["modality"]).raw_words
    numbers = one["task"]["kind"] == "regression"
    return verdict_over_seeds(metric.name, gaps, len(runs), part, raw, pretrained, subject, numbers)


def _gaps(metric: Metric, runs: list[Run], of: str) -> list[dict[str, Any]]:
    """How much better the models (or networks) are than each baseline, over seeds and samples; above zero is better."""
    answers = [RunFolder(run.path).step("answers", _lost) for run in runs]
    labels = answers[0]["labels"].numpy()
    models = [one[of].numpy() for one in answers]
    sign = 1 if metric.higher_is_better else -1
    rows = []
    for name in answers[0]["baselines"]:
        found = gap_over_seeds(metric, labels, models, [one["baselines"][name].numpy() for one in answers])
        ends = [None if end is None else sign * end for end in (found.gap.low, found.gap.high)]
        rows.append(
            {
                "baseline": name,
                "value": None if found.gap.value is None else sign * found.gap.value,
                "low": ends[0 if sign > 0 else 1],
                "high": ends[1 if sign > 0 else 0],
                "seed_error": found.seed_error,
                "sample_error": found.sample_error,
            }
        )
    return rows


def _lost() -> Any:
    raise DataError(
        "A seed's run has lost steps/answers.safetensors.", "Remove its folder; `headstart resume` fits it."
    )
