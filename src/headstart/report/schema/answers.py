"""How the answers are: by class, by confidence, by sample."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from headstart.report.schema.given import Shown
from headstart.report.schema.part import Estimate, Part


class WeakSlice(Part):
    """Samples on which the model does worse than on the rest; errors are shares, or mean losses."""

    name: str
    n: int
    errors: float
    rest: float
    difference: Estimate
    ids: list[str] = []


class Slices(Part):
    outcome: str = "errors"
    part: str = ""
    tested: int = 0
    level: float = 0.95
    weak: list[WeakSlice] = []


class ClassRow(Part):
    name: str = Field(alias="class")
    n: int = 0
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None


class Confusion(Part):
    """`matrix[i][j]`: how many samples of class i were called class j."""

    part: str = "test"
    classes: list[str]
    matrix: list[list[int]]

    @model_validator(mode="after")
    def _square(self) -> Confusion:
        n = len(self.classes)
        if len(self.matrix) != n or any(len(row) != n for row in self.matrix):
            raise ValueError(f"the matrix must have {n} rows and columns, one per class")
        return self


class ConfusedPair(Part):
    label: str
    predicted: str
    n: int = 0
    share: float | None = None
    ids: list[str] = []


class Bin(Part):
    """Samples with a confidence from `low` to `high`: how many, mean confidence, share that is right."""

    low: float
    high: float
    n: int = 0
    confidence: float | None = None
    accuracy: float | None = None


class Calibration(Part):
    temperature: float | None = None
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    bins: list[Bin] = []


class WorstSample(Shown):
    id: str
    part: str = ""
    label: Any = ""
    predicted: Any = ""
    confidence: float | None = None
    loss: float | None = None


class TokenValue(Part):
    token: str
    value: float = 0.0


class Importance(Shown):
    """What an answer rests on: a value per token, or per channel and time step of `series`."""

    id: str
    label: Any = ""
    predicted: Any = ""
    confidence: float | None = None
    tokens: list[TokenValue] = []
    values: list[list[float]] = []
    map: str | None = None
