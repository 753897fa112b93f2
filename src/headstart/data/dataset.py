"""A data set: ids, samples read one at a time, labels per task, and the parts that came with them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from headstart.core.errors import DataError, did_you_mean
from headstart.core.notes import Notes
from headstart.data.schema import Sample, Schema
from headstart.data.source import BadSample, Source

PARTS = ("train", "validation", "test")


@dataclass
class Content:
    """Everything that a data set consists of; arrays have one entry per row of `source`.

    Attributes
    ----------
    source
        The samples' inputs.
    ids
        Unique names of the rows, the same on every machine.
    labels
        Task name to labels: (n,) int64 with `MISSING`, (n,) float32 with NaN, or (n, classes) float32 with
        NaN rows.
    groups, times
        (n,) str and (n,) float64, or None.
    parts
        (n,) str: which part the row came with ("train", "validation", "test"); empty where it came with none.
    metadata
        Further columns by name, each with `[row]`.
    origins
        (n,) str: which of several joined data sets the row is of, or None.
    """

    source: Source
    ids: Sequence[str]
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    parts: np.ndarray | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origins: np.ndarray | None = None


class Dataset:
    """Samples with labels; slicing shares everything and copies nothing.

    Made by `headstart.data.load.load_data`; `subset` and `part` give views of it.

    Attributes
    ----------
    name
        What the user called the data.
    schema
        Modality, tasks, and what the inputs look like.
    notes
        What was decided or noticed while loading.
    """

    def __init__(
        self,
        name: str,
        schema: Schema,
        content: Content,
        rows: np.ndarray | None = None,
        notes: Notes | None = None,
    ) -> None:
        self.name = name
        self.schema = schema
        self.notes = notes if notes is not None else Notes()
        self._content = content
        self._rows = np.arange(len(content.source)) if rows is None else np.asarray(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        tasks = ", ".join(f"{t.name}: {t.kind}" for t in self.schema.tasks) or "no labels"
        return f"Dataset({self.name!r}, {len(self)} samples, {tasks})"

    @cached_property
    def ids(self) -> Sequence[str]:
        """Unique names of the samples, in order."""
        ids = self._content.ids
        return [ids[row] for row in self._rows]

    def read(self, i: int, size_hint: int | None = None) -> Sample:
        """One sample.

        Parameters
        ----------
        i
            Position in this data set.
        size_hint
            Of pictures: side in pixels that the caller needs; lets large JPEGs be decoded faster at reduced size.

        Returns
        -------
        Sample
            `inputs` as `Source` describes them. Greyscale pictures of a data set that also has colour come with
            three equal channels.

        Raises
        ------
        DataError
            If the sample has become unreadable since it was loaded.
        """
        row = int(self._rows[i])
        source = self._content.source
        try:
            inputs = source.read(row, size_hint)
        except BadSample as bad:
            raise DataError(
                f"The {source.one} {source.describe(row)} cannot be read: {bad.what}.",
                "It could when the data were loaded; was it changed since?",
            ) from None
        if self.schema.modality == "image" and inputs.shape[2] == 1 and self.schema.channels == 3:
            inputs = np.repeat(inputs, 3, axis=2)
        labels: dict[str, Any] = {name: values[row] for name, values in self._content.labels.items()}
        return Sample(self.ids[i], inputs, labels)

    def labels(self, task: str | None = None) -> np.ndarray:
        """Labels of a task (the first by default).

        Returns
        -------
        np.ndarray
            single-label: (n,) int64 index into the task's classes, `MISSING` where there is none;
            multi-label: (n, classes) float32 of 0 and 1, NaN rows where there is none;
            regression: (n,) float32, NaN where there is none.
        """
        return self._content.labels[self.schema.task(task).name][self._rows]

    @property
    def groups(self) -> np.ndarray | None:
        """(n,) names of groups, or None."""
        return None if self._content.groups is None else self._content.groups[self._rows]

    @property
    def times(self) -> np.ndarray | None:
        """(n,) float64 times that order the samples (NaN where unknown), or None."""
        return None if self._content.times is None else self._content.times[self._rows]

    @property
    def origins(self) -> np.ndarray | None:
        """(n,) names of the joined data sets that the samples are of, or None where only one was given."""
        return None if self._content.origins is None else self._content.origins[self._rows]

    @property
    def metadata(self) -> dict[str, list[Any]]:
        """Columns of a table that are neither inputs nor labels, by name; nothing is fitted to them."""
        return {name: [column[int(r)] for r in self._rows] for name, column in self._content.metadata.items()}

    @cached_property
    def given_parts(self) -> dict[str, np.ndarray]:
        """Positions of the parts that came with the data, by name; empty if none came."""
        if self._content.parts is None:
            return {}
        parts = self._content.parts[self._rows]
        found = {name: np.flatnonzero(parts == name) for name in PARTS}
        return {name: positions for name, positions in found.items() if len(positions)}

    def part(self, name: str) -> Dataset:
        """The samples of a part that came with the data; `DataError` if there is no such part."""
        if name not in self.given_parts:
            raise DataError(f"{self.name} has no part {name!r}.", did_you_mean(name, self.given_parts))
        return self.subset(self.given_parts[name])

    def subset(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        """The samples at these positions, in this order, as a data set with the same schema."""
        rows = self._rows[np.asarray(indices, dtype=np.int64)]
        return Dataset(self.name, self.schema, self._content, rows, self.notes)

    @property
    def content(self) -> Content:
        """What the data consist of, all rows (also those outside of this subset)."""
        return self._content

    @property
    def rows(self) -> np.ndarray:
        """(n,) rows of `content` that this data set consists of."""
        return self._rows

    @cached_property
    def sizes(self) -> np.ndarray:
        """(n, k) how large each sample is as stored: height and width; characters; time steps and channels."""
        facts = self._content.source.facts
        return np.array([facts[int(r)].size for r in self._rows], dtype=np.int64).reshape(len(self._rows), -1)

    @cached_property
    def content_hashes(self) -> list[str]:
        """One hash per sample: equal exactly for exact copies."""
        facts = self._content.source.facts
        return [facts[int(row)].content for row in self._rows]

    @cached_property
    def perceptual_hashes(self) -> list[int | None]:
        """One 64-bit perceptual hash per picture; None for pictures too small for one, and for other samples."""
        facts = self._content.source.facts
        return [getattr(facts[int(row)], "perceptual", None) for row in self._rows]

    def fingerprint(self) -> str:
        """Hash (32 hexadecimal digits) of ids, contents, labels and given parts."""
        digest = hashlib.blake2b(digest_size=16)
        for text in (*self.ids, *self.content_hashes):
            digest.update(text.encode() + b"\0")
        for task in self.schema.tasks:
            digest.update(repr(task).encode())
            digest.update(np.ascontiguousarray(self.labels(task.name)).tobytes())
        for name, positions in self.given_parts.items():
            digest.update(name.encode() + positions.tobytes())
        return digest.hexdigest()
