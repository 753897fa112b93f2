"""report.json, schema 1, as the renderer reads it: anything may be absent, nothing may be of another kind.

The description for people is docs/run-folder.md. Unknown keys are ignored, so that a later writer of the same
schema may add some; a missing, null or not-a-number value takes the default here.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

SCHEMA = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class Estimate(_Part):
    """A value with its 95% interval; the interval may be missing."""

    value: float
    low: float | None = None
    high: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_number(cls, given: Any) -> Any:
        return {"value": given} if isinstance(given, int | float) else given


class Remark(_Part):
    """A note of the run: level "info" or "warning", topic, text."""

    level: str = "info"
    topic: str = ""
    text: str

    @model_validator(mode="before")
    @classmethod
    def _bare_text(cls, given: Any) -> Any:
        return {"text": given} if isinstance(given, str) else given


class FindingRow(_Part):
    """What an examination of the data found, and the samples it is about (ids), of `count` in all."""

    topic: str = ""
    level: str = "note"
    text: str
    todo: str = ""
    samples: list[str] = []
    count: int = 0


class CurvePoint(_Part):
    n: int
    value: float
    low: float | None = None
    high: float | None = None


class Gain(_Part):
    """How much the metric would improve with `more` labels, by the fitted curve."""

    more: int
    value: float
    low: float | None = None
    high: float | None = None


class LearningCurve(_Part):
    """A probe's metric against the number of labels; error = a n^-b + c."""

    metric: str = ""
    points: list[CurvePoint] = []
    law: dict[str, float] = {}
    gains: list[Gain] = []


class FallbackPart(_Part):
    """The baseline that was handed back instead of the network, and why."""

    to: str = ""
    text: str = ""


class BlendPart(_Part):
    """The share of a linear model without a network in the answers, and what it is called."""

    weight: float = 0.0
    beside: str = Field("", alias="with")


class Drift(_Part):
    """How far the pretrained classifier's answers have moved."""

    n: int = 0
    same: float
    divergence: float | None = None


class OnSource(_Part):
    """The metric on the held-out part of the run that the network came from."""

    run: str = ""
    part: str = ""
    n: int = 0
    metric: str = ""
    before: float
    after: float


class Forgetting(_Part):
    drift: Drift | None = None
    source: OnSource | None = None


class WeakSlice(_Part):
    """Samples on which the model does worse than on the rest; errors are shares, or mean losses."""

    name: str
    n: int
    errors: float
    rest: float
    difference: Estimate
    ids: list[str] = []


class Slices(_Part):
    outcome: str = "errors"
    part: str = ""
    tested: int = 0
    level: float = 0.95
    weak: list[WeakSlice] = []


class TaskPart(_Part):
    name: str = "label"
    kind: str = "single-label"
    classes: list[str] = []


class Curve(_Part):
    """A series to draw: values by channel (None where missing), and seconds between two of them."""

    values: list[list[float | None]]
    channels: list[str] = []
    period: float | None = None


class Shown(_Part):
    """A sample as it is shown, in one of three ways; in none where the run keeps no examples."""

    picture: str | None = None
    text: str | list[str] | None = None
    series: Curve | None = None


class Example(Shown):
    label: Any = ""
    id: str = ""


class Lengths(_Part):
    """Histogram of how long samples are, and how many are longer than what enters the network at once."""

    unit: str = ""
    edges: list[float]
    counts: list[int]
    limit: int | None = None
    truncated: int = 0
    lost_share: float | None = None
    long: str = "truncate"


class DataPart(_Part):
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


class Vocabulary(_Part):
    """Of a network that read other words before: tokens of its vocabulary, and how many brought their embedding."""

    shared: int
    total: int


class ModelPart(_Part):
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


class StrategyPart(_Part):
    name: str = ""
    network: str = ""
    asked: str = ""
    reasons: list[str] = []
    phases: list[dict[str, Any]] = []


class ClassRow(_Part):
    name: str = Field(alias="class")
    n: int = 0
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None


class Confusion(_Part):
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


class ConfusedPair(_Part):
    label: str
    predicted: str
    n: int = 0
    share: float | None = None
    ids: list[str] = []


class Bin(_Part):
    """Samples with a confidence from `low` to `high`: how many, mean confidence, share that is right."""

    low: float
    high: float
    n: int = 0
    confidence: float | None = None
    accuracy: float | None = None


class Calibration(_Part):
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


class TokenValue(_Part):
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


class Guard(_Part):
    verdict: str = ""
    gap: Estimate | None = None
    part: str | None = None
    compared_with: str = ""
    text: str = ""


class Candidate(_Part):
    name: str
    detail: str = ""
    validation: Estimate | None = None
    seconds: float | None = None
    chosen: bool = False
    why: str = ""


class ScreenRow(_Part):
    size: int | None = None
    stage: str
    grid: int | None = None
    dimensions: int | None = None
    score: float | None = None
    std: float | None = None


class Screen(_Part):
    metric: str = ""
    samples: int | None = None
    chosen: dict[str, Any] = {}
    rows: list[ScreenRow] = []


class Parameters(_Part):
    total: int | None = None
    trained: int | None = None


class Cost(_Part):
    seconds: float | None = None
    parts: dict[str, float] = {}
    peak_memory_mb: float | None = None
    parameters: Parameters = Parameters()
    device: str = ""
    threads: int | None = None


class SeedRun(_Part):
    """One of several fits that differ in their seed: the deciding metric, where it has one."""

    seed: int = 0
    run: str = ""
    strategy: str = ""
    validation: float | None = None
    test: float | None = None
    seconds: float | None = None


class Spread(_Part):
    """A metric over seeds; the interval is of the mean, and of seeds only."""

    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None


class SeedGap(_Part):
    """How much better than a baseline over seeds and samples, and the standard errors from both."""

    baseline: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    seed_error: float | None = None
    sample_error: float | None = None


class OverSeeds(_Part):
    """What several seeds say; `best` is the one that is handed back."""

    part: str = "test"
    best: int = 0
    runs: list[SeedRun] = []
    metrics: dict[str, dict[str, Spread]] = {}
    gaps: list[SeedGap] = []


class Pretraining(_Part):
    """Of a run without labels: what it learned, and its metric on held-out data after the first epoch and at best."""

    objective: str = ""
    trained_on: str = ""
    first: float | None = None
    best: float | None = None
    epochs: int | None = None


class TaskSharing(_Part):
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


class CosineRow(_Part):
    """Cosines between the tasks' gradients in an epoch; None where two tasks never met."""

    epoch: int
    matrix: list[list[float | None]]


class TradeoffPoint(_Part):
    """A short training: the shares of the tasks' weights, and the deciding metric of each on held-out data."""

    weights: dict[str, float]
    values: dict[str, float | None] = {}


class Tradeoff(_Part):
    """What tasks reach at other weights, and alone with the same budget."""

    part: str = "validation"
    after: str | None = None
    epochs: int | None = None
    samples: int | None = None
    held: int | None = None
    points: list[TradeoffPoint] = []
    alone: dict[str, float | None] = {}


class Sharing(_Part):
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


class Report(_Part):
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
