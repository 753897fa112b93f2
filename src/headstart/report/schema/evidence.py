"""What was found out on the way: of the data, of candidates and baselines, of more labels, of what was forgotten."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from headstart.report.schema.part import Estimate, Part


class FindingRow(Part):
    """What an examination of the data found, and the samples it is about (ids), of `count` in all."""

    topic: str = ""
    level: str = "note"
    text: str
    todo: str = ""
    samples: list[str] = []
    count: int = 0


class CurvePoint(Part):
    n: int
    value: float
    low: float | None = None
    high: float | None = None


class Gain(Part):
    """How much the metric would improve with `more` labels, by the fitted curve."""

    more: int
    value: float
    low: float | None = None
    high: float | None = None


class LearningCurve(Part):
    """A probe's metric against the number of labels; error = a n^-b + c."""

    metric: str = ""
    points: list[CurvePoint] = []
    law: dict[str, float] = {}
    gains: list[Gain] = []


class FallbackPart(Part):
    """The baseline that was handed back instead of the network, and why."""

    to: str = ""
    text: str = ""


class BlendPart(Part):
    """The share of a linear model without a network in the answers, and what it is called."""

    weight: float = 0.0
    beside: str = Field("", alias="with")


class Drift(Part):
    """How far the pretrained classifier's answers have moved."""

    n: int = 0
    same: float
    divergence: float | None = None


class OnSource(Part):
    """The metric on the held-out part of the run that the network came from."""

    run: str = ""
    part: str = ""
    n: int = 0
    metric: str = ""
    before: float
    after: float


class Forgetting(Part):
    drift: Drift | None = None
    source: OnSource | None = None


class OverProbe(Part):
    text: str = ""


class Guard(Part):
    verdict: str = ""
    gap: Estimate | None = None
    part: str | None = None
    compared_with: str = ""
    text: str = ""
    mcnemar: float | None = None
    over_probe: OverProbe | None = None


class Candidate(Part):
    name: str
    detail: str = ""
    validation: Estimate | None = None
    seconds: float | None = None
    chosen: bool = False
    why: str = ""


class ScreenRow(Part):
    size: int | None = None
    stage: str
    grid: int | None = None
    dimensions: int | None = None
    score: float | None = None
    std: float | None = None


class Screen(Part):
    metric: str = ""
    samples: int | None = None
    chosen: dict[str, Any] = {}
    rows: list[ScreenRow] = []
