"""`fit`: from data and a pretrained network to a model with evidence.

The steps, in order, each kept in the run folder as it ends, so that an interrupted run continues where it stood:

1. load and split the data;
2. screen stages, grids and image sizes with a probe on frozen features;
3. baselines: a linear model without a network, a probe on the last layer, a probe on the best place;
4. train the candidates (for `auto`: lp-ft) by the protocol that the amount of data asks for;
5. keep what validation says is better: a candidate, or a baseline that beats them all; fit temperatures on validation,
   and let the linear model without a network have a say where that pays;
6. read the test part, once; write the bundle and the report.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstart.core.errors import ConfigError, HeadstartError
from headstart.core.progress import progress
from headstart.core.registry import get
from headstart.data import Splits
from headstart.data.load import named_sources
from headstart.models.backbone import Backbone
from headstart.store.atomic import write_json
from headstart.store.runfolder import RunFolder
from headstart.verbs.candidates import load_candidate
from headstart.verbs.choosing import blends, choose, comparable, make_choices, row_of, row_of_baseline
from headstart.verbs.estimate import announce
from headstart.verbs.fallback import fall_back, held_out_baselines
from headstart.verbs.frozen import run_probes, run_raw, run_screening
from headstart.verbs.job import Job, load_for, open_job
from headstart.verbs.mixture import Mixture, settle_mixture, temperature_of
from headstart.verbs.model_choice import with_chosen_model
from headstart.verbs.options import FitOptions, make_options
from headstart.verbs.report import report
from headstart.verbs.run import Run
from headstart.verbs.running import absolute, interruptible, named_paths, take_model, tidy
from headstart.verbs.scratch import run_scratch
from headstart.verbs.start import build_model
from headstart.verbs.tasks import fit_tasks
from headstart.verbs.tasks.check import check_absent, check_one
from headstart.verbs.tuned_curve import tuned_curve
from headstart.verbs.writing import Result, finish


def fit(data: Any, *, model: str | Backbone | None = None, **options: Any) -> Run:
    """Fine-tune a pretrained network on labelled pictures, texts or series.

    Parameters
    ----------
    data
        Whatever `load_data` takes: a folder, a table, arrays, `"sample:NAME"`, a `Dataset`; several data sets by
        name. Several label columns, or several data sets, are several tasks (`headstart.verbs.tasks`).
    model
        A model reference, or a `Backbone` made from a module of your own.
    **options
        Fields of `FitOptions`: `strategy`, `metric`, `epochs`, `seed`, `out` ...

    Returns
    -------
    Run
        The finished run.

    Raises
    ------
    HeadstartError
        Anything that is wrong with data, model or options: nothing half-written stays behind.
    KeyboardInterrupt
        After Ctrl-C; `resume` continues.
    """
    module = take_model(model, options)
    checked = make_options(options)
    method = get("strategy", checked.strategy if checked.strategy != "auto" else "lp-ft")
    several = named_sources(data)
    if checked.seeds > 1 and (several or len(checked.labels) > 1):
        _refuse_seeds(checked, data)
    name = "-".join(several) if several else data if isinstance(data, (str, Path)) else getattr(data, "name", "run")
    there = [p for p in (checked.out or Path("runs"), *(checked.out or Path("runs")).parents) if p.exists()]
    folder = RunFolder.create(checked.out, Path(str(name).rpartition(":")[2]).stem or "run")
    source = absolute(data) if isinstance(data, (str, Path)) else named_paths(data)
    if checked.seeds > 1:
        from headstart.verbs.seeds import fit_seeds

        return fit_seeds(folder, there, _resolved(checked), data, source, module)
    with tidy(folder, there), interruptible(folder):
        job = open_job(folder, checked, data, module, several=True)
        if "text" in method.needs and job.modality.name != "text":
            raise ConfigError(
                f"The strategy {checked.strategy!r} learns from texts first; the data are "
                f"{job.dataset.content.source.many}.",
                "Use another strategy: `headstart methods --kind strategy` lists them.",
            )
        # The configuration is written once data and options have been found sound: a run folder without it is none.
        folder.write_config({"data": source, **_resolved(checked).model_dump(mode="json", exclude={"out"})})
        _write_data(job)
        if len(job.dataset.schema.tasks) > 1:
            return fit_tasks(job, checked.model)
        check_one(checked)
        job, reasons = with_chosen_model(job, checked.model)
        announce(job)
        return _run(job, reasons)


def resume(run: str | Path, data: Any = None, model: Backbone | None = None) -> Run:
    """Continue a run that was killed or interrupted; it ends as it would have ended.

    Parameters
    ----------
    run
        The run folder.
    data
        The data again, where they were given as objects and not by a path or sample name.
    model
        The backbone again, where it was given as an object.

    Raises
    ------
    StoreError
        When there is no run, or its data have changed.
    """
    folder = RunFolder.existing(run)
    if folder.report.exists():
        progress().say(f"{folder.path} has ended already; nothing to do.")
        if not folder.page.exists():  # killed between the two
            report(folder.path)
        folder.clear_checkpoints()
        return Run(folder.path)
    config = folder.read_config()
    verb, source = config.pop("verb", "fit"), config.pop("data")
    if data is None and source is None and not config.get("without_source"):
        raise ConfigError(
            f"The data of {folder.path} were given as an object.", "Give them again: resume(run, data=...)."
        )
    if verb == "adapt":
        from headstart.verbs.adapt import resume_adaptation

        return resume_adaptation(folder, config, source if data is None else data, model)
    if verb == "pretrain":
        from headstart.verbs.pretrain import resume_pretraining

        return resume_pretraining(folder, config, source if data is None else data)
    options = make_options({**config, "out": folder.path})
    if options.model == "module" and model is None:
        raise ConfigError(
            f"The network of {folder.path} was given as an object.", "Give it again: resume(run, model=...)."
        )
    if options.seeds > 1:
        from headstart.verbs.seeds import resume_seeds

        return resume_seeds(folder, options, data, source, model)
    with folder.locked(), interruptible(folder):
        job = open_job(folder, options, source if data is None else data, model, several=True)
        if folder.data.exists():
            _check_data(job)
        else:
            _write_data(job)
        if len(job.dataset.schema.tasks) > 1:
            return fit_tasks(job, options.model)
        return _run(*with_chosen_model(job, options.model))


def _refuse_seeds(options: FitOptions, data: Any) -> None:
    """Several columns may be one multi-label task: the data tell, before the first seed is fitted."""
    if len(load_for(options, data).schema.tasks) > 1:
        check_absent(options)


def _resolved(options: FitOptions) -> FitOptions:
    given = {k: absolute(v) for k in ("valid", "test") if isinstance(v := getattr(options, k), (str, Path))}
    return options.model_copy(update=given)


def _write_data(job: Job) -> None:
    dataset = job.dataset
    content = {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint(),
        "modality": dataset.schema.modality,
        "tasks": [{"name": t.name, "kind": t.kind, "classes": list(t.classes)} for t in dataset.schema.tasks],
        "split": job.splits.as_json(dataset),
        "notes": job.notes.as_json(),
    }
    write_json(job.folder.data, content)


def _check_data(job: Job) -> None:
    import json

    kept = json.loads(job.folder.data.read_text(encoding="utf-8"))
    if kept["fingerprint"] != job.dataset.fingerprint():
        raise HeadstartError(
            f"The data of {job.folder.path} have changed since the run was started.",
            "Restore them, or start a new run.",
        )
    Splits.from_json(kept["split"], job.dataset)
    job.dataset.name = kept["name"]  # what the user called them; resuming names the whole path


def _run(job: Job, reasons: Sequence[str] = ()) -> Run:
    start = time.monotonic()
    labels = job.labels("train" if job.few else "validation")
    screening = run_screening(job)
    for reason in screening.reasons:
        progress().say(f"- {reason}")
    raw = run_raw(job)
    probes = run_probes(job, screening)
    reasons = [*reasons, *screening.reasons]
    choices = make_choices(job, screening, probes, labels, reasons)
    chosen = choose(job, choices, labels, reasons)
    scratch = run_scratch(job, _run, reasons) if job.options.guard == "full" else None
    # Where data are few, what was trained is judged by two folds; a probe, which has five, then too.
    trained = chosen.candidate is not None or scratch is not None
    compared = chosen.logits
    if trained and chosen.candidate is None and chosen.start.halves is not None:
        compared = chosen.start.halves
    baselines = held_out_baselines(job, raw, probes["last"], labels, trained)
    if scratch is not None:
        baselines["scratch"] = scratch.logits("validation", job.parts["train" if job.few else "validation"])
    fallback, guarded = None, ""
    if job.options.guard != "off":
        fallback, guarded = fall_back(job, chosen.name, compared, baselines, labels)
    held_out, beside = compared if fallback is None else fallback.logits, baselines["raw_features"]
    mixture = Mixture(temperature_of(job.task, labels, held_out))
    if guarded:
        reasons.insert(0 if fallback else len(reasons), guarded)
        progress().say(guarded)
    if fallback is None and blends(job):
        mixture, why = settle_mixture(job.task, job.metric, labels, held_out, beside, job.modality.raw_words)
        reasons.append(why)
    tuned = chosen.candidate or (choices[-1].candidate if len(choices) > 1 else None)
    curve = None
    if job.options.curve == "full":
        curve = job.step("curve", lambda: {"curve": tuned_curve(job, tuned) if tuned else None})["curve"]
        if tuned is None:
            reasons.append("--curve full: nothing was fine-tuned, so there is the probe's curve only.")
    network = load_candidate(job, chosen.candidate) if chosen.candidate else build_model(job, chosen.start, "probe")
    tried = [row_of(job, c, c is chosen and fallback is None, labels, len(choices) > 1) for c in choices]
    if fallback is not None:
        spent = job.seconds | ({"scratch": scratch.seconds} if scratch else {})
        tried.append(row_of_baseline(job, fallback, labels, spent))
    result = Result(
        network=network.eval(),
        chosen=chosen.name,
        candidate=chosen.candidate,
        start=chosen.start,
        validation=held_out,
        baselines=baselines,
        temperatures={
            name: temperature_of(job.task, labels, z) for name, z in (baselines | {chosen.name: compared}).items()
        },
        mixture=mixture,
        fallback=fallback,
        scratch=scratch,
        curve=curve,
        held_out=comparable(job, chosen, fallback, mixture, raw, probes["last"], labels),
        probes=probes,
        raw=raw,
        screening=screening,
        tried=tried,
        reasons=reasons,
    )
    finish(job, result, start)
    return Run(job.folder.path)
