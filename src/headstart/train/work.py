"""What a training is told and what it tells: work, settings, scores, logs, history."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch

from headstart.models.model import Model
from headstart.train.objective import Objective
from headstart.train.phase import Phase
from headstart.train.update import OneBackward, Update


@dataclass(frozen=True)
class Score:
    """A validation: `value` decides (higher is better), `loss` breaks ties, `metric` is what is shown."""

    value: float
    loss: float
    metric: float

    def better_than(self, other: Score | None) -> bool:
        """Whether this one is better; a value that is not defined (NaN) is worse than any other."""
        return other is None or self._rank() > other._rank()

    def _rank(self) -> tuple[float, float]:
        return -math.inf if math.isnan(self.value) else self.value, -self.loss


Validate = Callable[[Model, int, int, str], Score]
"""(model, number of the phase, epoch, "raw" or "average") -> score."""


class Log(Protocol):
    """Where training reports its steps and epochs. `position` and `rewind` let a resumed run overwrite its tail.

    Several trainings may share one log: `mine` is what the records of this one have in common.
    """

    def write(self, record: dict[str, Any]) -> None: ...

    def position(self, mine: Mapping[str, Any] = MappingProxyType({})) -> int: ...

    def rewind(self, position: int, mine: Mapping[str, Any] = MappingProxyType({})) -> None: ...


class MemoryLog:
    """Keeps records in a list, of one training."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def write(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def position(self, mine: Mapping[str, Any] = MappingProxyType({})) -> int:
        return len(self.records)

    def rewind(self, position: int, mine: Mapping[str, Any] = MappingProxyType({})) -> None:
        del self.records[position:]


@dataclass
class Work:
    """A phase with what it minimises and how."""

    phase: Phase
    objectives: Sequence[Objective]
    update: Update = field(default_factory=OneBackward)


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know besides its work.

    Attributes
    ----------
    seed
        Every random number of training is a function of it.
    checkpoint
        File to write checkpoints to; None writes none. If it exists, training continues from it.
    every
        Seconds between checkpoints within an epoch. After an epoch one is written unless that would take more than a
        twentieth of the time; after the last one always.
    name
        Shown with the progress and written into the log.
    scratch
        Folder for kept activations while training runs; None is the system's folder of temporary files.
    """

    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    checkpoint: Path | None = None
    every: float = 60.0
    name: str = "training"
    labels: Mapping[str, Any] = field(default_factory=dict)
    scratch: Path | None = None


@dataclass
class History:
    """What training did: one record per epoch, and which weights each phase kept."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
