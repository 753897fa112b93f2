"""What every reader hands over before labels are understood: samples, ids, raw label columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart.core.notes import Notes
from headstart.data.source import Source
from headstart.data.tasks import TaskOption


@dataclass
class Raw:
    """Data as found.

    Attributes
    ----------
    name
        What the user called it.
    source, ids
        The samples and their names, in the same order.
    columns
        Raw label columns, by name: (n,) of anything, or (n, classes) indicators.
    classes
        For columns whose classes the source itself defines: their names in index order.
    kinds
        What the user said each column is; "auto", or nothing, where it is to be found out.
    usual_kind
        What columns are of which the user said nothing; "auto" where it is to be found out.
    groups, times, parts
        (n,) raw values, or None.
    inputs, period, reading
        As in `Schema`.
    metadata
        Further columns by name, each with `[row]`: what the report may slice by, and nothing is fitted to.
    empty_classes
        Class folders without a picture.
    notes
        What was guessed or noticed while reading.
    """

    name: str
    source: Source
    ids: Sequence[str]
    columns: Mapping[str, Any] = field(default_factory=dict)
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kinds: Mapping[str, TaskOption] = field(default_factory=dict)
    usual_kind: TaskOption = "auto"
    groups: Any = None
    times: Any = None
    parts: np.ndarray | None = None
    inputs: Sequence[str] = ()
    period: float | None = None
    reading: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    empty_classes: tuple[str, ...] = ()
    notes: Notes = field(default_factory=Notes)
