"""Architectures: how the tasks of a model share a backbone. Importing this registers them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from headstart.core.errors import ConfigError, did_you_mean
from headstart.core.registry import get
from headstart.models.backbone import Backbone
from headstart.models.model import Model
from headstart.multitask.architectures import (
    adapters,
    branching,
    cgc,
    cross_stitch,
    hard,
    mmoe,
    norms,
    soft_sharing,
)
from headstart.multitask.architectures.architecture import Architecture, Routed

__all__ = [
    "HARD",
    "Architecture",
    "Routed",
    "adapters",
    "branching",
    "cgc",
    "cross_stitch",
    "hard",
    "make_architecture",
    "mmoe",
    "norms",
    "read_architecture",
    "soft_sharing",
]

HARD = "hard"
"""The architecture that is a plain `Model`."""


def make_architecture(
    name: str, backbone: Backbone, heads: Mapping[str, nn.Module], grid: int = 1, **options: Any
) -> Model:
    """A model whose tasks share a backbone.

    Parameters
    ----------
    name
        As `headstart methods --kind architecture` lists it.
    backbone, heads, grid
        As `Model` has them.
    options
        What differs from the architecture's defaults, such as `after="layer3"` of branching.

    Raises
    ------
    ConfigError
        If there is no such architecture, it has no such option, or the network or an option does not fit it.
    """
    build = get("architecture", name).build
    rest = {k: p for k, p in inspect.signature(build).parameters.items() if k not in ("backbone", "heads", "grid")}
    known = list(rest)
    for option in options:
        if option not in known:
            raise ConfigError(f"The architecture {name!r} has no option {option!r}.", did_you_mean(option, known))
    model: Model = build(backbone, heads, grid, **options)
    if name != HARD:
        # Defaults are written down, too: a bundle must open where they have changed.
        model.recipe = {"architecture": name, "options": {k: p.default for k, p in rest.items()} | options}
    return model


def read_architecture(asked: str) -> tuple[str, dict[str, Any]]:
    """Name and options of an architecture as it is typed: a name, and after a colon the value of its first option.

    >>> read_architecture("branching:blocks.3"), read_architecture("mmoe:8"), read_architecture("hard")
    (('branching', {'after': 'blocks.3'}), ('mmoe', {'experts': 8}), ('hard', {}))

    Raises
    ------
    ConfigError
        If there is no such architecture, it has no options, or the value is of another kind.
    """
    name, colon, value = asked.partition(":")
    defaults = get("architecture", name).defaults_for("any")
    if not colon:
        return name, {}
    if not defaults:
        raise ConfigError(f"The architecture {name!r} takes no value.", f"Say --architecture {name}.")
    option, default = next(iter(defaults.items()))
    kind = type(default)
    try:
        return name, {option: kind(value)}
    except ValueError:
        many = {int: "a whole number", float: "a number"}[kind]
        raise ConfigError(
            f"{asked!r}: {option} of {name} must be {many}.", f"Such as --architecture {name}:{default}."
        ) from None
