"""`fit`: from data and a pretrained network to a model with evidence.

The steps, in order, each kept in the run folder as it ends, so that an interrupted run continues where it stood:

1. load and split the data;
2. screen stages, grids and image sizes with a probe on frozen features;
3. baselines: a linear model without a network, a probe on the last layer, a probe on the best place;
4. train the candidates (for `auto`: lp-ft) by the protocol that the amount of data asks for;
5. keep what validation says is better; fit the temperature on validation;
6. read the test part, once; write the bundle and the report.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import ConfigError, HeadstartError
from headstart.core.progress import progress
from headstart.core.registry import get
from headstart.data import Splits
from headstart.features.probe import as_outputs, sample_losses, score
from headstart.features.screen import paired_gain
from headstart.measure import fit_temperature
from headstart.models.backbone import Backbone
from headstart.store.atomic import write_json
from headstart.store.runfolder import RunFolder
from headstart.verbs.candidates import Candidate, build_model, load_candidate, train_candidate
from headstart.verbs.estimate import announce
from headstart.verbs.evaluation import metrics_of
from headstart.verbs.frozen import FrozenProbe, may_mirror, run_probes, run_raw, run_screening
from headstart.verbs.job import Job, open_job
from headstart.verbs.options import FitOptions, make_options
from headstart.verbs.report import report
from headstart.verbs.run import Run
from headstart.verbs.running import absolute, interruptible, tidy
from headstart.verbs.writing import Result, finish


def fit(data: Any, *, model: str | Backbone | None = None, **options: Any) -> Run:
    """Fine-tune a pretrained network on labelled pictures, texts or series.

    Parameters
    ----------
    data
        Whatever `load_data` takes: a folder, a table, arrays, `"sample:NAME"`, a `Dataset`.
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
    module = model if isinstance(model, Backbone) else None
    if isinstance(model, str):
        options["model"] = model
    elif module is not None:
        options["model"] = "module"
    checked = make_options(options)
    method = get("strategy", checked.strategy if checked.strategy != "auto" else "lp-ft")
    name = data if isinstance(data, (str, Path)) else getattr(data, "name", "run")
    there = [p for p in (checked.out or Path("runs"), *(checked.out or Path("runs")).parents) if p.exists()]
    folder = RunFolder.create(checked.out, Path(str(name).rpartition(":")[2]).stem or "run")
    source = absolute(data) if isinstance(data, (str, Path)) else None
    if checked.seeds > 1:
        from headstart.verbs.seeds import fit_seeds

        return fit_seeds(folder, there, _resolved(checked), data, source, module)
    with tidy(folder, there), folder.locked(), interruptible(folder):
        job = open_job(folder, checked, data, module)
        if "text" in method.needs and job.modality.name != "text":
            raise ConfigError(
                f"The strategy {checked.strategy!r} learns from texts first; the data are "
                f"{job.dataset.content.source.many}.",
                "Use another strategy: `headstart methods --kind strategy` lists them.",
            )
        # The configuration is written once data and options have been found sound: a run folder without it is none.
        folder.write_config({"data": source, **_resolved(checked).model_dump(mode="json", exclude={"out"})})
        _write_data(job)
        announce(job)
        return _run(job)


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
    if data is None and source is None:
        raise ConfigError(
            f"The data of {folder.path} were given as an object.", "Give them again: resume(run, data=...)."
        )
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
        job = open_job(folder, options, source if data is None else data, model)
        if folder.data.exists():
            _check_data(job)
        else:
            _write_data(job)
        return _run(job)


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


@dataclass
class Choice:
    """A candidate among those compared: its name, validation logits, and why it was (not) taken."""

    name: str
    start: FrozenProbe
    logits: np.ndarray
    candidate: Candidate | None
    why: str = ""


def _run(job: Job) -> Run:
    start = time.monotonic()
    labels = job.labels("train" if job.few else "validation")
    screening = run_screening(job)
    for reason in screening.reasons:
        progress().say(f"- {reason}")
    raw = run_raw(job)
    probes = run_probes(job, screening)
    asked = job.options.strategy
    # Nothing can be lost of a network that nobody trained, and a probe of it is no start.
    names = {"auto": ["lp-ft" if job.pretrained else "full"], "probe": []}.get(asked, [asked])
    reasons = list(screening.reasons)
    if asked == "auto" and _perfect(job, probes["best"], labels):
        names = []
        reasons.append("The probe makes no error on validation: fine-tuning could not be preferred and was not tried.")

    choices = [Choice("probe", probes["best"], probes["best"].validation, None)]
    if names:
        mirror = False
        if job.options.augment != "none" and job.modality.name == "image":
            mirror, why = may_mirror(job, probes["best"])
            reasons.append(why)
        for name in names:
            begin = _start_of(job, name, screening, probes)
            candidate = train_candidate(job, name, begin, mirror)
            reasons += candidate.notes
            choices.append(Choice(name, begin, candidate.validation, candidate))
    chosen = _choose(job, choices, labels, reasons)
    temperature = 1.0
    if job.task.kind != "regression":
        have = ~np.isnan(chosen.logits).any(1)
        temperature = fit_temperature(chosen.logits[have], labels[have], job.task.kind)
    model = load_candidate(job, chosen.candidate) if chosen.candidate else build_model(job, chosen.start, "probe")
    result = Result(
        model=model.eval(),
        chosen=chosen.name,
        candidate=chosen.candidate,
        start=chosen.start,
        validation=chosen.logits,
        temperature=temperature,
        probes=probes,
        raw=raw,
        screening=screening,
        tried=[_tried(job, c, c is chosen, labels) for c in choices],
        reasons=reasons,
    )
    finish(job, result, start)
    return Run(job.folder.path)


def _perfect(job: Job, probe: FrozenProbe, labels: np.ndarray) -> bool:
    """Whether the probe's metric on validation is the best possible, so that no candidate can beat it."""
    have = ~np.isnan(probe.validation).any(1)
    best = 1.0 if job.metric.higher_is_better else 0.0
    return score(job.task, job.metric.name, labels[have], probe.validation[have]) == best


def _start_of(job: Job, name: str, screening: Any, probes: Mapping[str, FrozenProbe]) -> FrozenProbe:
    """Where the network ends: lp-ft ends it at the best place where that is clearly better, others at the last."""
    best, last = probes["best"], probes["last"]
    if job.options.stage == "last" or (best.stage, best.grid) == (last.stage, last.grid):
        return last
    if job.options.stage != "auto":
        return best
    gain = screening.chosen.score - screening.last.score
    clear = gain > 2 * max(screening.chosen.error, screening.last.error)
    return best if name == "lp-ft" and clear else last


def _choose(job: Job, choices: list[Choice], labels: np.ndarray, reasons: list[str]) -> Choice:
    """The better of probe and fine-tuning on the same validation samples; a strategy that was named is kept."""
    probe, rest = choices[0], choices[1:]
    if not rest:
        probe.why = "asked for" if job.options.strategy == "probe" else "no error left on validation"
        return probe
    tuned = rest[-1]
    rival = probe.start.halves if job.few and probe.start.halves is not None else probe.logits
    have = ~(np.isnan(rival).any(1) | np.isnan(tuned.logits).any(1))
    y, first, second = labels[have], rival[have], tuned.logits[have]
    gain, error = paired_gain(job.task, y, first, second, job.metric.name)
    less = float((sample_losses(job.task, y, first) - sample_losses(job.task, y, second)).mean())
    a, b = (abs(score(job.task, job.metric.name, y, z)) for z in (first, second))
    where = "out of two folds" if job.few else "on validation"
    said = f"{where}, {job.metric.name} is {b:.3f} for {tuned.name} and {a:.3f} for the probe"
    if job.options.strategy != "auto":
        tuned.why, probe.why = "asked for", f"baseline; {said}"
        reasons.append(f"{tuned.name} was asked for: {said}.")
        return tuned
    # Within a standard error the metric cannot tell them apart; the loss, which moves with every sample, can.
    near = abs(gain) <= error
    winner, loser = (tuned, probe) if (less > 0 if near else gain > 0) else (probe, tuned)
    if near:
        said += f", too near to tell; the loss is {abs(less):.3f} {'lower' if less > 0 else 'higher'} for {tuned.name}"
    winner.why, loser.why = f"better {where}", f"not better {where}"
    reasons.append(f"{winner.name} was chosen: {said}.")
    return winner


def _tried(job: Job, choice: Choice, chosen: bool, labels: np.ndarray) -> dict[str, Any]:
    """A row of what was tried; where data are few, the probe is shown out of the same two folds as the others."""
    start = choice.start
    halves = job.few and job.options.strategy != "probe" and choice.candidate is None
    logits = start.halves if halves and start.halves is not None else choice.logits
    metrics = metrics_of(job.task, labels, as_outputs(job.task, logits))
    name = "probe" if choice.candidate is None else choice.name
    return {
        "name": choice.name,
        "detail": _place(job, start),
        "validation": metrics[job.metric.name],
        "seconds": round(job.seconds.get(name, 0.0), 2),
        "chosen": chosen,
        "why": choice.why,
    }


def _place(job: Job, start: FrozenProbe) -> str:
    """Where a candidate reads the network, in words."""
    grid = f", {start.grid}×{start.grid}" if job.modality.name == "image" else ""
    size = f", {start.size} {job.modality.unit}" if job.modality.unit else ""
    return f"{start.stage}{grid}{size}"
