"""Several data sets with tasks of their own as one: each sample has labels of its own data set's tasks only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from headstart.core.errors import DataError
from headstart.core.notes import Notes
from headstart.data.dataset import PARTS, Content, Dataset
from headstart.data.schema import MISSING, Schema, Task
from headstart.data.source import ConcatSource, RowsSource


def join_datasets(datasets: Mapping[str, Dataset]) -> Dataset:
    """One data set of several.

    Tasks are called NAME.TASK ("digits.label"), samples NAME:ID. A sample has no label of the other data sets' tasks.
    Parts that came with the data stay; `Dataset.origins` says which data set a sample is of. An epoch over it, and
    how often each data set is drawn from, is what `headstart.train.sampling` says.

    Parameters
    ----------
    datasets
        Name -> data set; of one modality, and such that one network can read them all.

    Raises
    ------
    DataError
        For fewer than two data sets, or where they do not fit together.
    """
    if len(datasets) < 2:
        raise DataError("Several data sets are joined, and there is only one.", "Give it alone, or a second one.")
    for name in datasets:
        if not name or set(name) & set(".:/"):
            raise DataError(f"A data set cannot be called {name!r}.", "Use a name without '.', ':' and '/'.")
    _check_schemas(datasets)
    parts = [*datasets.values()]
    source = ConcatSource([RowsSource(d.content.source, d.rows) for d in parts])
    tasks: list[Task] = []
    labels: dict[str, np.ndarray] = {}
    for name, data in datasets.items():
        for task in data.schema.tasks:
            mine = replace(task, name=f"{name}.{task.name}")
            tasks.append(mine)
            labels[mine.name] = _over_all(datasets, name, data.labels(task.name))
    content = Content(
        source,
        [f"{name}:{one}" for name, data in datasets.items() for one in data.ids],
        labels,
        groups=_groups(datasets),
        times=np.concatenate([d.times for d in parts if d.times is not None])
        if all(d.times is not None for d in parts)
        else None,
        parts=np.concatenate([_parts(data) for data in parts]),
        origins=np.repeat(list(datasets), [len(data) for data in parts]),
    )
    first = parts[0].schema
    channels = [d.schema.channels for d in parts if d.schema.channels is not None]
    schema = Schema(
        first.modality,
        tuple(tasks),
        group="group" if content.groups is not None else None,
        time="time" if content.times is not None else None,
        channels=max(channels) if channels else None,
        inputs=first.inputs if len({d.schema.inputs for d in parts}) == 1 else (),
        period=first.period,
        reading=_reading([d.schema for d in parts]),
    )
    return Dataset(" + ".join(datasets), schema, content, notes=_notes(datasets))


def _reading(schemas: Sequence[Schema]) -> dict[str, str]:
    """How the first was read; a scale of pictures only where there are no two."""
    scales = {schema.reading["scale"] for schema in schemas if "scale" in schema.reading}
    others = {k: v for k, v in schemas[0].reading.items() if k != "scale"}
    return {**others, "scale": scales.pop()} if len(scales) == 1 else others


def _check_schemas(datasets: Mapping[str, Dataset]) -> None:
    """Refuse data sets that no one network reads."""

    def clash(what: str, found: Mapping[str, Any], hint: str) -> None:
        if len(set(found.values())) > 1:
            said = ", ".join(f"{name} {value}" for name, value in found.items())
            raise DataError(f"The data sets do not fit together: they differ in {what} ({said}).", hint)

    schemas = {name: data.schema for name, data in datasets.items()}
    clash("modality", {n: s.modality for n, s in schemas.items()}, "Fit a model to each, or convert one.")
    modality = next(iter(schemas.values())).modality
    if modality == "sequence":
        hint = "Give every data set the same channels, in the same order."
        clash("their channels", {n: s.channels for n, s in schemas.items()}, hint)
        clash("their channels", {n: "/".join(s.inputs) for n, s in schemas.items()}, hint)
        periods = {n: s.period for n, s in schemas.items() if s.period is not None}
        clash("time between two steps", periods, "Resample one of them.")
    if modality == "text":
        kinds = {n: "pairs of texts" if len(s.inputs) > 1 else "single texts" for n, s in schemas.items()}
        clash("what a sample is", kinds, "Name one text column in each, or two in each.")


def _over_all(datasets: Mapping[str, Dataset], owner: str, labels: np.ndarray) -> np.ndarray:
    blank: Any = MISSING if labels.dtype.kind in "iu" else np.nan
    return np.concatenate(
        [
            labels if name == owner else np.full((len(data), *labels.shape[1:]), blank, labels.dtype)
            for name, data in datasets.items()
        ]
    )


def _groups(datasets: Mapping[str, Dataset]) -> np.ndarray | None:
    """Groups under the names of their data sets; samples without one are groups of their own."""
    if all(data.groups is None for data in datasets.values()):
        return None
    return np.array(
        [
            f"{name}:{group}" if data.groups is not None else f"\0{name}:{one}"
            for name, data in datasets.items()
            for group, one in zip(data.groups if data.groups is not None else data.ids, data.ids, strict=True)
        ]
    )


def _parts(data: Dataset) -> np.ndarray:
    parts = np.full(len(data), "", dtype=f"<U{max(map(len, PARTS))}")
    for part, where in data.given_parts.items():
        parts[where] = part
    return parts


def _notes(datasets: Mapping[str, Dataset]) -> Notes:
    notes = Notes()
    for name, data in datasets.items():
        notes.extend(data.notes, of=name)
    sizes = ", ".join(f"{name} {len(data)}" for name, data in datasets.items())
    notes.info("data sets", f"Samples of each data set: {sizes}.")
    return notes
