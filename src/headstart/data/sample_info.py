"""What is known about a sample data set before it is fetched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headstart.data.raw import Raw


@dataclass(frozen=True)
class SampleInfo:
    """What `list_samples` says about a sample, and how it is made."""

    name: str
    modality: str
    task: str
    samples: int
    classes: int
    source: str
    licence: str
    build: Callable[[], Raw]
    fetched: Callable[[], bool]
