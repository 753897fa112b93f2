"""Problems for the probe's solver, and what they are worth."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from headstart.features.solver import ProbePath


def draw(samples: int, features: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Correlated features with very different scales and offsets, and noisy labels."""
    g = torch.Generator().manual_seed(seed)
    hidden = torch.randn(samples, features, generator=g) * torch.arange(1, features + 1) ** -0.7
    mix = torch.linalg.qr(torch.randn(features, features, generator=g))[0]
    scores = hidden @ torch.randn(features, classes, generator=g)
    y = (scores / scores.std() + 0.7 * torch.randn(samples, classes, generator=g)).argmax(1)
    x = (hidden @ mix) * torch.logspace(-2, 3, features) + torch.linspace(-50, 50, features)
    return x, y


def standardised(path: ProbePath, x: Tensor) -> np.ndarray:
    return ((x - path.mean) / path.scale).double().numpy()


def objective(
    path: ProbePath, x: Tensor, y: Tensor, w: Tensor, weight: np.ndarray, bias: np.ndarray, s: float
) -> float:
    z = torch.from_numpy(standardised(path, x))
    logits = z @ torch.as_tensor(weight, dtype=torch.float64).T + torch.as_tensor(bias, dtype=torch.float64)
    loss = functional.cross_entropy(logits, y, reduction="none")
    return float((w * loss).sum() / w.sum() + s / 2 * torch.as_tensor(weight, dtype=torch.float64).square().sum())
