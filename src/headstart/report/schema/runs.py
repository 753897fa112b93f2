"""What a run cost, and what several of them gave."""

from __future__ import annotations

from headstart.report.schema.part import Part


class Parameters(Part):
    total: int | None = None
    trained: int | None = None


class Cost(Part):
    seconds: float | None = None
    parts: dict[str, float] = {}
    peak_memory_mb: float | None = None
    parameters: Parameters = Parameters()
    device: str = ""
    threads: int | None = None


class SeedRun(Part):
    """One of several fits that differ in their seed: the deciding metric, where it has one."""

    seed: int = 0
    run: str = ""
    strategy: str = ""
    validation: float | None = None
    test: float | None = None
    held_out: float | None = None
    seconds: float | None = None


class Spread(Part):
    """A metric over seeds; the interval is of the mean, and of seeds only."""

    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None


class SeedGap(Part):
    """How much better than a baseline over seeds and samples, and the standard errors from both."""

    baseline: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    seed_error: float | None = None
    sample_error: float | None = None


class OverSeeds(Part):
    """What several seeds say; `best` is the one that is handed back."""

    part: str = "test"
    best: int = 0
    runs: list[SeedRun] = []
    metrics: dict[str, dict[str, Spread]] = {}
    gaps: list[SeedGap] = []


class Pretraining(Part):
    """Of a run without labels: what it learned, and its metric on held-out data after the first epoch and at best."""

    objective: str = ""
    trained_on: str = ""
    first: float | None = None
    best: float | None = None
    epochs: int | None = None
