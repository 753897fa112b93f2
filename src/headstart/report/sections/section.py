"""What a section of the report is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """One section: anchor, title, the file in templates/ that shows it, and the values for that file."""

    id: str
    title: str
    template: str
    values: dict[str, Any] = field(default_factory=dict)
