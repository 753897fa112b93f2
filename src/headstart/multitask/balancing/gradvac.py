"""Gradient vaccine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.errors import ConfigError
from headstart.core.registry import register
from headstart.core.seeding import derive
from headstart.multitask.balancing.balancer import GradientBalancer, Reduction, Seen

_TINY = 1e-12


@register(
    "balancing",
    "gradvac",
    summary="gradients turned towards each other, to the cosines they usually have",
    source="Wang et al. 2021, arXiv 2010.05874",
    defaults={"any": {"beta": 0.5, "reduction": "sum"}},
    needs=("gramian",),
)
class GradVac(GradientBalancer):
    """PCGrad with a target: where the cosine of g_i and g_j is below its moving mean p_ij, g_j is added to g_i until
    it is p_ij; then the sum. Published as a sum.

    With cosine a, the share of g_j added is |g_i| (p √(1 - a²) - a √(1 - p²)) / (|g_j| √(1 - p²)). The moving means
    start at 0, so the first step is PCGrad's, and move once per step: p <- (1 - beta) p + beta a. They are this
    class's, not TorchJD's, because checkpoints hold them.

    Source: Z. Wang et al., "Gradient vaccine: investigating and improving multi-task optimization in massively
    multilingual models", ICLR 2021, arXiv 2010.05874, algorithm 1, with LibMTL's default of beta (the paper's is
    0.01, for runs of many thousand steps).

    Parameters
    ----------
    beta
        How fast the moving means move, from 0 to 1.

    Raises
    ------
    ConfigError
        If beta is out of range.
    """

    def __init__(self, beta: float = 0.5, reduction: Reduction = "sum") -> None:
        super().__init__(reduction)
        if not 0 <= beta <= 1:
            raise ConfigError(f"GradVac's beta must be from 0 to 1; it is {beta:g}.", "LibMTL's is 0.5.")
        self.beta = beta
        self._usual: Tensor | None = None

    def weigh(self, seen: Seen, at: Tensor) -> Tensor:
        self._start(len(seen.losses))
        return super().weigh(seen, at)

    def from_gramian(self, gramian: Tensor, at: Tensor, seed: int) -> Tensor:
        assert self._usual is not None
        weights, _ = vaccinate(gramian, self._usual[at][:, at], seed)
        return weights

    def learn(self, seen: Seen, after: Tensor | None = None) -> None:
        usual = self._start(len(seen.losses))
        at = seen.present.nonzero()[:, 0]
        if seen.gramian is None or not len(at):
            return
        grid = at[:, None], at[None]
        _, cosines = vaccinate(seen.gramian[grid], usual[grid], seen.seed)
        usual[grid] = (1 - self.beta) * usual[grid] + self.beta * cosines

    def _start(self, count: int) -> Tensor:
        if self._usual is None:
            self._usual = torch.zeros(count, count, dtype=torch.float64)
        return self._usual

    def state(self) -> dict[str, Any]:
        return {"usual": None if self._usual is None else self._usual.clone()}

    def load_state(self, state: dict[str, Any]) -> None:
        self._usual = None if state["usual"] is None else state["usual"].clone()


def vaccinate(gramian: Tensor, usual: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Weights, and the cosines that were met on the way.

    Parameters
    ----------
    gramian, usual
        (n, n) inner products of the gradients, and the cosines aimed at.
    seed
        Of the order in which each task meets the others.

    Returns
    -------
    Tensor, Tensor
        (n,) and (n, n), 0 on the diagonal.
    """
    n = len(gramian)
    generator = torch.Generator().manual_seed(derive(seed, "gradvac"))
    g, aims = gramian.numpy(), usual.numpy()
    norms = np.sqrt(g.diagonal())
    shares, met = np.eye(n), np.zeros((n, n))
    for i in range(n):
        others = [j for j in range(n) if j != i]
        products = g[i].copy()
        for k in torch.randperm(n - 1, generator=generator).tolist():
            j = others[k]
            mine, aim = math.sqrt(max(float(products @ shares[i]), 0.0)), float(aims[i, j])
            cosine = min(max(float(products[j]) / (mine * norms[j] + _TINY), -1.0), 1.0)
            if cosine < aim:
                sine, aim_sine = math.sqrt(1 - cosine**2), math.sqrt(max(1 - aim**2, 0.0))
                added = mine * (aim * sine - cosine * aim_sine) / (norms[j] * aim_sine + _TINY)
                shares[i, j] += added
                products += added * g[j]
            met[i, j] = cosine
    return torch.from_numpy(shares.sum(axis=0)), torch.from_numpy(met)
