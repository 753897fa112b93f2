"""Hard sharing: one backbone, a head per task."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from headstart.core.registry import register
from headstart.models.backbone import Backbone
from headstart.models.model import Model


@register(
    "architecture",
    "hard",
    summary="one backbone, a head per task; the default",
    source="Caruana 1997, Multitask learning (Machine Learning 28, 41-75)",
)
def hard(backbone: Backbone, heads: Mapping[str, nn.Module], grid: int = 1) -> Model:
    """y_t = head_t(pool(backbone(x))): every task reads the same features. No options."""
    return Model(backbone, heads, grid)
