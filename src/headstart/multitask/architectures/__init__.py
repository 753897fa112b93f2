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
    "soft_sharing",
]


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
    known = [p for p in inspect.signature(build).parameters if p not in ("backbone", "heads", "grid")]
    for option in options:
        if option not in known:
            raise ConfigError(f"The architecture {name!r} has no option {option!r}.", did_you_mean(option, known))
    model: Model = build(backbone, heads, grid, **options)
    return model
