"""Splits: shares, strata, groups, time, copies, given parts, rare classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstart.core.errors import DataError
from headstart.data.dataset import Content, Dataset
from headstart.data.load import load_data
from headstart.data.picture_sources import ArraySource
from headstart.data.schema import MISSING, Schema, Task
from headstart.data.split import SplitOptions, Splits, make_splits
from headstart.data.stratify import divide, indicators, nested_order


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, 4, 4, 1), dtype=np.uint8)


def dataset(labels: Sequence | np.ndarray, x: np.ndarray | None = None, **content) -> Dataset:
    labels = np.asarray(labels)
    if labels.ndim == 2:
        task = Task("y", "multi-label", tuple(map(str, range(labels.shape[1]))))
    elif labels.dtype.kind == "f":
        task = Task("y", "regression")
    else:
        task = Task("y", "single-label", tuple(map(str, range(int(labels.max()) + 1))))
    x = pictures(len(labels)) if x is None else x
    ids = [f"s{i}" for i in range(len(labels))]
    return Dataset("made", Schema("image", (task,), channels=1), Content(ArraySource(x), ids, {"y": labels}, **content))


def texts(splits: Splits) -> str:
    return "\n".join(note.text for note in splits.notes.items)


def everything(splits: Splits) -> np.ndarray:
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    return np.concatenate(parts)


def check_folds(splits: Splits) -> None:
    for folds in (splits.folds, splits.halves):
        held = np.concatenate([h for _, h in folds])
        assert len(set(held)) == len(held)
        for fit, out in folds:
            assert sorted([*fit, *out]) == sorted(splits.train)


def test_many_samples_have_a_validation_part_and_exact_shares() -> None:
    labels = np.arange(2000) % 4
    splits = make_splits(dataset(labels))
    assert splits.protocol == "held-out"
    for part, share in ((splits.test, 0.2), (splits.validation, 0.8 * 0.15), (splits.train, 0.8 * 0.85)):
        assert np.bincount(labels[part]).tolist() == [round(500 * share)] * 4
    assert sorted(everything(splits)) == list(range(2000))
    assert [len(held) for _, held in splits.folds] == [272] * 5
    check_folds(splits)


def test_few_samples_have_folds_and_no_validation_part() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    splits = make_splits(dataset(labels))
    assert splits.protocol == "cross-validation"
    assert splits.validation is None
    assert np.bincount(labels[splits.test]).tolist() == [12, 6, 2]
    for _, held in splits.folds:
        assert (np.abs(np.bincount(labels[held], minlength=3) - [9.6, 4.8, 1.6]) < 1).all()
    check_folds(splits)


def test_only_the_split_seed_moves_a_split() -> None:
    data = dataset(np.arange(300) % 3)
    one, same, other = (make_splits(data, SplitOptions(seed=seed)) for seed in (0, 0, 1))
    assert one.as_json(data) == same.as_json(data)
    assert set(one.test) != set(other.test)


def test_smaller_training_sets_lie_in_larger_ones() -> None:
    labels = np.repeat([0, 1, 2, 3], [1200, 500, 290, 10])
    data = dataset(labels)
    used: set[int] = set()
    for size in (8, 50, 500, 1200, 1600):
        splits = make_splits(data, SplitOptions(train_size=size))
        now = set(splits.train) | set([] if splits.validation is None else splits.validation)
        assert len(now) == size
        assert used < now
        assert set(labels[splits.train]) == {0, 1, 2, 3}
        assert splits.protocol == ("held-out" if size >= 1000 else "cross-validation")
        assert not now & set(splits.test)
        used = now
    assert "there are 1600" in texts(make_splits(data, SplitOptions(train_size=9999)))


def test_json_gives_the_same_split_back() -> None:
    data = dataset(np.arange(90) % 3)
    splits = make_splits(data)
    content = splits.as_json(data)
    order = np.random.default_rng(0).permutation(90)
    again = Splits.from_json(content, data.subset(order))
    assert [data.subset(order).ids[i] for i in again.test] == content["test"]
    assert again.as_json(data.subset(order)) == content
    with pytest.raises(DataError, match="not in made any more"):
        Splits.from_json(content, data.subset(order[:50]))


@settings(max_examples=40, deadline=None)
@given(st.integers(12, 120), st.integers(2, 30), st.integers(0, 5), st.sampled_from([30, 1000]))
def test_groups_never_stand_on_two_sides(count: int, groups: int, seed: int, few: int) -> None:
    random = np.random.default_rng(seed)
    labels, names = random.integers(0, 2, count), random.integers(0, groups, count).astype(str)
    labels[:2] = 0, 1
    data = dataset(labels, groups=names)
    try:
        splits = make_splits(data, SplitOptions(few=few, seed=seed))
    except DataError:
        assert groups < 12 or count < 30
        return
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    sides = [set(names[part]) for part in parts]
    assert sum(map(len, sides)) == len(set.union(*sides))
    for fit, held in [*splits.folds, *splits.halves]:
        assert not set(names[fit]) & set(names[held])
        assert set(labels[fit]) == set(labels[splits.train])


def test_one_group_per_class_cannot_be_split() -> None:
    labels = np.arange(40) % 2
    with pytest.raises(DataError, match="No test part"):
        make_splits(dataset(labels, groups=labels.astype(str)))


def test_by_time_the_latest_are_held_out() -> None:
    times = np.random.default_rng(0).permutation(2000).astype(float)
    times[times == 0] = np.nan
    splits = make_splits(dataset(np.arange(2000) % 2, times=times), SplitOptions(by_time=True))
    assert len(splits.test) == 400
    assert times[splits.test].min() > times[splits.validation].max()
    assert times[splits.validation].min() > np.nanmax(times[splits.train])
    starts = [np.nanmin(times[held]) for _, held in splits.folds]
    ends = [np.nanmax(times[held]) for _, held in splits.folds]
    assert all(end < start for end, start in zip(ends[:-1], starts[1:], strict=True))
    with pytest.raises(DataError, match="column of times"):
        make_splits(dataset([0, 1] * 9), SplitOptions(by_time=True))
    with pytest.raises(DataError, match="No test part"):
        make_splits(dataset([0, 1] * 9, times=np.ones(18)), SplitOptions(by_time=True))


def test_equal_times_and_groups_across_time() -> None:
    times = np.repeat(np.arange(10.0), 10)
    splits = make_splits(dataset(np.arange(100) % 2, times=times), SplitOptions(by_time=True))
    assert set(times[splits.test]) == {8.0, 9.0}
    groups = np.array([f"g{i}" for i in range(100)])
    groups[[0, 99]] = "both"
    splits = make_splits(dataset(np.arange(100) % 2, times=times, groups=groups), SplitOptions(by_time=True))
    assert 99 in splits.test
    assert 0 not in splits.train
    assert "s0" in texts(splits)


def test_exact_copies_stay_on_one_side() -> None:
    x = pictures(60)
    x[10:20] = x[0]
    x[30] = x[40]
    splits = make_splits(dataset(np.arange(60) % 2, x=x))
    for side in (splits.train, splits.test):
        assert len(set(side) & {0, *range(10, 20)}) in (0, 11)
        assert len(set(side) & {30, 40}) in (0, 2)
    assert "11 samples are exact copies" in texts(splits)
    assert "exact copies with other labels" in texts(splits)


def test_a_given_test_part_is_never_altered() -> None:
    x = pictures(100)
    parts = np.where(np.arange(100) < 20, "test", np.where(np.arange(100) < 40, "validation", "train"))
    x[50], x[21] = x[3], x[4]
    x[60] = x[22]
    splits = make_splits(dataset(np.arange(100) % 2, x=x, parts=parts))
    assert splits.test.tolist() == list(range(20))
    assert splits.validation.tolist() == [i for i in range(20, 40) if i != 21]
    assert splits.train.tolist() == [i for i in range(40, 100) if i not in (50, 60)]
    assert splits.protocol == "held-out"
    for name in ("s50", "s21", "s60"):
        assert name in texts(splits)


def photographs(folder: Path) -> Path:
    random = np.random.default_rng(0)
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for i in range(10):
            blocks = random.integers(0, 255, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(blocks).resize((160, 120), Image.Resampling.BICUBIC).save(folder / label / f"{i}.png")
    return folder


def test_near_copies_of_photographs_stay_on_one_side(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
    photographs(tmp_path / "train")
    for label in "ab":
        (tmp_path / "test" / label).mkdir(parents=True)
        for i in range(3):
            image = Image.open(tmp_path / "train" / label / f"{i}.png").convert("RGB")
            image.resize((144, 108)).save(tmp_path / "test" / label / f"copy{i}.jpg", quality=60)
            image.crop((50, 40, 150, 110)).save(tmp_path / "test" / label / f"crop{i}.png")
    data = load_data(tmp_path)
    splits = make_splits(data)
    assert len(splits.test) == 12
    left = {f"train/{label}/{i}.png" for label in "ab" for i in range(3)}
    assert {data.ids[i] for i in data.given_parts["train"]} - {data.ids[i] for i in splits.train} == left
    assert "6 samples are near copies" in texts(splits)


def test_small_pictures_and_flat_ones_have_no_near_copies() -> None:
    x = np.zeros((40, 16, 16, 1), np.uint8)
    x[:, 0, 0, 0] = np.arange(40)
    assert "near" not in texts(make_splits(dataset(np.arange(40) % 2, x=x)))
    flat = np.zeros((40, 64, 64, 1), np.uint8) + np.arange(40, dtype=np.uint8)[:, None, None, None]
    assert "near" not in texts(make_splits(dataset(np.arange(40) % 2, x=flat)))


def test_rare_classes() -> None:
    labels = np.array([0] * 30 + [1] * 30 + [2] + [3] * 2)
    splits = make_splits(dataset(labels))
    assert 60 in splits.train
    assert "Classes of one sample: 2" in texts(splits)
    assert "Fewer samples than folds: 3" in texts(splits)
    for fit, held in [*splits.folds, *splits.halves]:
        assert 60 in fit
        assert 2 not in labels[held]
        assert set(labels[fit]) == set(labels[splits.train])


def test_a_class_only_in_test_stays_there_as_errors() -> None:
    labels = np.array([0, 1] * 20 + [2] * 3)
    parts = np.where(np.arange(43) < 30, "train", "test")
    splits = make_splits(dataset(labels, parts=parts))
    assert set(labels[splits.test]) == {0, 1, 2}
    assert "Not in the training part: 2" in texts(splits)


def test_unlabelled_rows_are_left_out() -> None:
    labels = np.array([0, 1] * 30)
    labels[::5] = MISSING
    splits = make_splits(dataset(labels))
    assert (labels[everything(splits)] != MISSING).all()
    assert len(everything(splits)) == 48
    parts = np.where(labels == MISSING, "test", "train")
    with pytest.raises(DataError, match="test part has a label"):
        make_splits(dataset(labels, parts=parts))


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 2, 3], [0, 0, 0, 0]])
def test_too_few_samples_are_one_clear_message(labels: list[int]) -> None:
    with pytest.raises(DataError, match=r"held out|divided|fewer than two"):
        make_splits(dataset(labels))


def test_numbers_are_stratified_by_quantiles() -> None:
    values = np.random.default_rng(0).exponential(size=1500).astype(np.float32)
    splits = make_splits(dataset(values))
    edges = np.quantile(values, np.linspace(0, 1, 11)[1:-1])
    for part in (splits.train, splits.validation, splits.test):
        shares = np.bincount(np.digitize(values[part], edges), minlength=10) / len(part)
        assert np.abs(shares - 0.1).max() < 0.01
    check_folds(splits)


def test_sets_of_classes_are_stratified() -> None:
    random = np.random.default_rng(0)
    labels = (random.random((1500, 4)) < [0.5, 0.2, 0.05, 0.01]).astype(np.float32)
    splits = make_splits(dataset(labels))
    totals = labels.sum(axis=0)
    for part in (splits.train, splits.validation, splits.test):
        assert np.abs(labels[part].sum(axis=0) - totals * len(part) / 1500).max() <= 2
    check_folds(splits)


def test_no_test_part_when_none_is_wanted() -> None:
    splits = make_splits(dataset(np.arange(50) % 2), SplitOptions(test_fraction=0))
    assert splits.test is None
    assert len(splits.train) == 50


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(2, 5), st.integers(0, 3))
def test_dividing_classes_meets_the_wanted_counts_within_one(labels: list[int], sides: int, seed: int) -> None:
    table = indicators(Task("y", "single-label", tuple("abcd")), np.array(labels))
    found = divide(table, np.arange(len(labels)), np.full(sides, 1 / sides), seed)
    for side in range(sides):
        assert (np.abs(table[found == side].sum(axis=0) - table.sum(axis=0) / sides) <= 1).all()
    assert sorted(nested_order(table, seed)) == list(range(len(labels)))


def test_a_validation_part_does_not_make_up_for_a_training_part_without_folds() -> None:
    data = dataset([0, 1, 2] * 3, parts=np.repeat(["train", "validation"], [3, 6]))
    with pytest.raises(DataError, match="cannot be divided for cross-validation"):
        make_splits(data, SplitOptions(test_fraction=0))
