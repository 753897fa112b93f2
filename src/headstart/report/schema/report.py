"""The whole of report.json."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from headstart.report.schema.answers import (
    Calibration,
    ClassRow,
    ConfusedPair,
    Confusion,
    Importance,
    Slices,
    WorstSample,
)
from headstart.report.schema.evidence import (
    BlendPart,
    Candidate,
    FallbackPart,
    FindingRow,
    Forgetting,
    Guard,
    LearningCurve,
    Screen,
)
from headstart.report.schema.given import (
    DataPart,
    ModelPart,
    StrategyPart,
    TaskPart,
)
from headstart.report.schema.part import Estimate, Part, Remark
from headstart.report.schema.runs import Cost, OverSeeds, Pretraining
from headstart.report.schema.tasks import Sharing, TaskRow, Tradeoff

SCHEMA = 1


class Report(Part):
    """The whole of report.json."""

    kind: str = "fit"
    pretraining: Pretraining = Pretraining()
    adaptation: dict[str, Any] = {}
    schema_version: int = Field(SCHEMA, alias="schema")
    name: str = ""
    status: str = "unfinished"
    created: str = ""
    task: TaskPart = TaskPart()
    tasks: list[TaskRow] = []
    sharing: Sharing = Sharing()
    tradeoff: Tradeoff | None = None
    data: DataPart = DataPart()
    model: ModelPart = ModelPart()
    strategy: StrategyPart = StrategyPart()
    metric: str = ""
    metrics: dict[str, dict[str, Estimate]] = {}
    per_class: list[ClassRow] = []
    confusion: Confusion | None = None
    confused: list[ConfusedPair] = []
    calibration: Calibration | None = None
    findings: list[FindingRow] = []
    curve: LearningCurve | None = None
    tuned_curve: LearningCurve | None = None
    slices: Slices | None = None
    forgetting: Forgetting | None = None
    worst: list[WorstSample] = []
    importance: list[Importance] = []
    baselines: dict[str, dict[str, dict[str, Estimate]]] = {}
    raw_features_name: str = ""
    guard: Guard | None = None
    fallback: FallbackPart | None = None
    blend: BlendPart | None = None
    tried: list[Candidate] = []
    screen: Screen | None = None
    cost: Cost = Cost()
    seeds: list[int] = []
    over_seeds: OverSeeds | None = None
    split_seed: int | None = None
    options: dict[str, Any] = {}
    versions: dict[str, str] = {}
    notes: list[Remark] = []

    @property
    def part(self) -> str | None:
        """The part that headline numbers come from: test, else validation, else none."""
        return next((p for p in ("test", "validation") if self.metrics.get(p)), None)

    @property
    def deciding(self) -> str:
        """The metric that decides; where the run does not say, the usual one of its kind of task."""
        usual = {"single-label": "accuracy", "multi-label": "map", "regression": "mae"}
        return self.metric or usual.get(self.task.kind, "accuracy")
