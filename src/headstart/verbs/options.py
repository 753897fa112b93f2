"""The options of `fit`, checked at the border. Names are those of the command line with _ for -."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from headstart.core.errors import ConfigError, did_you_mean, near_names

Options = TypeVar("Options", bound=BaseModel)


class FitOptions(BaseModel):
    """Everything that a person can say about a run; the defaults are what the documentation calls the default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # data
    modality: Literal["image", "text", "sequence"] | None = None
    image: str | None = Field(None, description="column of image paths (tables)")
    text: tuple[str, ...] = Field((), max_length=2, description="column of texts (tables), or two columns for pairs")
    series: tuple[str, ...] = Field((), description="columns that are the channels of a series (long tables)")
    id: str | None = Field(None, description="column that says which series a row belongs to")
    time: str | None = Field(None, description="column of the time steps of a series")
    window: str | None = Field(None, description="length of the windows that recordings are cut into, such as 2s")
    stride: str | None = Field(None, description="from the start of one window to the next, such as 1s")
    label: str | None = Field(None, description="label column (tables)")
    labels: tuple[str, ...] = Field((), description="several label columns")
    task: Literal["auto", "single-label", "multi-label", "regression"] = "auto"
    valid: str | None = Field(None, description="a path; for objects: fit(load_data(data, valid=...))")
    test: str | None = Field(None, description="a path; for objects: fit(load_data(data, test=...))")
    group: str | None = Field(None, description="column whose values never stand on two sides of a split")
    split_by: str | None = Field(None, description="column of times: the latest are the test")
    split_seed: int = 0
    train_size: int | None = Field(None, ge=2, description="labelled samples used, validation included")
    bad_samples: Literal["skip", "refuse"] = "skip"

    # model
    model: str = Field("small", description="a model reference; auto, or several (A,B,C): the best of them")
    arch: str | None = Field(None, description="architecture of a file: reference")
    image_size: int | Literal["auto"] = "auto"
    max_length: Annotated[int, Field(ge=4, le=32768)] | Literal["auto"] = Field(
        "auto", description="most tokens of a text that enter at once"
    )
    long: Literal["truncate", "windows"] = Field("truncate", description="longer texts: cut off, or read in windows")
    pooling: Literal["auto", "cls", "mean", "max", "last", "concat", "attention"] = "auto"
    vocabulary: Literal["auto", "keep", "extend", "rebuild"] = Field(
        "auto", description="of an own network out of run: for texts: its own words, or those of these texts"
    )
    stage: str = Field("auto", description="auto, last, or the name of the stage where the network ends")

    # strategy
    strategy: str = "auto"
    reinit: int | None = Field(None, ge=0, description="top stages of the network that start at random")
    last_k: int = Field(2, ge=1, description="stages that `partial` trains")
    metric: str = Field("auto", description="the metric that decides")
    epochs: int | None = Field(None, ge=1)
    lr: Annotated[float, Field(gt=0)] | Literal["auto", "find"] = "auto"
    layer_decay: float | None = Field(None, gt=0, le=1, description="factor of the rate from a stage to the one before")
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    accumulate: int = Field(1, ge=1)
    schedule: Literal["auto", "cosine", "one-cycle", "slanted-triangular", "constant"] = "auto"
    warmup: float | None = Field(None, ge=0, lt=1, description="share of the steps")
    weight_decay: float | None = Field(None, ge=0)
    clip: float | None = Field(None, gt=0, description="largest gradient norm")
    label_smoothing: float | None = Field(None, ge=0, lt=1)
    class_weights: Literal["auto", "none", "balanced"] = "auto"
    bn: Literal["auto", "freeze", "adapt"] = "auto"
    ema: bool | None = None
    patience: int | None = Field(None, ge=1, description="epochs without improvement before stopping")
    views: Annotated[int, Field(ge=1)] | Literal["auto", "fresh"] = Field(
        "auto", description="views kept of each sample where first stages are frozen; fresh keeps none"
    )
    augment: Literal["auto", "none", "light", "strong"] = "auto"
    mixup: float = Field(0.0, ge=0, description="alpha of mixup; 0 is off")
    cutmix: float = Field(0.0, ge=0, description="alpha of cutmix; 0 is off")
    budget: float | None = Field(
        None,
        description="time for the run, such as 90s, 30m or 2h: what does not fit is left out; "
        "guard full and curve full come on top",
    )
    curve: Literal["probe", "full"] = Field("probe", description="learning curve of the probe, or of fine-tuning, too")
    guard: Literal["quick", "full", "off"] = Field(
        "quick", description="baselines that the model is held against: full trains one from random weights, too"
    )
    blend: bool | None = Field(
        None, description="let a linear model without a network have a say where that pays; not said: with auto"
    )
    interpolate: bool | None = Field(
        None, description="average the weights with the probe's where that pays; not said: with auto"
    )

    # several tasks
    architecture: str = Field(
        "hard",
        description="how tasks share the network: `headstart methods --kind architecture`; branching:STAGE, mmoe:8",
    )
    balance: str = Field("equal", description="how tasks count: `headstart methods --kind balancing`, or fixed:1,2,...")
    baselines: Literal["quick", "full"] = Field(
        "quick", description="what sharing is held against: each task's probe, or a fine-tuned model of its own, too"
    )
    task_rule: str = Field("mean", description="what choices on validation follow: mean, worst, or a task's name")
    tradeoff: bool = Field(False, description="draw what two or three tasks reach at other weights")
    sampling: Annotated[float, Field(gt=0)] | Literal["proportion", "equal"] = Field(
        "proportion", description="of several data sets: proportion, equal, or a temperature"
    )

    # run
    seed: int = 0
    seeds: int = Field(1, ge=1, description="how often to fit, with seed, seed + 1, ... on the same split")
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    engine: str = Field("auto", description="what runs the frozen network: auto, or `headstart methods --kind engine`")
    out: Path | None = None
    examples: bool = Field(True, description="show the user's samples in the report")

    @field_validator("valid", "test", mode="before")
    @classmethod
    def _path(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    @field_validator("labels", "text", "series", mode="before")
    @classmethod
    def _columns(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value

    @field_validator("window", "stride", mode="before")
    @classmethod
    def _steps(cls, value: object) -> object:
        return steps_as_text(value)

    @field_validator("budget", mode="before")
    @classmethod
    def _time(cls, value: object) -> object:
        seconds = duration(value) if isinstance(value, str) else value
        if isinstance(seconds, int | float) and not seconds > 0:
            raise ValueError("must be more than nothing")
        return seconds

    @field_validator("image_size")
    @classmethod
    def _size(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 8 <= value <= 2048:
            raise ValueError("must be between 8 and 2048, or auto")
        return value


class PretrainOptions(BaseModel):
    """Everything that a person can say about a pretraining."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    modality: Literal["text", "sequence"] | None = None
    text: tuple[str, ...] = Field((), max_length=2, description="column of texts (tables), or two columns")
    series: tuple[str, ...] = Field((), description="columns that are the channels of a series (long tables)")
    id: str | None = None
    time: str | None = None
    window: str | None = None
    stride: str | None = None
    model: str = Field(description="a model reference, such as scratch:awd-lstm or sample:all-minilm-l6-v2")
    arch: str | None = None
    max_length: Annotated[int, Field(ge=4, le=32768)] | None = None
    pooling: Literal["auto", "cls", "mean", "max", "last", "concat", "attention"] = "auto"
    vocabulary: Literal["auto", "keep", "extend", "rebuild"] = "auto"
    epochs: int | None = Field(None, ge=1)
    lr: float | None = Field(None, gt=0)
    layer_decay: float | None = Field(None, gt=0, le=1)
    batch_size: int | None = Field(None, ge=1)
    schedule: Literal["cosine", "one-cycle", "slanted-triangular", "constant"] | None = None
    warmup: float | None = Field(None, ge=0, lt=1)
    weight_decay: float | None = Field(None, ge=0)
    clip: float | None = Field(None, gt=0)
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    out: Path | None = None

    @field_validator("text", "series", mode="before")
    @classmethod
    def _columns(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value

    @field_validator("window", "stride", mode="before")
    @classmethod
    def _steps(cls, value: object) -> object:
        return steps_as_text(value)

    def columns(self, modality: str) -> tuple[str, ...]:
        """Where the samples stand in a table."""
        return self.text if modality == "text" else self.series

    def reading(self) -> dict[str, str]:
        """How a long table is cut into series."""
        return {k: v for k in ("id", "time", "window", "stride") if (v := getattr(self, k)) is not None}


def steps_as_text(value: object) -> object:
    """A number of steps as people type it: windows are texts, since "2s" is one, too."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def duration(text: str) -> float:
    """Seconds out of "90s", "30m", "1h30m"; a plain number is seconds.

    >>> duration("1h30m"), duration("45")
    (5400.0, 45.0)

    Raises
    ------
    ValueError
        When it is none.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    if not parts or "".join(f"{n}{u}" for n, u in parts) != re.sub(r"\s", "", text.lower()):
        raise ValueError("must be a time, such as 90s, 30m or 2h")
    return sum(float(n) * _UNITS[u or "s"] for n, u in parts)


def make_options(given: dict[str, Any]) -> FitOptions:
    """Check what was given to `fit`; see `check_options`."""
    return check_options(FitOptions, given, "fit")


def make_pretrain_options(given: dict[str, Any]) -> PretrainOptions:
    """Check what was given to `pretrain`; see `check_options`."""
    return check_options(PretrainOptions, given, "pretrain")


def check_options(kind: type[Options], given: dict[str, Any], verb: str) -> Options:
    """Check what was given.

    Raises
    ------
    ConfigError
        For an unknown key (with near keys) or a value out of range, one message for the first fault.
    """
    for key in given:
        if key not in kind.model_fields:
            raise ConfigError(f"Unknown option {key!r}.", did_you_mean(key, kind.model_fields))
    try:
        return kind(**given)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        # An option that takes a number or a word has one fault for each.
        faults = dict.fromkeys(_plainly(e) for e in error.errors() if e["loc"][0] == key)
        value = given[key]
        words = [w for e in error.errors() if e["loc"][0] == key for w in _words(e)]
        near = did_you_mean(value, words) if isinstance(value, str) and near_names(value, words) else ""
        hint = near or kind.model_fields[key].description or f"`headstart {verb} --help` lists the options."
        raise ConfigError(f"Option {key!r} cannot be {value!r}: it must be {' or '.join(faults)}.", hint) from None


def _plainly(error: Any) -> str:
    """What must be, in words."""
    plain = {"int_parsing": "a whole number", "int_type": "a whole number", "int_from_float": "a whole number"}
    plain |= {"float_parsing": "a number", "float_type": "a number", "finite_number": "a finite number"}
    plain |= {"bool_parsing": "yes or no", "string_type": "a text"}
    if error["type"] in plain:
        return plain[error["type"]]
    starts = ("Value error, must be ", "Value error, ", "Input should be ")
    return next((error["msg"].removeprefix(s) for s in starts if error["msg"].startswith(s)), error["msg"])


def _words(error: Any) -> list[str]:
    """The words that an option takes."""
    return re.findall(r"'([^']+)'", error["ctx"]["expected"]) if error["type"] == "literal_error" else []
