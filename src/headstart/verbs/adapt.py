"""`adapt`: from a labelled source and an unlabelled target to a model for the target, with evidence.

1. read both domains; labels of the target, if any, are masked;
2. screen stages, grids and sizes with a probe on the source;
3. try shallow methods on frozen features, and those that move the network, each a durable step;
4. score every attempt by validators that need no label of the target, and take the best, or refuse to adapt;
5. read the oracle, once, where there is one; write the bundle and the report.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from headstart.core.errors import ConfigError, HeadstartError
from headstart.core.progress import progress
from headstart.models.backbone import Backbone
from headstart.store.atomic import write_json
from headstart.store.runfolder import RunFolder
from headstart.verbs.domain.attempt import Attempt, load_model
from headstart.verbs.domain.choosing import choose, methods_to_try, validator_of
from headstart.verbs.domain.deep import run_deep
from headstart.verbs.domain.options import AdaptOptions, make_adapt_options
from headstart.verbs.domain.pair import Pair, open_pair
from headstart.verbs.domain.scoring import scores
from headstart.verbs.domain.shallow import run_shallow
from headstart.verbs.domain.writing import Outcome, finish
from headstart.verbs.frozen import run_probes, run_screening
from headstart.verbs.run import Run
from headstart.verbs.running import absolute, interruptible, tidy


def adapt(source: Any, target: Any, *, model: str | Backbone | None = None, **options: Any) -> Run:
    """Adapt a network from a labelled source to an unlabelled target.

    Parameters
    ----------
    source
        Labelled data, as for `fit`.
    target
        Data of the same kind; labels are not needed. If there are some, they are masked and used only for numbers
        marked oracle.
    model
        A model reference, or a `Backbone`.
    **options
        Fields of `AdaptOptions`: `method`, `validator`, `target_labels`, `epochs`, `seed`, `out` ...

    Returns
    -------
    Run
        The finished run; its bundle predicts on the target.

    Raises
    ------
    HeadstartError
        Anything that is wrong with data, model or options: nothing half-written stays behind.
    KeyboardInterrupt
        After Ctrl-C; `resume` continues.
    """
    module = model if isinstance(model, Backbone) else None
    if model is not None:
        options["model"] = model if isinstance(model, str) else "module"
    checked = make_adapt_options(options)
    methods_to_try(checked.method)
    validator_of(checked.validator)
    there = [p for p in (checked.out or Path("runs"), *(checked.out or Path("runs")).parents) if p.exists()]
    folder = RunFolder.create(checked.out, f"adapt-{_stem(source)}-{_stem(target)}")
    with tidy(folder, there), folder.locked(), interruptible(folder):
        pair = open_pair(folder, checked, source, target, module)
        paths = [absolute(data) if isinstance(data, (str, Path)) else None for data in (source, target)]
        settings = checked.model_copy(update=_absolute(checked)).model_dump(mode="json", exclude={"out"})
        folder.write_config({"verb": "adapt", "data": paths[0], "target": paths[1], **settings})
        write_json(folder.data, _fingerprints(pair))
        return _run(pair, checked)


def resume_adaptation(folder: RunFolder, config: dict[str, Any], source: Any, module: Backbone | None = None) -> Run:
    """Continue where an interrupted `adapt` stood."""
    target = config.pop("target")
    if source is None or target is None:
        raise ConfigError(
            f"The data of {folder.path} were given as objects, which cannot be read again.", "Start the run anew."
        )
    options = make_adapt_options({**config, "out": folder.path})
    with folder.locked(), interruptible(folder):
        pair = open_pair(folder, options, source, target, module)
        if json.loads(folder.data.read_text(encoding="utf-8")) != _fingerprints(pair):
            raise HeadstartError(
                f"The data of {folder.path} have changed since the run was started.",
                "Restore them, or start a new run.",
            )
        return _run(pair, options)


def _run(pair: Pair, options: AdaptOptions) -> Run:
    begun, job = time.monotonic(), pair.job
    validator = validator_of(options.validator)
    shallow, deep = methods_to_try(options.method)
    screening = run_screening(job)
    reasons = list(screening.reasons)
    for reason in reasons:
        progress().say(f"- {reason}")
    start = run_probes(job, screening)["best"]
    attempts: list[Attempt] = []
    for name in shallow:
        progress().say(f"{name}, on frozen features")
        attempts.append(run_shallow(pair, name, start))
    for name in deep:
        attempts.append(run_deep(pair, name, start, validator))
    found = {a.name: scores(pair, a) for a in attempts}
    choice = choose(pair, attempts, found, validator, lambda a: load_model(pair, a.name, start))
    for reason in choice.reasons:
        progress().say(reason)
    model = load_model(pair, choice.taken.name, start)
    reasons = [*choice.reasons, *reasons]
    finish(pair, Outcome(start, screening, attempts, found, choice, model, reasons, options.method), begun)
    return Run(job.folder.path)


def _stem(data: Any) -> str:
    name = data if isinstance(data, (str, Path)) else getattr(data, "name", "data")
    return Path(str(name).rpartition(":")[2]).stem or "data"


def _absolute(options: AdaptOptions) -> dict[str, str]:
    names = ("valid", "test", "target_labels")
    return {k: absolute(v) for k in names if isinstance(v := getattr(options, k), (str, Path))}


def _fingerprints(pair: Pair) -> dict[str, Any]:
    return {
        "source": pair.job.dataset.fingerprint(),
        "target": pair.target.fingerprint(),
        "split": pair.job.splits.as_json(pair.job.dataset),
    }
