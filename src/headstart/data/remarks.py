"""What a split says about copies and rare classes, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headstart.core.notes import Notes
from headstart.core.words import listed
from headstart.data.duplicates import Copies
from headstart.data.schema import Task, missing


def note_copies(notes: Notes, copies: Copies) -> None:
    """Note how many copies there are."""
    distinct, unlike = len(np.unique(copies.exact)), len(np.unique(copies.near))
    if extra := len(copies.exact) - distinct:
        notes.info("duplicates", _copies(extra, "an exact copy", "exact copies"))
    if near := distinct - unlike:
        notes.info("duplicates", _copies(near, "a near copy", "near copies"))


def _copies(n: int, one: str, many: str) -> str:
    if n == 1:
        return f"1 sample is {one} of another; both stay on one side of every split that is made."
    return f"{n} samples are {many} of others; copies stay on one side of every split that is made."


def note_torn(
    notes: Notes, copies: Copies, task: Task, labels: np.ndarray, rows: np.ndarray, ids: Sequence[str]
) -> None:
    """Note exact copies among `rows`, which are none of the test part, whose labels differ."""
    if task.kind == "regression":
        return
    known = rows[~missing(labels[rows])]
    values = labels[known].reshape(len(known), -1)
    pairs = np.unique(np.column_stack([copies.exact[known], values]), axis=0)
    groups, counts = np.unique(pairs[:, 0], return_counts=True)
    torn = known[np.isin(copies.exact[known], groups[counts > 1])]
    if len(torn):
        names = [ids[i] for i in torn[np.argsort(copies.exact[torn], kind="stable")]]
        notes.warn(
            "labels",
            f"{len(torn)} samples have exact copies with other labels: {listed(names)}.",
            "At most one label of each can be right: keep one sample, with its right label.",
            names,
        )


def note_classes(notes: Notes, task: Task, tables: Mapping[str, np.ndarray], folds: int) -> None:
    """Note classes that training lacks, that nothing can check, or that some folds lack.

    Parameters
    ----------
    notes
        Receives the notes.
    task
        Any kind; numbers have no classes.
    tables
        Part ("train", "validation", "test"; absent ones left out) to its (n, classes) indicators.
    folds
        How many folds decide where there is no validation part.
    """
    if task.kind == "regression":
        return
    names = np.array(task.classes)
    counts = {part: table.sum(axis=0) for part, table in tables.items()}
    fitted = counts["train"]
    held = sum((count for part, count in counts.items() if part != "train"), np.zeros(len(names)))
    if (only_held := (fitted == 0) & (held > 0)).any():
        notes.warn(
            "classes",
            f"Not in the training part: {listed(list(names[only_held]))}. They stay classes of the evaluation, "
            "never predicted, so that each of their samples counts as an error.",
        )
    if (absent := (fitted == 0) & (held == 0)).any():
        notes.warn("classes", f"Classes without a labelled sample: {listed(list(names[absent]))}.")
    if (single := (fitted == 1) & (held == 0)).any():
        notes.warn(
            "classes", f"Classes of one sample: {listed(list(names[single]))}. It is trained on; nothing checks it."
        )
    if "validation" not in tables and (rare := (fitted > 1) & (fitted < folds)).any():
        text = f"Fewer samples than folds: {listed(list(names[rare]))}. Some folds hold none of them out."
        notes.info("classes", text)
