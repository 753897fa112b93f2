"""Copies of samples, as findings: within the data, across given parts, and in the network's eyes."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from headstart.core.words import counted, is_are
from headstart.data import Dataset
from headstart.data.duplicates import Copies
from headstart.inspect.findings import Finding, finding
from headstart.inspect.neighbourhood import copies_between
from headstart.verbs.job import Job

MOST_TESTED, MOST_TRAINED = 5_000, 50_000
"""Samples of the test and of the training part that are compared pair by pair."""

MANY = 0.01
"""Share of copies from which they are more than a note."""


def copies(job: Job, measured: dict[str, Any]) -> list[Finding]:
    """Equal and nearly equal samples, by pixels or text."""
    if job.splits.copies is None:
        return []
    return [*_across(job, job.splits.copies, measured), *_within(job, job.splits.copies, measured)]


def _across(job: Job, known: Copies, measured: dict[str, Any]) -> list[Finding]:
    """Copies that came on two sides of a given split; splits that Headstart makes keep copies together."""
    given = job.dataset.given_parts
    if "train" not in given:
        return []
    groups = known.near
    found = []
    for part in ("validation", "test"):
        if part not in given:
            continue
        rows = np.asarray(given[part])
        ids = [job.dataset.ids[i] for i in rows[np.isin(groups[rows], groups[given["train"]])]]
        measured[f"copies_in_{part}"] = len(ids)
        if ids:
            found.append(
                finding(
                    "leakage", "serious",
                    f"{len(ids):,} of {len(rows):,} {part} samples {is_are(len(ids))} also in the training part, where "
                    "a fit leaves them out.",
                    "Results of a fit are honest for that; elsewhere, results on such samples are too good.",
                    ids,
                )
            )  # fmt: skip
    return found


def _within(job: Job, known: Copies, measured: dict[str, Any]) -> list[Finding]:
    """Copies within the data, or within the training part where parts were given."""
    rows = np.asarray(job.dataset.given_parts.get("train", np.arange(len(job.dataset))))
    _, first, group = np.unique(known.near[rows], return_index=True, return_inverse=True)
    original = first[group.reshape(-1)]
    extra = np.flatnonzero(original != np.arange(len(rows)))
    measured["copies"] = {"exact": len(rows) - len(np.unique(known.exact[rows])), "all": len(extra), "of": len(rows)}
    if not len(extra):
        return []
    ids = job.dataset.ids
    pairs = [f"{ids[rows[i]]} = {ids[rows[original[i]]]}" for i in extra]
    only_near = len(extra) - measured["copies"]["exact"]
    are = "is a copy of another" if len(extra) == 1 else "are copies of others"
    nearly = f", {only_near:,} of them nearly" if only_near else ""
    return [
        finding(
            "copies", "worth a look" if len(extra) >= MANY * len(rows) else "note",
            f"{len(extra):,} of {len(rows):,} samples {are}{nearly}. Copies stay on "
            "one side of every split that is made.",
            "Remove those that are not meant: each counts once more, and adds nothing to learn from.",
            pairs,
        )
    ]  # fmt: skip


def near_in_features(job: Job, train: Tensor, test: Tensor) -> list[Finding]:
    """Test samples that the network takes for the same as a training sample, and that are no equal copies."""
    a, b = test[:MOST_TESTED], train[:MOST_TRAINED]
    hashes = _hashes(job.parts["test"]), _hashes(job.parts["train"])
    pairs = [(i, j) for i, j, _ in copies_between(a, b) if hashes[0][i] != hashes[1][j]]
    found = []
    if pairs:
        ids = job.parts["test"].ids, job.parts["train"].ids
        found.append(
            finding(
                "leakage", "worth a look",
                f"{counted(len(pairs), 'test sample')} {is_are(len(pairs))} almost the same as a training sample in "
                "the network's eyes.",
                "Look at the pairs; if they show the same thing, keep them on one side (--group).",
                [f"{ids[0][i]} = {ids[1][j]}" for i, j in pairs],
            )
        )  # fmt: skip
    if len(a) < len(test) or len(b) < len(train):
        text = f"Almost equal samples were looked for between {len(a):,} test and {len(b):,} training samples only."
        found.append(finding("leakage", "note", text))
    return found


def _hashes(data: Dataset) -> list[str]:
    return [str(h) for h in data.content_hashes]
