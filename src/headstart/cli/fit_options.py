"""The options of `fit` as they are typed: a table from which the command's parameters are made.

The names are the fields of `headstart.verbs.options.FitOptions`, which checks the values; nothing of it is
imported here, so that `--help` stays quick. A test keeps the two in step.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import typer

DATA, MODEL, STRATEGY, TASKS, RUN = "Data", "Model", "Strategy", "Several tasks", "Run"


@dataclass(frozen=True)
class Row:
    """One option: the field's name, its panel of the help, a word for its value, its help and its default.

    `kind` is the Python type that typing must give; text is passed on as it is and checked by the verb.
    """

    name: str
    panel: str
    metavar: str
    help: str
    default: str = ""
    kind: type = str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


ROWS = (
    Row("image", DATA, "COLUMN", "Column of image paths (tables)."),
    Row("label", DATA, "COLUMN", "Label column (tables)."),
    Row("text", DATA, "A[,B]", "Column of texts, or two for pairs (tables)."),
    Row("series", DATA, "A,B,...", "Columns that are a series' channels (long tables)."),
    Row("id", DATA, "COLUMN", "Which series a row belongs to (long tables)."),
    Row("time", DATA, "COLUMN", "Time of a row within its series (long tables)."),
    Row("window", DATA, "LENGTH", "Cut recordings into windows: 2s, 500ms, 128 (steps)."),
    Row("stride", DATA, "LENGTH", "From window to window.", "the window"),
    Row("labels", DATA, "A,B,...", "Several label columns."),
    Row("task", DATA, "KIND", "single-label, multi-label or regression.", "auto"),
    Row("modality", DATA, "KIND", "What the samples are: image, text or sequence.", "found out"),
    Row("valid", DATA, "PATH", "Data given for validation."),
    Row("test", DATA, "PATH", "Data given for the test; read once, at the end."),
    Row("group", DATA, "COLUMN", "Column whose values never stand on two sides of a split."),
    Row("split_by", DATA, "COLUMN", "Column of times: the latest are the test."),
    Row("split_seed", DATA, "N", "Seed of the split; --seed never moves it.", "0", int),
    Row("train_size", DATA, "N", "Labelled samples used, validation included.", "all", int),
    Row("bad_samples", DATA, "POLICY", "Unreadable samples: skip (up to a limit) or refuse.", "skip"),
    Row("model", MODEL, "REF", "sample:…, timm:…, hf:…, file:…, run:… ; auto, or A,B,C: the best.", "small"),
    Row("arch", MODEL, "NAME", "Architecture of a file: (a timm name), or key=value,... of scratch:gru and its like."),
    Row("image_size", MODEL, "PX", "Edge in pixels, or auto: the smallest size that pays.", "auto"),
    Row("max_length", MODEL, "TOKENS", "Most tokens of a text, or auto: what most texts need.", "auto"),
    Row("long", MODEL, "HOW", "Longer texts: truncate, or windows and their average.", "truncate"),
    Row("pooling", MODEL, "HOW", "Positions to one vector: cls, mean, max, last, concat, attention.", "auto"),
    Row("vocabulary", MODEL, "HOW", "Of a run: network that reads words: keep, extend, rebuild.", "auto"),
    Row("stage", MODEL, "NAME", "Where the network ends: auto, last or a stage.", "auto"),
    Row("strategy", STRATEGY, "NAME", "See `headstart methods --kind strategy`.", "auto"),
    Row("last_k", STRATEGY, "N", "Stages that `partial` trains.", "2", int),
    Row("reinit", STRATEGY, "N", "Top stages of the network that start at random.", "0", int),
    Row("metric", STRATEGY, "NAME", "The metric that decides.", "auto"),
    Row("epochs", STRATEGY, "N", "Epochs of training, at most.", "by strategy", int),
    Row("lr", STRATEGY, "RATE", "Learning rate, or auto, or find.", "auto"),
    Row(
        "layer_decay",
        STRATEGY,
        "X",
        "Factor of the rate from a stage to the one before.",
        "by strategy",
        float,
    ),
    Row("batch_size", STRATEGY, "N", "Samples in a batch, or auto.", "auto"),
    Row("accumulate", STRATEGY, "N", "Batches whose gradients make one step.", "1", int),
    Row("schedule", STRATEGY, "NAME", "cosine, one-cycle, slanted-triangular or constant.", "auto"),
    Row("warmup", STRATEGY, "SHARE", "Share of the steps in which the rate rises.", "by schedule", float),
    Row("weight_decay", STRATEGY, "X", "Decay of weights; norms and biases are spared.", "by strategy", float),
    Row("clip", STRATEGY, "NORM", "Largest gradient norm.", "by strategy", float),
    Row("label_smoothing", STRATEGY, "X", "Share of the target spread over all classes.", "by strategy", float),
    Row("class_weights", STRATEGY, "HOW", "none, or balanced where classes are unequal.", "auto"),
    Row("bn", STRATEGY, "HOW", "BatchNorm's statistics: freeze or adapt.", "auto"),
    Row("ema", STRATEGY, "", "Average the weights over the steps.", "if better", bool),
    Row("patience", STRATEGY, "N", "Epochs without improvement before stopping.", "by strategy", int),
    Row("views", STRATEGY, "N", "Views kept of each sample behind frozen stages, or fresh: none.", "auto"),
    Row("augment", STRATEGY, "HOW", "none, light or strong.", "auto"),
    Row("mixup", STRATEGY, "ALPHA", "Strength of mixup; 0 is off.", "0", float),
    Row("cutmix", STRATEGY, "ALPHA", "Strength of cutmix; 0 is off.", "0", float),
    Row(
        "budget",
        RUN,
        "TIME",
        "Time for the run: 90s, 30m, 2h; what does not fit is left out. `--guard full` and `--curve full` come on top.",
        "none",
    ),
    Row("curve", RUN, "OF", "Learning curve of the probe, or full: of fine-tuning, too.", "probe"),
    Row("guard", STRATEGY, "HOW", "Fall back on a better baseline: quick, full (with scratch) or off.", "quick"),
    Row("blend", STRATEGY, "", "Blend with a model without a network, where that pays.", "with auto", bool),
    Row("interpolate", STRATEGY, "", "Average weights with the probe's, where that pays.", "with auto", bool),
    Row("architecture", TASKS, "NAME", "How tasks share: `headstart methods --kind architecture`; mmoe:8.", "hard"),
    Row("balance", TASKS, "NAME", "How tasks count: see `headstart methods --kind balancing`; fixed:1,2,...", "equal"),
    Row("baselines", TASKS, "HOW", "What sharing is held against: quick (probes) or full (models too).", "quick"),
    Row("task_rule", TASKS, "RULE", "What validation decides by: mean, worst, or a task's name.", "mean"),
    Row("tradeoff", TASKS, "", "Draw what two or three tasks reach at other weights.", "no", bool),
    Row("sampling", TASKS, "HOW", "Of several data sets: proportion, equal, or a temperature.", "proportion"),
    Row("seed", RUN, "N", "Seed of everything but the split.", "0", int),
    Row("seeds", RUN, "K", "Fits, with seeds N, N + 1, ...; the best by validation is kept.", "1", int),
    Row("device", RUN, "NAME", "cpu, cuda or mps (untested).", "auto"),
    Row("precision", RUN, "NAME", "float32 or bfloat16.", "auto"),
    Row("engine", RUN, "NAME", "Runs the frozen network: torch, openvino, onnxruntime; auto measures.", "auto"),
    Row("out", RUN, "FOLDER", "The run folder.", "runs/NAME"),
    Row("examples", RUN, "", "Keep samples of the data out of the report.", "yes", bool),
)


TEXTS = tuple(row.name for row in ROWS if row.kind is str)
"""Options whose values are texts, also where YAML would read something else."""

WITHOUT_TRAINING = frozenset(
    [row.name for row in ROWS if row.panel == DATA]
    + ["image_size", "max_length", "long", "pooling", "stage", "metric", "seed", "device", "precision", "engine"]
)
"""Options of the verbs that only run frozen networks."""


def with_fit_options(command: Any, names: Collection[str] | None = None) -> Any:
    """Decorator: gives `command(..., **options)` a parameter for every row (of these), None where nothing was typed."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    rows = [_parameter(row) for row in ROWS if names is None or row.name in names]
    command.__signature__ = signature.replace(parameters=[*own, *rows])
    command.__annotations__ = {p.name: p.annotation for p in [*own, *rows]}
    return command


def without_training(command: Any) -> Any:
    """Decorator: `with_fit_options`, of those that mean something where nothing is trained."""
    return with_fit_options(command, WITHOUT_TRAINING)


def _parameter(row: Row) -> inspect.Parameter:
    flag = row.flag
    if row.kind is bool:
        # Where the default is yes, only the form that says no is worth a line of the help.
        flag = f"{'' if row.default == 'yes' else row.flag} /--no-{row.flag[2:]}"
    # "(yes)" beside the form that says no would mislead.
    shown = f" ({row.default})" if row.default and row.default != "yes" else ""
    option = typer.Option(
        None,
        flag,
        help=row.help + shown,
        metavar=row.metavar or None,
        show_default=False,
        rich_help_panel=row.panel,
    )
    kind: Any = row.kind | None
    return inspect.Parameter(row.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind)


def typed(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were typed, with columns such as those of `--labels a,b` taken apart."""
    given = {name: value for name, value in options.items() if value is not None}
    for name in ("labels", "text", "series"):
        if name in given:
            given[name] = columns(given[name])
    return given


def columns(text: str) -> tuple[str, ...]:
    """Column names out of a comma-separated list.

    >>> columns("age, smiling")
    ('age', 'smiling')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())
