"""Experts and gates on pooled features, for architectures that mix experts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_HIDDEN = 16


class Expert(nn.Module):
    """x + W2 relu(W1 norm(x)), with W2 zero at the start: (B, D) -> (B, D).

    The published experts are plain layers. As an addition to the features they leave a head that was solved on these
    features valid at the start, and the head's width as it was.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, hidden), nn.Linear(hidden, width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.layer_norm(x, x.shape[-1:]))))


class Gate(nn.Module):
    """Weights of experts by what the features are: softmax(W norm(x)), equal at the start; (B, D) -> (B, E)."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, experts)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(F.layer_norm(x, x.shape[-1:])).softmax(-1)


def make_experts(count: int, width: int, hidden: int | None) -> nn.ModuleList:
    """That many experts; `hidden` None is a quarter of the width."""
    return nn.ModuleList(Expert(width, hidden or max(LEAST_HIDDEN, width // 4)) for _ in range(count))


def mixture(weights: Tensor, outputs: Sequence[Tensor]) -> Tensor:
    """Sum over experts of weight times output: (B, E) and E of (B, D) -> (B, D)."""
    return torch.einsum("be,ebd->bd", weights, torch.stack([*outputs]))
