"""Several tasks at once."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from headstart.report.schema.given import TaskPart
from headstart.report.schema.part import Estimate, Part


class TaskSharing(Part):
    """What sharing did to one of several tasks; `kept` is what is handed back for it."""

    delta: float | None = None
    gap: Estimate | None = None
    verdict: str = ""
    compared_with: str = ""
    kept: str = ""
    text: str = ""

    @field_validator("gap", mode="before")
    @classmethod
    def _undefined(cls, given: Any) -> Any:
        # A gap without a value arrives empty: nulls have been left out.
        return given or None


class TaskRow(TaskPart):
    """One of several tasks."""

    metric: str = ""
    labelled: dict[str, int] = {}
    metrics: dict[str, dict[str, Estimate | None]] = {}
    baselines: dict[str, dict[str, dict[str, Estimate | None]]] = {}
    sharing: TaskSharing = TaskSharing()


class CosineRow(Part):
    """Cosines between the tasks' gradients in an epoch; None where two tasks never met."""

    epoch: int
    matrix: list[list[float | None]]


class TradeoffPoint(Part):
    """A short training: the shares of the tasks' weights, and the deciding metric of each on held-out data."""

    weights: dict[str, float]
    values: dict[str, float | None] = {}


class Tradeoff(Part):
    """What tasks reach at other weights, and alone with the same budget."""

    part: str = "validation"
    after: str | None = None
    epochs: int | None = None
    samples: int | None = None
    held: int | None = None
    points: list[TradeoffPoint] = []
    alone: dict[str, float | None] = {}


class Sharing(Part):
    """Over all of several tasks."""

    part: str = "test"
    architecture: str = ""
    how: str = ""
    balance: str = ""
    rule: str = ""
    sampling: str | None = None
    delta_m: float | None = None
    own: list[str] = []
    branches: dict[str, str] = {}
    cosines: list[CosineRow] = []
