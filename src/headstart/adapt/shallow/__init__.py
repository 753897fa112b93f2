"""Shallow adaptation: methods that label the target on frozen features. Importing this registers them."""

from __future__ import annotations

import inspect
from typing import Any

from headstart.adapt.shallow import (
    baselines,
    class_shares,
    coral,
    easytl,
    joint,
    meda,
    pseudo_labels,
    reweighting,
    subspace,
    transport,
)
from headstart.adapt.shallow.method import Adapted, Domains, Shallow
from headstart.core.errors import ConfigError, did_you_mean
from headstart.core.registry import get, methods

__all__ = [
    "Adapted",
    "Domains",
    "Shallow",
    "baselines",
    "build",
    "class_shares",
    "coral",
    "easytl",
    "joint",
    "meda",
    "names",
    "pseudo_labels",
    "reweighting",
    "subspace",
    "transport",
]


def names() -> list[str]:
    """Every shallow method, in order of registration."""
    return [m.name for m in methods("adaptation") if "features" in m.needs]


def build(name: str, **options: Any) -> Shallow:
    """A shallow method by name.

    Raises
    ------
    ConfigError
        If there is no such method, or it has no such option.
    """
    made = get("adaptation", name).build
    known = list(inspect.signature(made).parameters)
    for option in options:
        if option not in known:
            raise ConfigError(f"The method {name!r} has no option {option!r}.", did_you_mean(option, known))
    method: Shallow = made(**options)
    return method
