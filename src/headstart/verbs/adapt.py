"""`adapt`: from a labelled source, or a model trained on one, and an unlabelled target to a model for the target.

1. read both domains; labels of the target, if any, are masked;
2. screen stages, grids and sizes with a probe on the source;
3. try shallow methods on frozen features, and those that move the network, each a durable step;
4. score every attempt by validators that need no label of the target, and take the best, or refuse to adapt;
5. read the oracle, once, where there is one; write the bundle and the report.

Where a model stands for the source's data, 2 falls away, and 3 and 4 are left with what reads the target alone.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from headstart.core.errors import ConfigError, HeadstartError
from headstart.core.progress import progress
from headstart.models.backbone import Backbone
from headstart.store.atomic import write_json
from headstart.store.runfolder import RunFolder
from headstart.verbs.domain.attempt import load_model
from headstart.verbs.domain.choosing import choose, methods_to_try, methods_without_source, validator_of
from headstart.verbs.domain.deep import SOURCE_MODEL, run_deep
from headstart.verbs.domain.given import able, check_reference, check_source_options, open_given
from headstart.verbs.domain.options import AdaptOptions, make_adapt_options
from headstart.verbs.domain.pair import Pair, open_pair
from headstart.verbs.domain.rows import Outcome
from headstart.verbs.domain.scoring import scores
from headstart.verbs.domain.shallow import run_shallow
from headstart.verbs.domain.writing import finish
from headstart.verbs.frozen import run_probes, run_screening
from headstart.verbs.run import Run
from headstart.verbs.running import absolute, interruptible, take_model, tidy

OWN_JUDGE = (
    "SHOT raises what infomax scores, so infomax favours it; both presume that every class is in the target, about as "
    "often as the others. --validator class-ami or snd judges by something else."
)


def adapt(source: Any, target: Any, *, model: str | Backbone | None = None, **options: Any) -> Run:
    """Adapt a network from a labelled source to an unlabelled target.

    Parameters
    ----------
    source
        Labelled data, as for `fit`; None where only a model of them is at hand.
    target
        Data of the same kind; labels are not needed. If there are some, they are masked and used only for numbers
        marked oracle.
    model
        A model reference, or a `Backbone`. Without a source `run:FOLDER`, a finished run or a bundle: its classifier is
        what is adapted, by methods that read the target alone (SHOT, AdaBN, pseudo-labels, TENT).
    **options
        Fields of `AdaptOptions`: `method`, `validator`, `target_labels`, `epochs`, `seed`, `seeds`, `out` ...

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
    module = take_model(model, options)
    checked = make_adapt_options(options)
    check_adapt_options(checked, source is None)
    there = [p for p in (checked.out or Path("runs"), *(checked.out or Path("runs")).parents) if p.exists()]
    folder = RunFolder.create(
        checked.out, f"adapt-{_stem(checked.model if source is None else source)}-{_stem(target)}"
    )
    if checked.seeds > 1:
        from headstart.verbs.domain.seeds import adapt_seeds

        return adapt_seeds(folder, there, checked, source, target, module)
    with tidy(folder, there), interruptible(folder):
        pair = open_either(folder, checked, source, target, module)
        folder.write_config(config_of(checked, source, target))
        write_json(folder.data, _fingerprints(pair))
        return _run(pair, checked)


def check_adapt_options(options: AdaptOptions, without_source: bool) -> None:
    """Refuse what cannot be, before anything is read.

    Raises
    ------
    ConfigError
        For a method or a validator that is none, or that needs source data and there are none; without source data
        also for a model reference that is no run, and for options that are about source data.
    """
    if without_source:
        check_reference(options.model)
        check_source_options(options)
        methods_without_source(options.method)
    else:
        methods_to_try(options.method)
    validator_of(options.validator, not without_source)


def resume_adaptation(folder: RunFolder, config: dict[str, Any], source: Any, module: Backbone | None = None) -> Run:
    """Continue where an interrupted `adapt` stood."""
    target, without_source = config.pop("target"), config.pop("without_source", False)
    if (source is None and not without_source) or target is None:
        raise ConfigError(
            f"The data of {folder.path} were given as objects, which cannot be read again.", "Start the run anew."
        )
    options = make_adapt_options({**config, "out": folder.path})
    if options.seeds > 1:
        from headstart.verbs.domain.seeds import resume_seeds

        return resume_seeds(folder, options, source, target, module)
    with folder.locked(), interruptible(folder):
        pair = open_either(folder, options, source, target, module)
        if json.loads(folder.data.read_text(encoding="utf-8")) != _fingerprints(pair):
            what = "data" if pair.model is None else "data or the model"
            raise HeadstartError(
                f"The {what} of {folder.path} have changed since the run was started.",
                "Restore them, or start a new run.",
            )
        return _run(pair, options)


def open_either(
    folder: RunFolder, options: AdaptOptions, source: Any, target: Any, module: Backbone | None = None
) -> Pair:
    """Both domains, or the target and the model that stands for the source."""
    if source is None:
        return open_given(folder, options, target)
    return open_pair(folder, options, source, target, module)


def _run(pair: Pair, options: AdaptOptions) -> Run:
    begun, job = time.monotonic(), pair.job
    validator = validator_of(options.validator, pair.model is None)
    start, reasons, attempts = None, [], []
    if pair.model is None:
        shallow, deep = methods_to_try(options.method)
        screening = run_screening(job)
        reasons = list(screening.reasons)
        for reason in reasons:
            progress().say(f"- {reason}")
        start = run_probes(job, screening)["best"]
        for name in shallow:
            progress().say(f"{name}, on frozen features")
            attempts.append(run_shallow(pair, name, start))
    else:
        if validator == "infomax" and {"auto", "shot"} & set(options.method):
            job.notes.info("source", OWN_JUDGE)
        deep = [SOURCE_MODEL, *able(pair, methods_without_source(options.method), options.method)]
    for name in deep:
        attempts.append(run_deep(pair, name, start, validator))
    found = {a.name: scores(pair, a) for a in attempts}
    choice = choose(pair, attempts, found, validator, lambda a: load_model(pair, a.name, start))
    for reason in choice.reasons:
        progress().say(reason)
    model = load_model(pair, choice.taken.name, start)
    reasons = [*choice.reasons, *reasons]
    finish(pair, Outcome(start, attempts, found, choice, model, reasons, options.method, validator), begun)
    return Run(job.folder.path)


def _stem(data: Any) -> str:
    name = data if isinstance(data, (str, Path)) else getattr(data, "name", "data")
    return Path(str(name).rpartition(":")[2]).stem or "data"


def config_of(options: AdaptOptions, source: Any, target: Any) -> dict[str, Any]:
    """What resuming reads: paths that mean the same from everywhere."""
    paths = [absolute(data) if isinstance(data, (str, Path)) else None for data in (source, target)]
    names = ("valid", "test", "target_labels")
    moved = {k: absolute(v) for k in names if isinstance(v := getattr(options, k), (str, Path))}
    kind, _, where = options.model.partition(":")
    if kind == "run":
        moved["model"] = f"run:{absolute(where)}"
    settings = options.model_copy(update=moved).model_dump(mode="json", exclude={"out"})
    about: dict[str, Any] = {"verb": "adapt", "data": paths[0], "target": paths[1]}
    return {**about, **({"without_source": True} if source is None else {}), **settings}


def _fingerprints(pair: Pair) -> dict[str, Any]:
    if pair.model is not None:
        files = sorted(pair.model.folder.glob("*.safetensors"))
        weights = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files))
        return {"model": weights.hexdigest(), "target": pair.target.fingerprint()}
    return {
        "source": pair.job.dataset.fingerprint(),
        "target": pair.target.fingerprint(),
        "split": pair.job.splits.as_json(pair.job.dataset),
    }
