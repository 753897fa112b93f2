"""What a fit asks of a modality: its default model, sizes, cheap baseline, and how a sample is shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.errors import ConfigError
from headstart.data import Dataset
from headstart.data.schema import Modality as ModalityName
from headstart.features.probe import Probe, class_weights, fit_probe
from headstart.models.backbone import Backbone

if TYPE_CHECKING:
    from headstart.verbs.job import Job


@dataclass
class RawBaseline:
    """A linear model on features that no network made.

    Attributes
    ----------
    validation
        (N, K) logits: of the validation part, or out of folds where data are few.
    strength
        Of the penalty, chosen by cross-validation.
    kept
        Whatever the modality needs to predict further samples.
    """

    validation: np.ndarray
    strength: float
    kept: dict[str, Any]

    def as_tree(self) -> dict[str, Any]:
        return {"validation": torch.from_numpy(self.validation), "strength": self.strength, "kept": self.kept}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> RawBaseline:
        return cls(tree["validation"].numpy(), tree["strength"], tree["kept"])


class Modality(ABC):
    """One modality; stateless.

    Attributes
    ----------
    name
        As in `Schema.modality`.
    default_model
        The best model that is available offline.
    unit
        Of `InputSpec.size`, for people; empty where inputs have no size to choose.
    raw_name
        What the baseline without a network is called, and in a sentence.
    foreign
        Options of a fit that other modalities have and this one has not.
    """

    name: ModalityName
    default_model: str
    unit: str
    raw_name: str
    raw_words: str
    foreign: frozenset[str]

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
    def raw_logits(self, job: Job, raw: RawBaseline, data: Dataset) -> np.ndarray:
        """(N, K) logits of the baseline for further samples."""

    @abstractmethod
    def shown(self, job: Job, data: Dataset, i: int) -> dict[str, Any]:
        """A sample as the report shows it: `picture`, `text` or `series`."""

    def weighed(self, job: Job, data: Dataset, i: int, backbone: Backbone, values: np.ndarray) -> dict[str, Any]:
        """A sample with what `inspect.importance` found, as the report shows it."""
        raise NotImplementedError(f"{self.name} has no importance by position")

    def lengths(self, job: Job, backbone: Backbone) -> dict[str, Any] | None:
        """How long samples are, for the report; None where they do not differ."""
        return None


def raw_probe(job: Job, features: Sequence[Tensor]) -> RawBaseline:
    """The exact probe on raw features of the training part (and of the validation part, where there is one)."""
    labels = job.labels("train")
    weights = class_weights(job.task, labels) if job.balanced else None
    probe = fit_probe(features[0], labels, job.task, job.metric.name, job.folds, weights)
    validation = probe.held_out if job.few else probe.logits(features[1])
    kept = {"weight": probe.weight, "bias": probe.bias, "mean": probe.mean, "scale": probe.scale}
    return RawBaseline(validation.numpy(), probe.strength, kept)


def probe_logits(raw: RawBaseline, features: Tensor) -> np.ndarray:
    """(N, K) logits of a baseline made by `raw_probe`."""
    none = torch.empty(0)
    return Probe(**raw.kept, strength=raw.strength, held_out=none, scores={}).logits(features).numpy()


def own_parts(job: Job) -> list[Dataset]:
    """The parts that a baseline is fitted and judged on before the test."""
    return [job.parts["train"]] + ([] if job.few else [job.parts["validation"]])
