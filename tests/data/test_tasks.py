"""What kind of task a column of labels is, and its labels as numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.errors import DataError
from headstart.core.notes import Notes
from headstart.data.schema import MISSING, missing
from headstart.data.tasks import (
    check_variety,
    looks_binary,
    sort_classes,
    task_from_column,
    task_from_indicators,
)


def read(values, kind="auto", classes=None):
    return task_from_column("y", values, kind, Notes(), classes)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["cat", "dog", "cat"], "single-label"),
        ([True, False, True], "single-label"),
        ([0, 1, 2, 1] * 5, "single-label"),
        (np.arange(21) % 20, "single-label"),
        (np.arange(100), "regression"),
        (np.arange(1000) % 90, "single-label"),
        (np.arange(1000) % 110, "regression"),
        (np.linspace(0, 1, 11), "regression"),
        ([0.5, 1.0, 1.5, 2.0] * 20, "single-label"),
        ([["a"], ["a", "b"], []], "multi-label"),
        (["a|b", "a", "b"], "multi-label"),
        (["a,b", "a", "b", "b,a"], "multi-label"),
        (["Smith, John", "Doe, Jane"] * 3, "single-label"),
    ],
)
def test_guesses(values, kind: str) -> None:
    assert read(values)[0].kind == kind


def test_single_label_with_gaps() -> None:
    task, labels = read([2.0, None, 10.0, float("nan"), "  ", 2.0])
    assert task.classes == ("2", "10")
    assert labels.tolist() == [0, MISSING, 1, MISSING, MISSING, 0]
    assert labels.dtype == np.int64


def test_multi_label_knows_empty_from_missing() -> None:
    task, labels = read([["b"], [], None, ["a", "b"]])
    assert task.classes == ("a", "b")
    np.testing.assert_array_equal(labels, [[0, 1], [0, 0], [np.nan, np.nan], [1, 1]])
    assert missing(labels).tolist() == [False, False, True, False]
    assert read(["a;b", "b;a", "a"])[1].tolist() == [[1, 1], [1, 1], [1, 0]]
    assert read(["a", "b,a", "c"], "multi-label")[1].tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]


def test_regression_on_demand() -> None:
    task, labels = read(["1", "2.5", ""], "regression")
    assert task.classes == ()
    np.testing.assert_array_equal(labels, np.array([1, 2.5, np.nan], np.float32))
    with pytest.raises(DataError, match="'two'"):
        read([1, "two"], "regression")
    with pytest.raises(DataError, match="infinite"):
        read([1.0, float("inf")], "regression")


def test_classes_given_by_the_source_keep_their_order() -> None:
    task, labels = read([1, 0, -1, None, "cat"], classes=["dog", "cat", "never"])
    assert task.classes == ("dog", "cat", "never")
    assert labels.tolist() == [1, 0, MISSING, MISSING, 1]
    with pytest.raises(DataError, match="none of the 3 classes"):
        read([3], classes=["dog", "cat", "never"])


def test_refused_columns() -> None:
    with pytest.raises(DataError, match="No row has a label"):
        read([None, "", float("nan")])
    with pytest.raises(DataError, match="looks like an id"):
        read([f"item-{i}" for i in range(50)])
    assert read([f"item-{i}" for i in range(50)], "single-label")[0].outputs == 50
    for values, kind in [(["a", "a"], "auto"), ([3.5, 3.5], "regression"), ([["a"], ["a"]], "auto")]:
        with pytest.raises(DataError):
            check_variety(*read(values, kind))


def test_indicators() -> None:
    task, labels = task_from_indicators("y", ["a", "b"], [[0, 1], [1, None], [True, False]])
    assert task.kind == "multi-label"
    np.testing.assert_array_equal(labels, [[0, 1], [np.nan, np.nan], [1, 0]])
    for bad in ([[0, 2]], [["x", 1]]):
        with pytest.raises(DataError, match=r"0 and 1|0 or 1"):
            task_from_indicators("y", ["a", "b"], bad)
    assert looks_binary([0, 1, None])
    assert not looks_binary(["a", 1])
    assert not looks_binary([None])


@given(st.lists(st.one_of(st.integers(-99, 99).map(str), st.text("ab1", min_size=1)), max_size=8))
def test_sorting_classes_is_a_function_of_the_set(names: list[str]) -> None:
    found = sort_classes(names)
    assert set(found) == set(names)
    assert found == sort_classes(reversed(names))
