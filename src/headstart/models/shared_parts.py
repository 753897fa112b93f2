"""What the tasks of a model have beside its backbone and heads, as a bundle keeps it.

An architecture of several tasks (`headstart.multitask.architectures`) adds copies of stages and parts of its own to a
model. Stages that a copy shares with the backbone are kept once, with the backbone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from headstart.core.registry import get
from headstart.models.backbone import Backbone
from headstart.models.model import Model

_OURS = ("copies.", "parts.")


def shared_parts(model: Model) -> dict[str, Tensor]:
    """Name -> tensor of everything but the backbone and the heads."""
    there = {(t.data_ptr(), t.shape) for t in model.backbone.state_dict().values() if t.numel()}
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.startswith(_OURS) and (tensor.data_ptr(), tensor.shape) not in there
    }


def rebuild_sharing(
    sharing: Mapping[str, Any] | None,
    backbone: Backbone,
    heads: Mapping[str, nn.Module],
    grid: int,
    tensors: Mapping[str, Tensor],
) -> Model:
    """The model of a bundle.

    Parameters
    ----------
    sharing
        As `Model.recipe` has it.
    tensors
        As `shared_parts` gave them.

    Raises
    ------
    ConfigError
        For an architecture that is not registered.
    KeyError
        When tensors are missing.
    RuntimeError
        When they do not fit.
    """
    if sharing is None:
        return Model(backbone, heads, grid)
    model: Model = get("architecture", sharing["architecture"]).build(backbone, heads, grid, **sharing["options"])
    model.recipe = sharing
    lacking = sorted(shared_parts(model).keys() - tensors.keys())
    if lacking:
        raise KeyError(f"no tensors {', '.join(lacking[:4])}")
    model.load_state_dict(tensors, strict=False)
    return model
