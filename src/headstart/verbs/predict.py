"""`predict`: a run or a bundle on new samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.core.errors import ConfigError, DataError, did_you_mean
from headstart.core.progress import progress
from headstart.data import Dataset, Task, load_inputs
from headstart.data.scales import check_scale
from headstart.models.backbone import Backbone
from headstart.models.bundle import Bundle, load_predictor
from headstart.models.raw import RawPixels
from headstart.multitask import architectures  # noqa: F401  registers what a bundle may name
from headstart.train.inference import outputs
from headstart.train.reader import Reader, put_in_place
from headstart.verbs.evaluation import calibrated, confidence, predicted
from headstart.verbs.job import choose_device
from headstart.verbs.mixture import mixed

TEST_TIME = ("none", "tent", "tent-episodic")

TEST_BATCH = 64
"""Samples that a network adapts to at once while it predicts."""


def predict(
    run_or_bundle: str | Path, inputs: Any, top: int = 1, device: str = "auto", test_time: str = "none"
) -> list[dict[str, Any]]:
    """Predict with the model that a run made.

    Parameters
    ----------
    run_or_bundle
        A run folder, or a bundle copied from one.
    inputs
        Whatever `headstart.data.load_inputs` takes: paths, folders, patterns or tables; arrays; lists of texts.
    top
        Classes to list per sample (single-label).
    test_time
        "tent" adapts the network's normalisation layers to the inputs while it predicts them, in batches of 64 in their
        order; "tent-episodic" to each batch anew. The model on disk stays as it is.

    Returns
    -------
    list of dict
        In the order of the inputs: `id`, `predicted`, `confidence`, `top` (class and calibrated probability);
        `id` and `error` for what could not be read. Regression gives `id` and `predicted`. A model of several tasks
        gives `id` and `tasks`: task -> `predicted`, `confidence`, `top`.

    Raises
    ------
    HeadstartError
        No model there, or nothing to predict.
    """
    bundle = load_predictor(Path(run_or_bundle))
    data = load_inputs(inputs, bundle.modality, bundle.columns, bundle.reading)
    for note in data.notes.items:
        if note.topic == "scale":
            progress().say(note.text)
    bad = _unreadable(data)
    found = outputs_by_task(bundle, data, device, test_time)
    said = {task.name: _answers(task, found[task.name], top) for task in bundle.tasks}
    rows: dict[str, dict[str, Any]] = {}
    for i, name in enumerate(data.ids):
        answers = {task: rows_of[i] for task, rows_of in said.items()}
        rows[name] = {"id": name, **(answers.popitem()[1] if len(answers) == 1 else {"tasks": answers})}
    rows |= bad
    return [rows[name] for name in data.content.ids if name in rows]


def _answers(task: Task, probabilities: np.ndarray, top: int) -> list[dict[str, Any]]:
    """What is said of every sample."""
    said, sure = predicted(task, probabilities), confidence(task, probabilities)
    rows = []
    for i in range(len(probabilities)):
        row: dict[str, Any] = {"predicted": said[i]}
        if task.kind != "regression":
            row["confidence"] = float(sure[i])
            order = np.argsort(-probabilities[i], kind="stable")[: max(1, top)]
            row["top"] = [{"class": task.classes[j], "probability": float(probabilities[i, j])} for j in order]
        rows.append(row)
    return rows


def outputs_of(bundle: Bundle, data: Dataset, device: str = "auto", test_time: str = "none") -> np.ndarray:
    """What a bundle says of its first task: (N, K) calibrated probabilities, or (N,) values of a regression."""
    return outputs_by_task(bundle, data, device, test_time)[bundle.tasks[0].name]


def outputs_by_task(
    bundle: Bundle, data: Dataset, device: str = "auto", test_time: str = "none"
) -> dict[str, np.ndarray]:
    """The same of every task; of those that have a model of their own, what that says."""
    check_fit(bundle, data)
    if test_time not in TEST_TIME:
        raise ConfigError(f"There is no adaptation {test_time!r} at test time.", did_you_mean(test_time, TEST_TIME))
    if test_time != "none":
        return {bundle.tasks[0].name: _adapting(bundle, data, device, episodic=test_time == "tent-episodic")}
    found = {}
    logits = _logits(bundle, data, device)
    for task in bundle.tasks:
        if task.name in bundle.own:
            found[task.name] = outputs_of(bundle.own[task.name], data, device)
            continue
        found[task.name] = calibrated(task, logits[task.name], bundle.temperatures.get(task.name, 1.0))
    if bundle.beside is not None:
        name = bundle.tasks[0].name
        found[name] = mixed(found[name], outputs_of(bundle.beside, data, device), bundle.weight)
    return found


def _logits(bundle: Bundle, data: Dataset, device: str) -> dict[str, np.ndarray]:
    if len(data) == 0:
        return {task.name: np.zeros((0, task.outputs), dtype=np.float32) for task in bundle.tasks}
    model = bundle.model.to(choose_device(device))
    if model.backbone.family == "cnn":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    reader = Reader({"all": data}, model.backbone, 0)
    return outputs(model, reader, "all").logits


def _adapting(bundle: Bundle, data: Dataset, device: str, episodic: bool) -> np.ndarray:
    """Probabilities by TENT; a temperature that was fitted on other data means nothing to them."""
    from headstart.adapt.deep.statistics import Tent

    task = bundle.tasks[0]
    if len(bundle.tasks) > 1:
        raise ConfigError("TENT adapts a model of one task; this one has several.", "Leave --test-time out.")
    if task.kind != "single-label":
        raise ConfigError(f"TENT adapts to classes; the model's task is {task.kind}.", "Leave --test-time out.")
    model = bundle.model.to(choose_device(device))
    tent = Tent(model, task.name, episodic=episodic)
    reader = Reader({"all": data}, model.backbone, 0)
    batches = [b.to(choose_device(device)) for b in reader.sweep("all", TEST_BATCH, labels=False)]
    found: dict[str, torch.Tensor] = {}
    for batch in batches:
        put_in_place(found, task.name, tent.predict(batch), batch.index, len(data))
    if tent.collapses:
        said = f"In {tent.collapses} of {len(batches)} batches the answers collapsed: there the model was not adapted."
        progress().say(said)
    p = found[task.name].numpy().astype(np.float64)
    return p / p.sum(1, keepdims=True)


def check_fit(bundle: Bundle, data: Dataset) -> None:
    """Refuse samples that the model cannot take."""
    spec, many = bundle.model.backbone.input_spec, data.content.source.many
    if data.schema.modality != bundle.modality:
        raise DataError(f"The model takes the modality {bundle.modality!r}; {data.name} holds {many}.", "Give others.")
    check_scale(data, bundle.reading)
    have = data.schema.channels
    if have is not None and have != spec.channels and not _converts(bundle.model.backbone, have):
        named = f" ({', '.join(bundle.columns)})" if bundle.columns and bundle.modality == "sequence" else ""
        raise DataError(
            f"The model takes {many} of {spec.channels} channels{named}; these have {have}.",
            "Convert the pictures." if bundle.modality == "image" else "Give the channels that it was trained on.",
        )


def _converts(backbone: Backbone, channels: int) -> bool:
    """Whether a model makes what it takes of pictures of other channels: of grey ones all do, by repeating it."""
    spec = backbone.input_spec
    grey_of_colour = isinstance(backbone, RawPixels) and (channels, spec.channels) == (3, 1)
    return spec.modality == "image" and (channels == 1 or grey_of_colour)


def _unreadable(data: Dataset) -> dict[str, dict[str, Any]]:
    """Id -> row, for the inputs that could not be read."""
    source = data.content.source
    bad = (row for row, fact in enumerate(source.facts) if fact.problem)
    return {
        data.content.ids[row]: {"id": data.content.ids[row], "error": f"{source.facts[row].problem}."} for row in bad
    }
