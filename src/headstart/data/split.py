"""Splits: what is trained on, what decides, and what is read once at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from headstart.core.errors import DataError
from headstart.core.notes import Notes
from headstart.core.seeding import derive
from headstart.core.words import listed
from headstart.data.dataset import Dataset
from headstart.data.duplicates import Copies, find_copies, join
from headstart.data.holdout import Pool, as_folds, fold_numbers, hold_out
from headstart.data.remarks import note_classes, note_copies, note_torn
from headstart.data.schema import Task, missing
from headstart.data.stratify import indicators, nested_order


@dataclass(frozen=True)
class SplitOptions:
    """How to split.

    Attributes
    ----------
    test_fraction
        Share of the labelled samples for the test where no test part is given; 0 for no test part.
    validation_fraction
        Share of the remaining samples held out for validation where none is given.
    few
        Below this many labelled samples (train and validation) there is no validation part but folds.
    folds
        How many.
    seed
        The only seed that moves a split.
    train_size
        Labelled samples used for training and validation; a smaller number uses a subset of a larger one's.
    by_time
        Hold out the latest samples (the data need times) instead of a random stratified part.
    """

    test_fraction: float = 0.2
    validation_fraction: float = 0.15
    few: int = 1000
    folds: int = 5
    seed: int = 0
    train_size: int | None = None
    by_time: bool = False


@dataclass
class Splits:
    """Positions in a data set.

    Attributes
    ----------
    train
        Samples to train on (without those of `validation`).
    validation, test
        Held out; None where there is no such part.
    folds, halves
        (fit, held out) pairs over `train`: five (or as asked), and two. A sample of a class that would
        otherwise vanish from training is never held out, so held-out parts need not cover `train`.
    protocol
        "held-out": decisions use `validation`; "cross-validation": they use folds.
    notes
        What was decided, in words.
    copies
        Which samples of the whole data set show the same; None where a split was read from JSON.
    """

    train: np.ndarray
    validation: np.ndarray | None
    test: np.ndarray | None
    folds: list[tuple[np.ndarray, np.ndarray]]
    halves: list[tuple[np.ndarray, np.ndarray]]
    protocol: Literal["held-out", "cross-validation"]
    notes: Notes = field(default_factory=Notes)
    copies: Copies | None = None

    def as_json(self, dataset: Dataset) -> dict[str, Any]:
        """The split by ids, for `data.json`; `from_json` reads it."""

        def names(rows: np.ndarray | None) -> list[str] | None:
            return None if rows is None else [dataset.ids[i] for i in rows]

        return {
            "protocol": self.protocol,
            "train": names(self.train),
            "validation": names(self.validation),
            "test": names(self.test),
            "folds": _numbers(self.train, self.folds),
            "halves": _numbers(self.train, self.halves),
            "notes": self.notes.as_json(),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any], dataset: Dataset) -> Splits:
        """The split that `as_json` wrote, on the same data.

        Raises
        ------
        DataError
            If a sample of the split is no longer there.
        """
        place = {name: i for i, name in enumerate(dataset.ids)}

        def rows(part: str) -> np.ndarray | None:
            if content[part] is None:
                return None
            lost = [name for name in content[part] if name not in place]
            if lost:
                raise DataError(
                    f"{len(lost)} samples of the {part} part are not in {dataset.name} any more, such as {lost[0]!r}.",
                    "The data have changed since the run was started: start a new run.",
                )
            return np.array([place[name] for name in content[part]], dtype=np.int64)

        train = rows("train")
        assert train is not None
        return cls(
            train,
            rows("validation"),
            rows("test"),
            as_folds(train, np.array(content["folds"], dtype=np.int64)),
            as_folds(train, np.array(content["halves"], dtype=np.int64)),
            content["protocol"],
            Notes.from_json(content["notes"]),
        )


def make_splits(dataset: Dataset, options: SplitOptions | None = None) -> Splits:
    """Split a data set by the rules of the house.

    Parts that came with the data are respected, and a given test part is never altered: a copy of one of its
    pictures leaves training. Exact and near copies, and samples of one group, never stand on two sides.
    Samples without a label of any task are left out; every task counts in what is stratified. A task of which a given
    part has no labelled sample (of several data sets, one came without that part) gets a share of its own held out.

    Raises
    ------
    DataError
        If there are too few labelled samples, groups, classes or times to split.
    """
    return _Splitter(dataset, options or SplitOptions()).split()


class _Splitter:
    """The steps of `make_splits`."""

    def __init__(self, dataset: Dataset, options: SplitOptions) -> None:
        self.dataset = dataset
        self.options = options
        self.notes = Notes()
        self.tasks = dataset.schema.tasks
        self.labels = {task.name: dataset.labels(task.name) for task in self.tasks}
        self.have = {name: ~missing(labels) for name, labels in self.labels.items()}
        self.labelled = np.any([*self.have.values()], axis=0)
        self.copies = find_copies(dataset)
        self.blocks = _blocks(self.copies, dataset.groups)
        self.times = self._times()
        if dataset.groups is not None:
            count = len(np.unique(dataset.groups))
            self.notes.info("split", f"{count} groups; none stands on two sides of a split.")

    def split(self) -> Splits:
        options, given = self.options, self.dataset.given_parts
        note_copies(self.notes, self.copies)
        test = self._given("test")
        validation = self._given("validation")
        pool = np.flatnonzero(self.labelled & self._outside("test", "validation"))
        if test is None and options.test_fraction > 0:
            pool, test = self._hold_out(pool, options.test_fraction, "test")
        elif test is not None:
            pool, test = self._also_held_out(pool, test, options.test_fraction, "test")
        if validation is not None:
            pool, validation = self._also_held_out(pool, validation, options.validation_fraction, "validation")
        if test is not None:
            if validation is not None:
                validation = self._without_relatives(validation, test, "validation", "test")
            pool = self._without_relatives(pool, test, "training", "test")
        if validation is not None:
            pool = self._without_relatives(pool, validation, "training", "validation")
        pool, validation = self._limited(pool, validation)
        used = len(pool) + (0 if validation is None else len(validation))
        if validation is None and used >= options.few and options.validation_fraction > 0:
            pool, validation = self._hold_out(pool, options.validation_fraction, "validation")
            pool = self._without_relatives(pool, validation, "training", "validation")
        protocol: Literal["held-out", "cross-validation"]
        protocol = "cross-validation" if validation is None else "held-out"
        if protocol == "cross-validation":
            self.notes.info(
                "split",
                f"{used} labelled samples are fewer than {options.few}: folds decide, not a validation part.",
            )
        self._check_training(pool)
        learned = pool if validation is None else np.union1d(pool, validation)
        for task in self.tasks:
            note_torn(self.notes, self.copies, task, self.labels[task.name], learned, self.dataset.ids)
        folds, halves = self._folds(pool, options.folds), self._folds(pool, 2)
        if not folds:  # a probe's strength and stage are chosen by folds of the training part, whatever judges it
            raise DataError(
                f"{self.dataset.name} cannot be divided for cross-validation.",
                "Give more training samples (or more groups) of each class: two at least.",
            )
        parts = {"train": pool, "validation": validation, "test": test}
        for task in self.tasks:
            tables = {name: self._indicators(task, rows) for name, rows in parts.items() if rows is not None}
            note_classes(self.notes, task, tables, options.folds)
        if "train" not in given and "test" in given:
            self.notes.info("split", "The test part came with the data; everything else is for training.")
        return Splits(pool, validation, test, folds, halves, protocol, self.notes, self.copies)

    def _times(self) -> np.ndarray | None:
        if not self.options.by_time:
            return None
        if self.dataset.times is None:
            raise DataError("A split by time needs a column of times.", "Name it with split_by= (or --split-by).")
        return self.dataset.times

    def _outside(self, *parts: str) -> np.ndarray:
        mask = np.ones(len(self.dataset), bool)
        for part in parts:
            mask[self.dataset.given_parts.get(part, [])] = False
        return mask

    def _given(self, part: str) -> np.ndarray | None:
        rows = self.dataset.given_parts.get(part)
        if rows is None:
            return None
        known = rows[self.labelled[rows]]
        if len(known) < len(rows):
            self.notes.warn("labels", f"{len(rows) - len(known)} samples of the {part} part have no label: left out.")
        if not len(known):
            raise DataError(f"No sample of the given {part} part has a label.", "Give labels, or leave it out.")
        return known

    def _pool(self, rows: np.ndarray) -> Pool:
        times = None if self.times is None else self.times[rows]
        keep = any(task.kind != "regression" for task in self.tasks)
        return Pool(rows, self._strata(rows), self.blocks[rows], times, keep)

    def _strata(self, rows: np.ndarray) -> np.ndarray:
        """(n, strata) indicators of all tasks side by side; a sample is in no stratum of a task it has no label of."""
        return np.concatenate([self._indicators(task, rows) for task in self.tasks], axis=1)

    def _indicators(self, task: Task, rows: np.ndarray) -> np.ndarray:
        have = self.have[task.name][rows]
        found = indicators(task, self.labels[task.name][rows[have]])
        table = np.zeros((len(rows), found.shape[1]))
        table[have] = np.nan_to_num(found)
        return table

    def _also_held_out(
        self, pool: np.ndarray, given: np.ndarray, share: float, part: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """A share of the samples whose tasks a given part lacks altogether joins it."""
        lacking = [task.name for task in self.tasks if not self.have[task.name][given].any()]
        others = [task.name for task in self.tasks if task.name not in lacking]
        mine = np.any([self.have[name][pool] for name in lacking], axis=0) if lacking else np.zeros(len(pool), bool)
        for name in others:
            mine &= ~self.have[name][pool]
        if not mine.any() or share == 0:
            return pool, given
        rest, held = self._hold_out(pool[mine], share, part)
        return np.sort(np.concatenate([pool[~mine], rest])), np.sort(np.concatenate([given, held]))

    def _hold_out(self, rows: np.ndarray, share: float, part: str) -> tuple[np.ndarray, np.ndarray]:
        held = hold_out(self._pool(rows), share, derive(self.options.seed, part))
        if not held.any() or held.all():
            raise DataError(
                f"No {part} part can be held out of {len(rows)} labelled samples of {self.dataset.name}.",
                "Give more samples (or more groups, or more times) of each class, or a part of its own.",
            )
        how = "the latest by time" if self.times is not None else "stratified"
        self.notes.info("split", f"{held.sum()} of {len(rows)} samples are held out for the {part}, {how}.")
        return rows[~held], rows[held]

    def _without_relatives(self, rows: np.ndarray, others: np.ndarray, name: str, other: str) -> np.ndarray:
        """`rows` without copies and group members of `others`; says which left."""
        related = np.isin(self.blocks[rows], self.blocks[others])
        if not related.any():
            return rows
        ids = np.array(self.dataset.ids)
        copies = np.isin(self.copies.near[rows], self.copies.near[others])
        copied, grouped = rows[copies], rows[related & ~copies]
        if len(copied):
            text = f"{len(copied)} {name} samples are copies of {other} samples and leave the {name} part"
            self.notes.warn("duplicates", f"{text}: {listed(ids[copied])}.")
        if len(grouped):
            text = f"{len(grouped)} {name} samples are of a group (or chain of copies) that the {other} part has"
            self.notes.warn("split", f"{text}; they leave the {name} part: {listed(ids[grouped])}.")
        return rows[~related]

    def _limited(self, pool: np.ndarray, validation: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """At most `train_size` samples of training and validation together."""
        size = self.options.train_size
        rows = pool if validation is None else np.concatenate([pool, validation])
        if size is None or size >= len(rows):
            if size is not None and size > len(rows):
                self.notes.warn("split", f"{size} training samples were asked for; there are {len(rows)}.")
            return pool, validation
        order = nested_order(self._strata(rows), derive(self.options.seed, "train-size"))
        chosen = rows[order[:size]]
        self.notes.info("split", f"{size} of {len(rows)} samples are used, a stratified choice.")
        pool = pool[np.isin(pool, chosen)]
        if validation is None:
            return pool, None
        validation = validation[np.isin(validation, chosen)]
        return pool, validation if len(validation) else None

    def _folds(self, rows: np.ndarray, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return as_folds(rows, fold_numbers(self._pool(rows), count, derive(self.options.seed, "folds", count)))

    def _check_training(self, rows: np.ndarray) -> None:
        for task in self.tasks:
            known = self.labels[task.name][rows[self.have[task.name][rows]]]
            if len(np.unique(known, axis=0)) < 2:
                what = "values" if task.kind == "regression" else "classes"
                of = f" of {task.name!r}" if len(self.tasks) > 1 else ""
                raise DataError(
                    f"The training part of {self.dataset.name} ({len(rows)} samples) has fewer than two {what}{of}.",
                    "Give more data, or hold out less.",
                )


def _blocks(copies: Copies, groups: np.ndarray | None) -> np.ndarray:
    """What must stay together: copies, and samples of one group."""
    if groups is None:
        return copies.near
    _, numbers = np.unique(groups, return_inverse=True)
    numbers = numbers.reshape(-1)
    # Samples are chained through their copies and through their groups: number both kinds in one sequence.
    offset = int(copies.near.max()) + 1
    chained = join(np.arange(offset + int(numbers.max()) + 1), copies.near, numbers + offset)
    return chained[copies.near]


def _numbers(rows: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> list[int]:
    """Fold in which each sample of `rows` is held out, -1 for none."""
    numbers = np.full(len(rows), -1, dtype=np.int64)
    for fold, (_, held) in enumerate(folds):
        numbers[np.isin(rows, held)] = fold
    return numbers.tolist()
