"""What a run was given: task, data, network and strategy."""

from __future__ import annotations

from typing import Any

from headstart.report.schema.part import Part, Remark


class TaskPart(Part):
    name: str = "label"
    kind: str = "single-label"
    classes: list[str] = []


class Curve(Part):
    """A series to draw: values by channel (None where missing), and seconds between two of them."""

    values: list[list[float | None]]
    channels: list[str] = []
    period: float | None = None


class Shown(Part):
    """A sample as it is shown, in one of three ways; in none where the run keeps no examples."""

    picture: str | None = None
    text: str | list[str] | None = None
    series: Curve | None = None


class Example(Shown):
    label: Any = ""
    id: str = ""


class Lengths(Part):
    """Histogram of how long samples are, and how many are longer than what enters the network at once."""

    unit: str = ""
    edges: list[float]
    counts: list[int]
    limit: int | None = None
    truncated: int = 0
    lost_share: float | None = None
    long: str = "truncate"


class DataPart(Part):
    name: str = "the data"
    modality: str = "image"
    samples: int | None = None
    parts: dict[str, int] = {}
    protocol: str = "held-out"
    counts: dict[str, dict[str, float]] = {}
    sizes: dict[str, list[int]] = {}
    size_unit: str = "px"
    lengths: Lengths | None = None
    channels: int | None = None
    fingerprint: str = ""
    notes: list[Remark] = []
    examples: list[Example] = []


class Vocabulary(Part):
    """Of a network that read other words before: tokens of its vocabulary, and how many brought their embedding."""

    shared: int
    total: int


class ModelPart(Part):
    reference: str = "the model"
    architecture: str = ""
    family: str = ""
    source: str = ""
    licence: str = ""
    stage: str | None = None
    grid: int | None = None
    image_size: int | None = None
    max_length: int | None = None
    tokens: int | None = None
    pooling: str | None = None
    vocabulary: Vocabulary | None = None
    truncated: bool = False
    weights_sha256: str = ""
    notes: list[Remark] = []


class StrategyPart(Part):
    name: str = ""
    network: str = ""
    asked: str = ""
    reasons: list[str] = []
    phases: list[dict[str, Any]] = []
