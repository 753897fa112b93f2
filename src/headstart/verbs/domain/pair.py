"""A labelled source and an unlabelled target, read so that nothing that fits can see the target's labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import ConfigError, DataError
from headstart.core.words import listed
from headstart.data import Dataset, LoadOptions, is_table, load_data, load_inputs
from headstart.data.objects import as_table
from headstart.data.schema import MISSING, missing
from headstart.data.table_files import open_table
from headstart.models.backbone import Backbone
from headstart.store.runfolder import RunFolder
from headstart.verbs.domain.options import AdaptOptions
from headstart.verbs.job import Job, open_job, split_options

TARGET, UNSEEN, LABELLED = "target", "target-test", "target-labelled"
"""Parts: what is adapted to, what is only predicted, and the few samples whose labels were given on purpose."""


@dataclass(frozen=True)
class Oracle:
    """The target's own labels, where they came with the data. Nothing that fits, chooses or stops is given this.

    Attributes
    ----------
    labels
        Part -> (n,) index into the source's classes; `MISSING` where there is none.
    """

    labels: dict[str, np.ndarray]


@dataclass(frozen=True)
class SourceModel:
    """What is known of a source whose data are not there: a classifier that was trained on it.

    Attributes
    ----------
    folder
        Its bundle.
    name
        Of the run that made it.
    temperature
        What its logits are divided by, from that run's validation.
    """

    folder: Path
    name: str
    temperature: float


@dataclass
class Pair:
    """Both domains of one adaptation.

    Attributes
    ----------
    job
        Of the source: "train" and "validation" are the source's; "target" (no labels) and perhaps "target-test" and
        "target-labelled" stand beside them in `job.parts`.
    oracle
        The target's labels; None where there are none.
    model
        The source's classifier where the source's data are not there; then `job` has no parts but the target's.
    """

    job: Job
    oracle: Oracle | None
    model: SourceModel | None = None

    @property
    def target(self) -> Dataset:
        return self.job.parts[TARGET]


def open_pair(
    folder: RunFolder, options: AdaptOptions, source: Any, target: Any, module: Backbone | None = None
) -> Pair:
    """Read both domains.

    The source is split as for `fit`, but always has a validation part: label-free validators need source samples that
    were not trained on. The target's inputs are read without their labels; where it came with a test part, that part
    is predicted but not adapted to.

    Raises
    ------
    HeadstartError
        When the two have different modalities, channels or classes, or one cannot be read.
    """
    job = open_job(folder, options, source, module, replace(split_options(options), few=0))
    if job.task.kind != "single-label":
        raise ConfigError(
            f"Adaptation is there for classes; the source's labels ({job.task.name}) are {job.task.kind}.",
            "Use `headstart fit` on the target with --model run:SOURCE.",
        )
    inputs = read_target(job, target)
    job.notes.extend(inputs.notes, of="target")
    return with_target(job, target, inputs)


def with_target(job: Job, target: Any, inputs: Dataset, model: SourceModel | None = None) -> Pair:
    """Put the target's parts beside those that the job has, without labels; these go to the oracle.

    Raises
    ------
    DataError
        When there is nothing to adapt to, or the target has other classes.
    """
    options = job.options
    assert isinstance(options, AdaptOptions)
    found = _read_labels(job, target)
    held = _held_out(inputs, found)
    seen = np.setdiff1d(np.arange(len(inputs)), held)
    if not len(seen):
        raise DataError(f"The target {inputs.name} has no samples to adapt to.", "Give some; no labels are needed.")
    labels = None if found is None else read_oracle(job, found, inputs, "source" if model is None else "model")
    job.parts[TARGET] = inputs.subset(seen)
    if len(held):
        job.parts[UNSEEN] = inputs.subset(held)
    if options.target_labels is not None:
        job.parts[LABELLED] = _labelled(job, options.target_labels)
    if labels is None:
        return Pair(job, None, model)
    job.notes.info(
        "target", "The target came with labels. They were masked: only numbers that are marked oracle use them."
    )
    return Pair(job, Oracle({TARGET: labels[seen]} | ({UNSEEN: labels[held]} if len(held) else {})), model)


# -- the target --------------------------------------------------------------------------------------------------------


def read_target(job: Job, target: Any) -> Dataset:
    """The target's inputs; its labels, if any, are not read.

    Raises
    ------
    DataError
        When it is of another modality, or its pictures or series have other channels.
    """
    schema, source = job.dataset.schema, job.dataset
    if isinstance(target, Dataset) and target.schema.modality != schema.modality:
        raise DataError(
            f"The target {target.name} holds {target.content.source.many}, the source {source.content.source.many}.",
            "Both must be of one kind.",
        )
    inputs = load_inputs(inputs_of(target), schema.modality, columns_of(schema.inputs, target), schema.reading)
    if inputs.schema.channels != schema.channels:
        raise DataError(
            f"The target's {inputs.content.source.many} have {inputs.schema.channels} channels, the source's "
            f"{schema.channels}.",
            "Convert one of them.",
        )
    return inputs


def _held_out(inputs: Dataset, found: Dataset | None) -> np.ndarray:
    """Positions of the test part that the target came with. Folders have their parts' names only beside labels."""
    given = inputs.given_parts.get("test")
    if given is not None or found is None or "test" not in found.given_parts:
        return np.empty(0, np.int64) if given is None else given
    names = {found.ids[i] for i in found.given_parts["test"]}
    return np.flatnonzero([any(name in names for name in _endings(i)) for i in inputs.ids])


def read_oracle(job: Job, found: Dataset, inputs: Dataset, whose: str = "source") -> np.ndarray | None:
    """The labels (n,) of the target as it was `found` with them, as the source numbers its classes; None without any.

    Raises
    ------
    DataError
        When it has classes that the source (or `whose` classes they are) does not have.
    """
    task = found.schema.tasks[0]
    labels = found.labels(task.name)
    foreign = sorted({task.classes[i] for i in np.unique(labels[labels >= 0])} - set(job.task.classes))
    if foreign:
        raise DataError(
            f"The target has classes that the {whose} does not have: {listed(foreign)}.",
            "Adaptation carries over the same classes. For others: "
            + ("`headstart fit SOURCE --out runs/source`, then " if whose == "source" else "")
            + f"`headstart fit TARGET --model {job.options.model if whose == 'model' else 'run:runs/source'}`.",
        )
    number = np.array([job.task.classes.index(c) if c in job.task.classes else MISSING for c in task.classes])
    ours = np.where(labels >= 0, number[np.maximum(labels, 0)], MISSING)
    place = dict(zip(found.ids, ours.tolist(), strict=True))
    known = [next((place[name] for name in _endings(i) if name in place), MISSING) for i in inputs.ids]
    return None if all(k == MISSING for k in known) else np.array(known, dtype=np.int64)


def _endings(name: str) -> list[str]:
    """An id, and what is left of it without folders at its start.

    Ids of pictures in folders begin with the folder that was named, those of labelled data with that of the part or
    class.
    """
    parts = Path(name).parts
    return [name, *("/".join(parts[i:]) for i in range(1, len(parts) - 1))]


def _read_labels(job: Job, target: Any) -> Dataset | None:
    """The target read with its labels; None where it has none of classes."""
    if isinstance(target, Dataset):
        found = target
    else:
        schema = job.dataset.schema
        options: dict[str, Any] = {"modality": schema.modality, "one_class": True}
        if is_table(target):
            if job.task.name not in _names(target):
                return None
            field = {"image": "image", "text": "text", "sequence": "series"}[schema.modality]
            columns = columns_of(job.dataset.schema.inputs, target)
            if columns:
                options[field] = columns[0] if field == "image" else columns
            options |= {**schema.reading, "label": job.task.name}
        elif isinstance(target, list | np.ndarray):
            return None
        try:
            found = load_data(target, LoadOptions(**options))
        except DataError:
            return None  # e.g. a flat folder of pictures: nothing that could be a label
    return found if found.schema.tasks and found.schema.tasks[0].kind == "single-label" else None


def inputs_of(target: Any) -> Any:
    """Without the labels of a pair (inputs, labels) of arrays."""
    return target[0] if isinstance(target, tuple) and len(target) == 2 else target


def columns_of(known: Sequence[str], target: Any) -> Sequence[str]:
    """Where the samples stand, if the target is a table: where those of the source stood."""
    if not is_table(target):
        return ()
    names = _names(target)
    return tuple(c for c in known if c in names)


def _names(target: Any) -> list[str]:
    table = open_table(Path(os.path.expanduser(target))) if isinstance(target, str | Path) else as_table(target)
    return [] if table is None else table.names


def _labelled(job: Job, path: str) -> Dataset:
    """A few target samples whose labels may be used, in the source's classes; those without a label are left out."""
    found = _read_labels(job, path)
    if found is None:
        raise DataError(f"{path} has no labels.", f"Give target samples with the label {job.task.name!r}.")
    foreign = sorted(set(found.schema.tasks[0].classes) - set(job.task.classes))
    if foreign:
        raise DataError(f"{path} has classes that are not known: {listed(foreign)}.", "Check the labels.")
    have = np.flatnonzero(~missing(found.labels()))
    if not len(have):
        raise DataError(f"No sample of {path} has a label.", f"Fill in {job.task.name!r} where it is known.")
    return found.subset(have)
