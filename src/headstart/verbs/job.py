"""What the steps of a fit share: options, data and its split, the device, notes, and where results are kept."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.errors import ConfigError, did_you_mean
from headstart.core.notes import Notes
from headstart.data import Dataset, LoadOptions, SplitOptions, Splits, Task, load_data, make_splits
from headstart.data.augment import Augmentation
from headstart.data.schema import missing
from headstart.data.stratify import indicators, nested_order
from headstart.features.cache import engines_dir, limit
from headstart.features.engines import Engines
from headstart.features.extract import Place, extract
from headstart.features.probe import fold_numbers
from headstart.features.screen import MOST_SAMPLES
from headstart.measure import Metric, find_metric, metrics_for
from headstart.models.backbone import Backbone
from headstart.models.opening import open_model
from headstart.models.wanted import Text, Wanted
from headstart.store.runfolder import RunFolder
from headstart.train.precision import choose_precision, format_name
from headstart.train.reader import Reader
from headstart.verbs.modalities import Modality, modality_of
from headstart.verbs.options import FitOptions

SPEED = "speed"
"""Topic of notes about what made the run fast or slow: no matter of the data."""

MOST_KEPT = 2**28
"""Bytes of a network up to which a run keeps an untouched copy of it."""


@dataclass
class Job:
    """One fit in progress.

    Attributes
    ----------
    parts
        "train", "validation" and "test" where there are such parts, and "screen": at most 1,000 of train.
    folds, halves
        (train,) the fold, of five or of two, that holds a sample out; -1 for those never held out.
    module
        A backbone given in Python instead of a reference.
    dtype, training_dtype
        Number format of evaluation, and the one that training was measured to be faster in.
    """

    options: FitOptions
    modality: Modality
    folder: RunFolder
    dataset: Dataset
    splits: Splits
    task: Task
    metric: Metric
    parts: dict[str, Dataset]
    folds: Tensor
    halves: Tensor
    screened: np.ndarray
    device: torch.device
    dtype: torch.dtype
    module: Backbone | None = None
    notes: Notes = field(default_factory=Notes)
    seconds: dict[str, float] = field(default_factory=dict)
    engines: Engines = field(default_factory=Engines)
    training_dtype: torch.dtype = torch.float32
    _opened: dict[int | None, Backbone] = field(default_factory=dict)
    _frozen: dict[int | None, Backbone] = field(default_factory=dict)
    _features: dict[tuple[int, str, str, Place], Tensor] = field(default_factory=dict)

    # -- steps -----------------------------------------------------------------------------------------------------

    def step(self, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A durable step; its seconds and notes are kept with it, so that a resumed run has them too."""

        def timed() -> dict[str, Any]:
            start = time.monotonic()
            value = compute()
            return {"value": value, "seconds": time.monotonic() - start, "engines": list(self.engines.notes)}

        kept = self.folder.step(name, timed)
        self.seconds[name] = kept["seconds"]
        for text in kept["engines"]:
            self.notes.info(SPEED, text)
        return kept["value"]

    def settle_precision(self, name: str, measure: Callable[[], tuple[torch.dtype, str]]) -> str:
        """Measure in which number format the strategy trains faster here; a resumed run goes on in the same.

        Returns why.
        """

        self.training_dtype, why = settled_precision(
            self.folder, f"{name}-precision", self.options.precision, self.dtype, measure
        )
        return why

    def precision_of(self, name: str) -> str:
        """The number format that a strategy was trained in; that of evaluation where nothing was."""
        step = f"{name}-precision"
        if self.folder.has_step(step):
            return self.folder.step(step, dict)["dtype"]
        return format_name(self.dtype)

    # -- labels ----------------------------------------------------------------------------------------------------

    def labels(self, part: str) -> np.ndarray:
        return self.parts[part].labels(self.task.name)

    @property
    def few(self) -> bool:
        """Whether decisions use folds of the training part instead of a validation part."""
        return self.splits.protocol == "cross-validation"

    @property
    def balanced(self) -> bool:
        """Whether classes are weighted to count the same: as asked, or where the deciding metric treats them so."""
        asked = self.options.class_weights
        return asked == "balanced" or (asked == "auto" and self.metric.name in ("balanced_accuracy", "macro_f1"))

    # -- networks --------------------------------------------------------------------------------------------------

    def with_network(self, options: FitOptions, **changes: Any) -> Job:
        """The same data and split with the network that other options name: nothing of this one's is kept."""
        return replace(self, options=options, _opened={}, _frozen={}, _features={}, **changes)

    def open(self, size: int | None, end_at: str | None = None) -> Backbone:
        """The run's network, fresh, for inputs of that size (None: the network's own)."""
        backbone = self._copy_of(size)
        if end_at is not None:
            backbone.end_at(end_at)
        if backbone.family == "cnn":
            backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return backbone.to(self.device)

    def frozen(self, size: int | None) -> Backbone:
        """The run's network for passes that leave it as it is: one for all of them, where it is small."""
        if size in self._frozen:
            return self._frozen[size]
        backbone = self.open(size)
        if sum(p.nbytes for p in backbone.parameters()) <= MOST_KEPT:
            self._frozen[size] = backbone
        return backbone

    @property
    def asked_size(self) -> int | None:
        """The only size that pictures will have, where the user named one; None is the network's own."""
        asked = self.options.image_size
        return None if self.modality.name != "image" or asked == "auto" else asked

    def _copy_of(self, size: int | None) -> Backbone:
        """A copy of the network as it was opened; one that is large is opened anew, to have it in memory once."""
        if self.module is not None:
            return copy.deepcopy(self.module)
        if size in self._opened:
            return copy.deepcopy(self._opened[size])
        backbone = open_model(self.options.model, self._wanted(size))
        if sum(p.nbytes for p in backbone.parameters()) > MOST_KEPT:
            return backbone
        self._opened[size] = backbone
        return copy.deepcopy(backbone)

    @property
    def pretrained(self) -> bool:
        """Whether the network starts from weights that somebody trained."""
        return not self.options.model.startswith("scratch:")

    def _wanted(self, size: int | None) -> Wanted:
        schema, options = self.dataset.schema, self.options
        mean, std = self.channel_statistics if schema.modality == "sequence" else ((), ())
        return Wanted(
            size,
            schema.channels or 3,
            options.seed,
            options.arch,
            schema.modality,
            options.pooling,
            options.long,
            mean,
            std,
            corpus=self._corpus if schema.modality == "text" else None,
            vocabulary=options.vocabulary,
        )

    @cached_property
    def channel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of a series' channels over the training part."""
        from headstart.data.series import channel_statistics as statistics_of

        return statistics_of(self.parts["train"])

    def _corpus(self) -> Iterator[Text]:
        """The training texts."""
        train = self.parts["train"]
        return (train.read(i).inputs for i in range(len(train)))

    def features(self, size: int, part: str, places: Sequence[Place], view: str = "plain") -> dict[Place, Tensor]:
        """Features of the untrained network at these places; computed once while the process lives."""
        todo = [p for p in places if (size, part, view, p) not in self._features]
        if todo:
            backbone = self.frozen(size) if view == "plain" else self.open(size)
            if view == "mirror":
                backbone.augmentations = {"mirror": Augmentation(flip=1.0)}
            found = extract(backbone, self.reader_once(backbone), part, todo, view, self.engines, self.samples)
            self._features.update({(size, part, view, place): x for place, x in found.items()})
        return {p: self._features[size, part, view, p] for p in places}

    @property
    def samples(self) -> int:
        """Of all parts: how often the frozen network is run in the end."""
        return sum(len(data) for name, data in self.parts.items() if name != "screen")

    def reader_once(self, backbone: Backbone) -> Reader:
        """A reader for one pass: pictures are not kept in memory (tokens are: their lengths are asked for first)."""
        return Reader(self.parts, backbone, self.options.seed, None if backbone.by_length else 0)

    def reader(self, backbone: Backbone, parts: dict[str, Dataset] | None = None) -> Reader:
        return Reader(parts or self.parts, backbone, self.options.seed)


def open_job(
    folder: RunFolder,
    options: FitOptions,
    data: Any,
    module: Backbone | None = None,
    split: SplitOptions | None = None,
    several: bool = False,
) -> Job:
    """Load and split the data (by the options, unless `split` is given) and settle everything that does not depend on
    measurements.

    With `several`, data may have several tasks; the job's own is the first (`headstart.verbs.tasks` has the others).
    `options.model` becomes the modality's default where none is named; of several, the first.

    Raises
    ------
    HeadstartError
        Whatever is wrong with data or options.
    """
    dataset = load_for(options, data)
    modality = modality_of(dataset.schema.modality)
    fields = type(options).model_fields
    modality.check({name for name in options.model_fields_set if getattr(options, name) != fields[name].default})
    if options.model in ("small", "auto"):
        options = options.model_copy(update={"model": modality.default_model})
    elif "," in options.model:
        options = options.model_copy(update={"model": options.model.split(",")[0].strip()})
    tasks = dataset.schema.tasks
    if len(tasks) != 1 and not several:
        names = ", ".join(t.name for t in tasks)
        raise ConfigError(
            f"Several tasks at once ({names}) are for `fit` only.",
            "Name one label column with --label; 0/1 columns together are one multi-label task (--task multi-label).",
        )
    task = tasks[0]
    metric = metric_of(task, options.metric, tasks)
    device = choose_device(options.device)
    splits = make_splits(dataset, split or split_options(options))
    parts = {"train": dataset.subset(splits.train)}
    if splits.validation is not None:
        parts["validation"] = dataset.subset(splits.validation)
    if splits.test is not None:
        parts["test"] = dataset.subset(splits.test)
    folds = _assignment(splits.train, splits.folds)
    screened = screened_of(parts["train"], task, options)
    parts["screen"] = parts["train"].subset(screened)
    notes = Notes()
    notes.extend(dataset.notes)
    notes.extend(splits.notes)
    return Job(
        options=options,
        modality=modality,
        folder=folder,
        dataset=dataset,
        splits=splits,
        task=task,
        metric=metric,
        parts=parts,
        folds=folds,
        halves=_assignment(splits.train, splits.halves),
        screened=screened,
        device=device,
        dtype=choose_precision(options.precision, device),
        module=module,
        notes=notes,
        engines=open_engines(options),
    )


def metric_of(task: Task, asked: str, tasks: Sequence[Task]) -> Metric:
    """The metric that decides for a task: as asked, or its kind's where another of the tasks has the one asked for."""
    others = any(asked in metrics_for(other.kind) for other in tasks)
    return find_metric(task.kind, "auto" if asked not in metrics_for(task.kind) and others else asked)


def screened_of(train: Dataset, task: Task, options: FitOptions) -> np.ndarray:
    """Positions of the at most 1,000 labelled samples on which stages are screened."""
    labels = train.labels(task.name)
    labelled = np.flatnonzero(~missing(labels))
    return np.sort(labelled[nested_order(indicators(task, labels[labelled]), options.split_seed)[:MOST_SAMPLES]])


def open_engines(options: FitOptions) -> Engines:
    """What runs frozen networks; a choice that was measured is kept as long as features are."""
    dtype = None if options.precision == "auto" else getattr(torch, options.precision)
    return Engines(options.engine, dtype, engines_dir() if limit() else None)


def load_for(options: FitOptions, data: Any) -> Dataset:
    """The data that options describe.

    Raises
    ------
    ConfigError
        For options of reading beside data that are read already (their times, if any, are those to split by).
    """
    loaded = isinstance(data, Dataset)
    return load_data(
        data,
        LoadOptions(
            modality=options.modality,
            image=options.image,
            text=options.text,
            series=options.series,
            id=options.id,
            time=options.time,
            window=options.window,
            stride=options.stride,
            label=options.label,
            labels=options.labels,
            task=options.task,
            group=options.group,
            split_by=None if loaded else options.split_by,
            valid=options.valid,
            test=options.test,
            bad_samples=options.bad_samples,
        ),
    )


def split_options(options: FitOptions) -> SplitOptions:
    return SplitOptions(seed=options.split_seed, train_size=options.train_size, by_time=options.split_by is not None)


def _assignment(train: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> Tensor:
    place = {int(row): i for i, row in enumerate(train)}
    return fold_numbers(len(train), [(fit, np.array([place[int(r)] for r in held])) for fit, held in folds])


def settled_precision(
    folder: RunFolder, step: str, asked: str, dtype: torch.dtype, measure: Callable[[], tuple[torch.dtype, str]]
) -> tuple[torch.dtype, str]:
    """The number format of a training and why: measured where it was not asked for, once for a run and its resuming."""

    def settle() -> dict[str, str]:
        found, why = measure() if asked == "auto" else (dtype, "")
        return {"dtype": format_name(found), "why": why}

    kept = folder.step(step, settle)
    return getattr(torch, kept["dtype"]), kept["why"]


DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(asked: str) -> torch.device:
    """The device asked for; "auto" is CUDA where there is one, else the CPU (Apple's MPS is opt-in and untested).

    Raises
    ------
    ConfigError
        When it is not there, or is none.
    """
    if asked not in DEVICES:
        raise ConfigError(f"There is no device {asked!r}.", did_you_mean(asked, DEVICES))
    cuda = torch.cuda.is_available()
    if asked == "cuda" and not cuda:
        raise ConfigError("There is no CUDA device here.", "Use --device cpu; `headstart doctor` says what torch sees.")
    if asked == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("There is no MPS device here.", "Use --device cpu.")
    return torch.device("cuda" if asked == "auto" and cuda else "cpu" if asked == "auto" else asked)
