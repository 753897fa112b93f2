"""Unconflicting projection of gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from headstart.core.registry import register
from headstart.multitask.balancing.balancer import GradientBalancer
from headstart.multitask.balancing.cone import least_above


@register(
    "balancing",
    "upgrad",
    summary="every gradient projected so that it harms no task, then their mean",
    source="Quinton, Rey 2024, arXiv 2406.16232",
    defaults={"any": {"reduction": "sum"}},
    needs=("gramian",),
)
class UPGrad(GradientBalancer):
    """w = sum_i argmin_{v >= e_i / T} vᵀGv. Published as a mean.

    Linear under scaling of a single task's gradient. Solved exactly; TorchJD adds 1e-4 to the diagonal and needs a
    solver of its own for it.

    Source: P. Quinton, V. Rey, "Jacobian descent for multi-objective optimization", arXiv 2406.16232, section 3.1.
    """

    published = "mean"

    def from_gramian(self, gramian: Tensor, at: Tensor, seed: int) -> Tensor:
        g = gramian.numpy()
        return torch.from_numpy(np.sum([least_above(g, row) for row in np.eye(len(g)) / len(g)], axis=0))
