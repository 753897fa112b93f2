"""`--model auto`, or several models: the network whose frozen features a probe can use best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from headstart.core.errors import ConfigError, ModelError
from headstart.core.notes import Notes
from headstart.core.progress import progress
from headstart.core.words import listed
from headstart.features.probe import as_metric
from headstart.features.screen import Screening
from headstart.verbs.estimate import forward_speed
from headstart.verbs.frozen import screened
from headstart.verbs.job import Job, open_engines


def several(model: str) -> list[str]:
    """The references of `--model A,B,C`; empty where one is named, or none.

    >>> several("sample:a, scratch:gru"), several("sample:a")
    (['sample:a', 'scratch:gru'], [])
    """
    names = list(dict.fromkeys(name.strip() for name in model.split(",") if name.strip()))
    return names if len(names) > 1 else []


def with_chosen_model(job: Job, asked: str) -> tuple[Job, list[str]]:
    """The job with the network that measurements prefer, and why (a durable step); as it is where one was named.

    Every network is screened as `fit` would: its best stage and size, by a probe's cross-validation on at most 1,000
    samples of the training part. Of those within a standard error of the best, the fastest is taken.

    Parameters
    ----------
    asked
        What was said to `--model`: "auto" compares the networks that open offline.
    """
    names = several(asked) or (job.modality.offline_models if asked == "auto" else [])
    if not names:
        return job, []
    if job.module is not None:
        raise ConfigError("A network was given as an object.", "Leave --model out.")
    value = job.step("model", lambda: _choose(job, names, skip=asked == "auto"))
    return for_model(job, value["model"]), list(value["reasons"])


def for_model(job: Job, reference: str) -> Job:
    """The same data, split and samples with another network."""
    options = job.options.model_copy(update={"model": reference})
    return job.with_network(options, engines=open_engines(options))


def on_its_own(job: Job, reference: str) -> Job:
    """As `for_model`, with notes and seconds of its own."""
    return replace(for_model(job, reference), notes=Notes(), seconds={})


def open_all(job: Job, names: Sequence[str]) -> None:
    """See that every network opens, before minutes go into the first; none is kept.

    Raises
    ------
    ModelError
        Of the first that does not.
    """
    with progress().task("opening networks", len(names)) as advance:
        for name in names:
            on_its_own(job, name).open(None)
            advance(1)


def _choose(job: Job, names: Sequence[str], skip: bool) -> dict[str, Any]:
    if not skip:
        open_all(job, names)
    found: dict[str, tuple[Screening, float]] = {}
    reasons = []
    for i, name in enumerate(names, start=1):
        progress().say(f"Model {i} of {len(names)}: {name}")
        one = on_its_own(job, name)
        try:
            screening = screened(one)
        except ModelError as error:
            if not skip:
                raise
            reasons.append(f"{name} could not be opened and was left out: {error}")
            continue
        found[name] = screening, forward_speed(one, one.open(screening.chosen.size, screening.chosen.stage).eval())
    if not found:
        raise ModelError("None of the networks that come with Headstart can be opened.", "Name one with --model.")
    top = max(found, key=lambda n: found[n][0].chosen.score)
    best = found[top][0].chosen
    tied = [n for n, (s, _) in found.items() if s.chosen.score >= best.score - best.error]
    taken = max(tied, key=lambda n: found[n][1])
    shown = {n: as_metric(job.task, job.metric.name, s.chosen.score) for n, (s, _) in found.items()}
    scores = listed([f"{n} {shown[n]:.3f} ({speed:,.0f} samples a second)" for n, (_, speed) in found.items()])
    why = "" if taken == top else f"; {top} is within a standard error ({best.error:.3f}), and {taken} is faster"
    reasons.insert(0, f"{taken} was chosen by a probe's {job.metric.name} at the best stage: {scores}{why}.")
    progress().say(reasons[0])
    return {"model": taken, "reasons": reasons}
