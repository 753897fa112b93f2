"""What a fit asks of a modality: its default model, sizes, cheap baseline, and how a sample is shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from headstart.core.errors import ConfigError
from headstart.data import Dataset
from headstart.data.schema import Modality as ModalityName
from headstart.data.schema import Task
from headstart.features.probe import class_weights, fit_probe
from headstart.models.backbone import Backbone
from headstart.models.model import Head, Model
from headstart.train.reader import Reader, put_in_place

if TYPE_CHECKING:
    from headstart.verbs.job import Job


@dataclass
class RawBaseline:
    """A linear model on features that no network made.

    Attributes
    ----------
    validation
        (N, K) logits: of the validation part, or out of folds where data are few.
    halves
        (N, K) logits out of two folds where data are few, for comparison with fine-tuning; else None.
    strength
        Of the penalty, chosen by cross-validation.
    model
        Fitted on the whole training part.
    """

    validation: np.ndarray
    halves: np.ndarray | None
    strength: float
    model: Model


class Modality(ABC):
    """One modality; stateless.

    Attributes
    ----------
    name
        As in `Schema.modality`.
    default_model, offline_models
        A small model that is available offline, and all that `--model auto` compares.
    unit
        Of `InputSpec.size`, for people; empty where inputs have no size to choose.
    raw_title, raw_words
        What the baseline without a network is called, "{model}" where the linear model stands, and in a sentence.
    foreign
        Options of a fit that other modalities have and this one has not.
    """

    name: ModalityName
    default_model: str
    offline_models: tuple[str, ...]
    unit: str
    raw_title: str
    raw_words: str
    foreign: frozenset[str]

    def raw_name(self, task: Task) -> str:
        """What the baseline without a network is called: of numbers it is a ridge regression."""
        name = self.raw_title.format(model="ridge regression" if task.kind == "regression" else "logistic regression")
        return name[0].upper() + name[1:]

    def check(self, given: set[str]) -> None:
        """Refuse options that mean nothing here.

        Raises
        ------
        ConfigError
            Naming the option.
        """
        if wrong := sorted(given & self.foreign):
            flags = ", ".join("--" + name.replace("_", "-") for name in wrong)
            raise ConfigError(f"{flags}: the data are of the modality {self.name!r}.", "Leave the option out.")

    @abstractmethod
    def sizes(self, job: Job, backbone: Backbone) -> list[int]:
        """Input sizes to compare, smallest first."""

    @abstractmethod
    def raw_baseline(self, job: Job) -> RawBaseline:
        """Fit the baseline on the training part."""

    @abstractmethod
    def shown(self, job: Job, data: Dataset, i: int) -> dict[str, Any]:
        """A sample as the report shows it: `picture`, `text` or `series`."""

    def weighed(self, job: Job, data: Dataset, i: int, backbone: Backbone, values: np.ndarray) -> dict[str, Any]:
        """A sample with what `inspect.importance` found, as the report shows it."""
        raise NotImplementedError(f"{self.name} has no importance by position")

    def facets(self, data: Dataset, most: int) -> dict[str, np.ndarray]:
        """Name -> (N,) what can be said of samples in one number; NaN beyond the `most` samples that are read."""
        return {}

    def lengths(self, job: Job, backbone: Backbone) -> dict[str, Any] | None:
        """How long samples are, for the report; None where they do not differ."""
        return None


def raw_probe(job: Job, backbone: Backbone) -> RawBaseline:
    """The exact probe on the features of a backbone without a network."""
    labels = job.labels("train")
    weights = class_weights(job.task, labels) if job.balanced else None
    features = [features_of(backbone, part) for part in own_parts(job)]
    probe = fit_probe(features[0], labels, job.task, job.metric.name, job.folds, weights)
    validation, halves = probe.held_out if job.few else probe.logits(features[1]), None
    if job.few:
        again = fit_probe(features[0], labels, job.task, job.metric.name, job.halves, weights, [probe.strength])
        halves = again.held_out.numpy()
    head = Head(len(probe.mean), job.task.outputs)
    head.load_probe(probe.weight, probe.bias, probe.mean, probe.scale)
    return RawBaseline(validation.numpy(), halves, probe.strength, Model(backbone, {job.task.name: head}).eval())


def features_of(backbone: Backbone, data: Dataset) -> Tensor:
    """(N, D) features of a backbone without a network."""
    reader = Reader({"all": data}, backbone, 0, 0)
    found: dict[str, Tensor] = {}
    for batch in reader.sweep("all", backbone.batch_size(), labels=False):
        rows = backbone.pool(backbone.run(backbone.begin(batch.views["plain"])))
        put_in_place(found, "features", rows, batch.index, len(data))
    return found["features"]


def own_parts(job: Job) -> list[Dataset]:
    """The parts that a baseline is fitted and judged on before the test."""
    return [job.parts["train"]] + ([] if job.few else [job.parts["validation"]])
