"""From raw label columns to tasks: which kind, which classes, and labels as arrays.

How a column is read when nobody said (`task="auto"`):

* several 0/1 columns named together: multi-label, one class per column;
* lists, or texts with `|` between names (or `,` or `;` where most names occur in several different cells):
  multi-label;
* numbers with fractions and more than 10 different values: regression;
* whole numbers with more than 20 different values that are also more than a tenth of the rows: regression, unless
  almost all differ and the column is called like an id;
* everything else: single-label.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from headstart.core.errors import DataError
from headstart.core.notes import Notes
from headstart.data.schema import MISSING, Task, TaskKind, missing

TaskOption = Literal["auto", "single-label", "multi-label", "regression"]

MOST_FRACTIONAL_CLASSES = 10
MOST_INTEGER_CLASSES = 20
ID_SHARE = 0.9
TEXT_SHARE = 0.1
"""Share of texts up to which a column of many different numbers counts as numbers with slips."""

_ID_ROWS = 20
_ID_NAME = re.compile(r"(?i:^(id|idx|index|key|row|nr|no)$|[_\W](id|idx|key)$)|[a-z]I[dD]$")
"""Numbers of which each row has its own may be measured; in a column of such a name they are an id."""


def sort_classes(names: Iterable[str]) -> list[str]:
    """Class names in order: by value if all are numbers, else by text.

    >>> sort_classes(["10", "9", "1"]), sort_classes(["b", "a", "10"])
    (['1', '9', '10'], ['10', 'a', 'b'])
    """
    names = set(names)
    try:
        return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        return sorted(names)


def task_from_column(
    name: str,
    values: Any,
    kind: TaskOption,
    notes: Notes,
    classes: Sequence[str] | None = None,
    describe: Callable[[int], str] = "row {}".format,
) -> tuple[Task, np.ndarray]:
    """Read one column of labels.

    Parameters
    ----------
    name
        Of the task.
    values
        (n,) anything: texts, numbers, lists; None, NaN and empty text are missing labels.
    kind
        "auto" guesses by the rules above and leaves a note.
    notes
        Receives what was guessed.
    classes
        Names in index order where the source defines them (then integers are indices into it).
    describe
        What to call the sample at a position in messages.

    Returns
    -------
    Task, np.ndarray
        The task and its labels as `Dataset.labels` describes them.

    Raises
    ------
    DataError
        If no row has a label, or the labels do not fit the kind.
    """
    column = pd.Series(list(values), dtype=object)
    column = column.where(~column.map(_is_missing), None)
    present = column[column.notna()]
    if present.empty:
        raise DataError(f"No row has a label in {name!r}.", "Name the label column with label=, or add labels.")
    if classes is not None and kind in ("auto", "single-label"):
        return Task(name, "single-label", tuple(classes)), _indices_given(column, classes)
    if kind == "auto":
        _refuse_text_among_numbers(name, present, describe)
    chosen = kind if kind != "auto" else _guess(name, present, notes)
    if chosen == "regression":
        return Task(name, "regression"), _numbers(name, column, describe)
    if chosen == "multi-label":
        return _multi_label(name, column)
    texts = column.map(class_name, na_action="ignore")
    if kind == "auto" and not present.map(_is_number).all():
        _refuse_ids(name, texts.dropna())
    names = sort_classes(texts.dropna())
    index = {text: i for i, text in enumerate(names)}
    labels = np.array([MISSING if text is None or text is np.nan else index[text] for text in texts], np.int64)
    return Task(name, "single-label", tuple(names)), labels


def task_from_indicators(name: str, classes: Sequence[str], values: Any) -> tuple[Task, np.ndarray]:
    """A multi-label task from an (n, classes) table of 0 and 1; a row with any missing value has no label.

    Raises
    ------
    DataError
        If anything else than 0, 1 and missing stands in it.
    """
    try:
        table = pd.DataFrame(values).apply(pd.to_numeric).to_numpy(dtype=np.float32)
    except (ValueError, TypeError):
        raise DataError(f"The columns of {name!r} are not 0 and 1.", "Multi-label columns hold 0 or 1.") from None
    table = table.copy()
    table[np.isnan(table).any(axis=1)] = np.nan
    found = np.unique(table[~np.isnan(table)])
    if not np.isin(found, (0.0, 1.0)).all():
        raise DataError(
            f"The columns of {name!r} contain {found[~np.isin(found, (0, 1))][0]:g}, not only 0 and 1.",
            "For several tasks of other kinds name one column each; for one number per row use one column.",
        )
    return Task(name, "multi-label", tuple(map(str, classes))), table


def looks_binary(values: Any) -> bool:
    """Whether a column holds only 0, 1, true, false and missing values."""
    numbers = pd.to_numeric(pd.Series(values), errors="coerce")
    known = ~pd.Series(values).isna()
    return bool(known.any() and numbers[known].isin([0, 1]).all())


def check_variety(task: Task, labels: np.ndarray) -> None:
    """Refuse labels from which nothing can be learned.

    Raises
    ------
    DataError
        If only one class (or one value) occurs.
    """
    known = labels[~missing(labels)]
    if task.kind == "single-label":
        found = np.unique(known)
        if len(found) < 2:
            only = task.classes[found[0]] if len(found) else "none"
            raise DataError(
                f"There is only one class in {task.name!r}: {only!r}.",
                "A classifier needs at least two classes with samples in each.",
            )
    elif task.kind == "regression" and len(np.unique(known)) < 2:
        raise DataError(f"All values of {task.name!r} are equal ({known[0]:g}).", "There is nothing to predict.")
    elif task.kind == "multi-label" and not ((known.max(axis=0) > 0) & (known.min(axis=0) < 1)).any():
        raise DataError(f"In {task.name!r} every class is always or never present.", "There is nothing to predict.")


def _is_missing(value: Any) -> bool:
    if isinstance(value, list | tuple | set | np.ndarray | dict):
        return False
    return value is None or bool(pd.isna(value)) or (isinstance(value, str) and not value.strip())


def class_name(value: Any) -> str:
    """Classes are texts; 3.0, which a column with gaps makes of 3, is written 3 again."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)


def _guess(name: str, present: pd.Series, notes: Notes) -> TaskKind:
    if present.map(lambda value: isinstance(value, list | tuple | set | np.ndarray)).all():
        notes.info("task", f"{name!r} holds lists: read as multi-label.")
        return "multi-label"
    if present.map(_is_number).all():
        numbers = present.astype(float)
        distinct = numbers.nunique()
        whole = bool((numbers % 1 == 0).all())
        if not whole and distinct > MOST_FRACTIONAL_CLASSES:
            notes.info("task", f"{name!r} holds {distinct} different numbers: read as regression.")
            return "regression"
        if whole and distinct > max(MOST_INTEGER_CLASSES, len(numbers) / 10):
            if _ID_NAME.search(name) and len(numbers) >= _ID_ROWS and distinct > ID_SHARE * len(numbers):
                raise _looks_like_id(name, distinct, present)
            notes.info("task", f"{name!r} holds {distinct} different whole numbers: read as regression.")
            return "regression"
        notes.info("task", f"{name!r} holds {distinct} different numbers: read as classes (single-label).")
        return "single-label"
    if present.map(lambda value: isinstance(value, str)).all() and (mark := _separator(present)):
        notes.info("task", f"{name!r} holds names separated by {mark!r}: read as multi-label.")
        return "multi-label"
    return "single-label"


def _refuse_text_among_numbers(name: str, present: pd.Series, describe: Callable[[int], str]) -> None:
    """Numbers with a few texts between them are measurements with slips, not hundreds of classes."""
    if not present.map(lambda value: isinstance(value, str)).any():
        return
    numbers = pd.to_numeric(present, errors="coerce")
    texts = present[numbers.isna() & present.map(lambda value: isinstance(value, str))]
    many = numbers.nunique() > max(MOST_INTEGER_CLASSES, len(present) / 10)
    if len(texts) and many and len(texts) <= TEXT_SHARE * len(present):
        raise DataError(
            f"{name!r} holds numbers, but {len(texts)} of its {len(present)} values are not; the first is "
            f"{texts.iloc[0]!r} ({describe(int(texts.index[0]))}).",
            "Correct them or leave those cells empty; for names of classes say --task single-label.",
        )


def _separator(texts: pd.Series) -> str | None:
    """What separates several names in one cell, or None where cells hold one name each."""
    for mark in "|;,":
        joined = texts[texts.str.contains(mark, regex=False)]
        if joined.empty:
            continue
        if mark == "|":
            return mark
        # Names of a set turn up in several different cells; the halves of "Smith, John" do not.
        counts = Counter(piece for text in texts.unique() for piece in set(_pieces(text, mark)))
        found = {piece for text in joined for piece in _pieces(text, mark)}
        if sum(counts[piece] > 1 for piece in found) > len(found) / 2:
            return mark
    return None


def _pieces(text: str, mark: str) -> list[str]:
    return [piece.strip() for piece in text.split(mark) if piece.strip()]


def _multi_label(name: str, column: pd.Series) -> tuple[Task, np.ndarray]:
    present = column[column.notna()]
    texts = present[present.map(lambda value: isinstance(value, str))]
    mark = (
        (_separator(texts) or next((m for m in "|;," if texts.str.contains(m, regex=False).any()), "|"))
        if len(texts)
        else "|"
    )

    def names(value: Any) -> list[str]:
        if isinstance(value, str):
            return _pieces(value, mark)
        if isinstance(value, list | tuple | set | np.ndarray):
            return [class_name(item) for item in value]
        return [class_name(value)]

    sets = [None if value is None else names(value) for value in column]
    classes = sort_classes(item for found in sets if found for item in found)
    if not classes:
        raise DataError(f"No row has a label in {name!r}: all sets are empty.", "Add labels, or name a column.")
    index = {text: i for i, text in enumerate(classes)}
    labels = np.zeros((len(sets), len(classes)), np.float32)
    for row, found in enumerate(sets):
        if found is None:
            labels[row] = np.nan
        else:
            labels[row, [index[item] for item in found]] = 1
    return Task(name, "multi-label", tuple(classes)), labels


def _numbers(name: str, column: pd.Series, describe: Callable[[int], str]) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = column[numbers.isna() & column.notna()]
    if len(wrong):
        raise DataError(
            f"{len(wrong)} values of {name!r} are not numbers, the first is {wrong.iloc[0]!r} "
            f"({describe(int(wrong.index[0]))}).",
            "Regression needs numbers; for names use task='single-label'.",
        )
    values = numbers.to_numpy(dtype=np.float32)
    if np.isinf(values).any():
        raise DataError(f"{name!r} contains infinite values.", "Replace them, or leave those cells empty.")
    return values


def _indices_given(column: pd.Series, classes: Sequence[str]) -> np.ndarray:
    lookup = {text: i for i, text in enumerate(classes)}

    def index(value: Any) -> int:
        if value is None or (isinstance(value, int | np.integer) and value == MISSING):
            return MISSING
        found = lookup.get(value, -2) if isinstance(value, str) else int(value)
        if not 0 <= found < len(classes):
            raise DataError(f"Label {value!r} is none of the {len(classes)} classes.", f"Classes: {list(classes)[:10]}")
        return found

    return np.array([index(value) for value in column], dtype=np.int64)


def _refuse_ids(name: str, texts: pd.Series) -> None:
    distinct = texts.nunique()
    if len(texts) >= _ID_ROWS and distinct > ID_SHARE * len(texts):
        raise _looks_like_id(name, distinct, texts)


def _looks_like_id(name: str, distinct: int, values: pd.Series) -> DataError:
    example = re.sub(r"\s+", " ", str(values.iloc[0]))[:40]
    return DataError(
        f"{name!r} has {distinct} different values in {len(values)} rows (such as {example!r}): "
        "it looks like an id, not a label.",
        "Name the label column (--label), or say what it is (--task single-label or regression) if this is one.",
    )
