"""Multiple-gradient descent."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.core.registry import register
from headstart.multitask.balancing.balancer import GradientBalancer
from headstart.multitask.balancing.cone import shortest


@register(
    "balancing",
    "mgda",
    summary="the shortest convex combination of the gradients, which harms no task",
    source="Sener, Koltun 2018, arXiv 1810.04650",
    defaults={"any": {"reduction": "sum"}},
    needs=("gramian",),
)
class MGDA(GradientBalancer):
    """w minimises |wᵀJ|² over the simplex. Published as a mean.

    Solved exactly; the paper's Frank-Wolfe iteration, which TorchJD has, stops some digits before with three tasks
    or more.

    Source: J.-A. Désidéri, "Multiple-gradient descent algorithm (MGDA)", Comptes Rendus 350 (2012); O. Sener, V.
    Koltun, "Multi-task learning as multi-objective optimization", NeurIPS 2018, arXiv 1810.04650, whose MGDA-UB
    takes gradients with respect to the shared representation.
    """

    published = "mean"

    def from_gramian(self, gramian: Tensor, at: Tensor, seed: int) -> Tensor:
        return torch.from_numpy(shortest(gramian.numpy()))
