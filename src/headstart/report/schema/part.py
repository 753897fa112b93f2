"""What every part of a report is, and what several of them hold."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Part(BaseModel):
    """Something that a report holds; keys that are not known are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class Estimate(Part):
    """A value with its 95% interval; the interval may be missing."""

    value: float
    low: float | None = None
    high: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_number(cls, given: Any) -> Any:
        return {"value": given} if isinstance(given, int | float) else given


class Remark(Part):
    """A note of the run: level "info" or "warning", topic, text."""

    level: str = "info"
    topic: str = ""
    text: str

    @model_validator(mode="before")
    @classmethod
    def _bare_text(cls, given: Any) -> Any:
        return {"text": given} if isinstance(given, str) else given
