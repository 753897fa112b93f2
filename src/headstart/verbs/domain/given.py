"""A trained classifier in place of the source's data: what it can be, and the target that it is adapted to."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.adapt.deep.statistics import BATCH_NORMS, NORMS
from headstart.core.errors import ConfigError, DataError
from headstart.core.notes import Notes
from headstart.data import Dataset, Splits, load_inputs
from headstart.measure import find_metric
from headstart.models.backbone import Backbone
from headstart.models.bundle import Bundle, find_bundle, load_predictor
from headstart.models.raw import FAMILY as LINEAR
from headstart.models.reference import parse_reference
from headstart.store.runfolder import RunFolder
from headstart.train.precision import choose_precision
from headstart.verbs.domain.deep import STATISTICS, TEST_TIME
from headstart.verbs.domain.options import AdaptOptions
from headstart.verbs.domain.pair import TARGET, Pair, SourceModel, columns_of, inputs_of, with_target
from headstart.verbs.job import Job, choose_device, open_engines
from headstart.verbs.modalities import modality_of
from headstart.verbs.predict import check_fit

OF_THE_SOURCE = frozenset(
    [
        "modality",
        "image",
        "text",
        "series",
        "id",
        "time",
        "window",
        "stride",
        "label",
        "labels",
        "task",
        "valid",
        "test",
        "group",
        "split_by",
        "split_seed",
        "train_size",
        "metric",
        "arch",
        "image_size",
        "max_length",
        "long",
        "pooling",
        "vocabulary",
        "stage",
    ]
)
"""Options that say something about source data, or about a network that is yet to be made of them."""


def check_reference(model: str | Backbone | None) -> Path:
    """The folder of the run or bundle that a model reference names.

    Raises
    ------
    ConfigError
        When it names anything else: only a run knows classes.
    """
    how = "Give labelled data with --source, or a finished run with --model run:FOLDER."
    if model is None or model == "small":
        raise ConfigError("There is no source: neither data nor a model that was trained on them.", how)
    if isinstance(model, Backbone) or model == "module":
        raise ConfigError("A module given in Python has no classes: without source data it cannot be adapted.", how)
    reference = parse_reference(model)
    if reference.kind != "run" or reference.scratch:
        raise ConfigError(f"{model} is a network without a classifier for your classes; there is no source data.", how)
    return Path(reference.name)


def check_source_options(options: AdaptOptions) -> None:
    """Refuse options that would mean nothing."""
    if given := [name for name in _given(options) if name in OF_THE_SOURCE]:
        names = ", ".join("--" + n.replace("_", "-") for n in given)
        raise ConfigError(
            f"Without source data {names} cannot be said: the model's run settled it.", f"Leave {names} out."
        )


def _given(options: AdaptOptions) -> list[str]:
    fields = type(options).model_fields
    return [n for n in fields if n in options.model_fields_set and getattr(options, n) != fields[n].default]


def open_given(folder: RunFolder, options: AdaptOptions, target: Any) -> Pair:
    """Read the model and the target.

    Returns
    -------
    Pair
        Without parts of a source; labels of the target, if any, are only in its `oracle`.

    Raises
    ------
    HeadstartError
        When the model is no classifier of one task, or the target has another modality, channels or classes.
    """
    path = check_reference(options.model)
    check_source_options(options)
    bundle = load_predictor(path)
    task, modality = _task(path, bundle), modality_of(bundle.modality)
    modality.check(set(_given(options)))
    if isinstance(target, Dataset) and target.schema.modality != bundle.modality:
        what = {"image": "pictures", "text": "texts", "sequence": "series"}[bundle.modality]
        raise DataError(
            f"The target {target.name} holds {target.content.source.many}; the model of {path} takes {what}.",
            "Both must be of one kind.",
        )
    inputs = load_inputs(inputs_of(target), bundle.modality, columns_of(bundle.columns, target), bundle.reading)
    check_fit(bundle, inputs)
    known = copy.copy(inputs)
    # The bundle that is written reads tables as the one that was given does.
    known.schema = replace(inputs.schema, inputs=bundle.columns or inputs.schema.inputs, reading=bundle.reading)
    device = choose_device(options.device)
    none = np.empty(0, np.int64)
    job = Job(
        options=options,
        modality=modality,
        folder=folder,
        dataset=known,
        splits=Splits(none, None, None, [], [], "held-out"),
        task=task,
        metric=find_metric(task.kind, "auto"),
        parts={},
        folds=torch.empty(0, dtype=torch.long),
        halves=torch.empty(0, dtype=torch.long),
        screened=none,
        device=device,
        dtype=choose_precision(options.precision, device),
        notes=Notes(),
        engines=open_engines(options),
    )
    job.notes.extend(inputs.notes)
    name = str(bundle.about.get("name", path.name))
    job.notes.info(
        "source",
        f"The source's data were not given; the model of {name} stands for them. How far the domains lie apart, and "
        "how the model now does on the source, is not known.",
    )
    if bundle.beside is not None:
        job.notes.warn(
            "source",
            f"{name} blends its network's answers with a model without a network (share {bundle.weight:.0%}). Only "
            "the network is adapted, and its answers alone are the source model's here.",
        )
    model = SourceModel(find_bundle(path), name, float(bundle.temperatures.get(task.name, 1.0)))
    pair = with_target(job, target, inputs, model)
    job.parts["screen"] = job.parts[TARGET]
    return pair


def able(pair: Pair, wanted: list[str], asked: tuple[str, ...]) -> list[str]:
    """The methods to run after the unadapted model: the target's statistics where there are batch norms, and these.

    Raises
    ------
    ConfigError
        When a method was named that needs normalisation layers which the network does not have.
    """
    assert pair.model is not None
    modules = list(load_predictor(pair.model.folder).model.backbone.modules())
    have = {
        STATISTICS: any(isinstance(m, BATCH_NORMS) and m.running_mean is not None for m in modules),
        TEST_TIME: any(isinstance(m, NORMS) for m in modules),
    }
    for name, what in ((STATISTICS, "batch norms"), (TEST_TIME, "normalisation layers")):
        if name in asked and not have[name]:
            raise ConfigError(f"The network has no {what}, which {name} adapts.", "Leave it out of --method.")
    if not have[STATISTICS]:
        pair.job.notes.info("source", "The network has no batch norms: there are no statistics to take of the target.")
    return [name for name in (STATISTICS, *wanted) if have.get(name, True)]


def _task(path: Path, bundle: Bundle) -> Any:
    if len(bundle.tasks) != 1:
        raise ConfigError(f"The model of {path} has {len(bundle.tasks)} tasks; one of one task can be adapted.", "")
    task = bundle.tasks[0]
    if task.kind != "single-label":
        raise ConfigError(
            f"Adaptation is there for classes; the task of {path} ({task.name}) is {task.kind}.",
            f"Use `headstart fit` on labelled target data with --model run:{path}.",
        )
    if bundle.model.backbone.family == LINEAR:
        raise ConfigError(
            f"The run {path} handed back a linear model without a network: there is nothing that could be adapted.",
            "Fit one with --strategy full, or with --guard off.",
        )
    return task
