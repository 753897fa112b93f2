"""The ridge probe: linear regression onto labels (classes as indicators), with leave-one-out in closed form.

One decomposition of the features gives the solution and the held-out prediction of every sample for every strength:
with H = X (X'X + aI)^-1 X' on centred features, sample i's prediction without it is (ŷ_i - H_ii y_i) / (1 - H_ii),
the intercept's 1/N being part of H_ii. So a path costs hardly more than one fit, and no folds are drawn.

Sources: D. Allen, Technometrics 16 (1974), PRESS; G. Golub, M. Heath, G. Wahba, Technometrics 21 (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from headstart.features.solver import standardisation

ALPHAS = tuple(float(a) for a in np.logspace(-2, 5, 15))


@dataclass(frozen=True)
class RidgeProbe:
    """A linear model of standardised features.

    Attributes
    ----------
    weight, bias, mean, scale
        (K, D), (K,), (D,), (D,): outputs are ((x - mean) / scale) weight' + bias.
    alpha
        The penalty on the sum of squares, chosen by leave-one-out.
    held_out
        (N, K) each sample's output by the model that was fitted without it.
    errors
        alpha -> mean squared leave-one-out error.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor
    alpha: float
    held_out: Tensor
    errors: dict[float, float]

    def outputs(self, x: Tensor) -> Tensor:
        """(N, K) for features (N, D)."""
        return ((x - self.mean) / self.scale) @ self.weight.T + self.bias


@torch.no_grad()
def fit_ridge(x: Tensor, y: Tensor, alphas: Sequence[float] = ALPHAS) -> RidgeProbe:
    """Fit the whole path and take the penalty with the least leave-one-out error.

    Parameters
    ----------
    x
        (N, D) features.
    y
        (N, K) targets; `indicators` makes them of classes.

    Raises
    ------
    ValueError
        For fewer than two samples, or penalties that are not positive.

    Examples
    --------
    >>> x = torch.arange(6.0)[:, None]
    >>> probe = fit_ridge(x, 2 * x + 1, [1e-6])
    >>> probe.outputs(torch.tensor([[10.0]])).round().item()
    21.0
    """
    if len(x) < 2 or min(alphas) <= 0:
        raise ValueError("a ridge path needs two samples and positive penalties")
    mean, scale = standardisation(x.float())
    z = ((x.float() - mean) / scale).double()
    centre = y.double().mean(0)
    target = y.double() - centre
    u, spectrum, basis = _decompose(z)
    inside = u.T @ target
    best: tuple[float, float, Tensor, Tensor] | None = None
    errors = {}
    for alpha in alphas:
        shrink = spectrum / (spectrum + alpha)
        hat = (u.square() * shrink).sum(1) + 1 / len(x)
        fitted = u @ (shrink[:, None] * inside) + centre
        held = (fitted - hat[:, None] * y.double()) / (1 - hat[:, None]).clamp(min=1e-12)
        error = float((held - y.double()).square().mean())
        errors[float(alpha)] = error
        if best is None or error < best[0]:
            solution = basis @ ((spectrum.sqrt() / (spectrum + alpha))[:, None] * inside)
            best = error, float(alpha), held, solution
    assert best is not None
    _, chosen, held, solution = best
    return RidgeProbe(solution.T.float(), centre.float(), mean, scale, chosen, held.float(), errors)


def indicators(labels: Tensor, classes: int) -> Tensor:
    """(N,) class numbers -> (N, classes) of -1 and 1.

    >>> indicators(torch.tensor([1, 0]), 2)
    tensor([[-1.,  1.],
            [ 1., -1.]])
    """
    return 2.0 * torch.nn.functional.one_hot(labels.long(), classes).float() - 1.0


def _decompose(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left vectors (N, R), squared singular values (R,) and right vectors (D, R), by the smaller Gram matrix."""
    wide = z.shape[1] > z.shape[0]
    gram = z @ z.T if wide else z.T @ z
    values, vectors = torch.linalg.eigh(gram)
    keep = values > values[-1].clamp(min=1e-300) * 1e-12
    spectrum, vectors = values[keep], vectors[:, keep]
    if wide:
        return vectors, spectrum, z.T @ vectors / spectrum.sqrt()
    return z @ vectors / spectrum.sqrt(), spectrum, vectors
