"""The options of `adapt` and `shift`, checked at the border."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from headstart.verbs.options import FitOptions, check_options


class AdaptOptions(FitOptions):
    """Everything that a person can say about an adaptation: options of `fit` about the source, and these.

    `epochs`, `lr`, `batch_size` ... are those of the methods that train a network.
    """

    method: tuple[str, ...] = Field(("auto",), description="`headstart methods --kind adaptation` lists them")
    validator: str = Field("auto", description="what chooses without labels of the target")
    target_labels: str | None = Field(None, description="a few labelled target samples: they choose, if given")

    @field_validator("method", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value


def make_adapt_options(given: dict[str, Any]) -> AdaptOptions:
    """Check what was given to `adapt`; a fault is one `ConfigError`."""
    return check_options(AdaptOptions, given, "adapt")
