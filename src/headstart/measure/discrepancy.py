"""How far two samples of features lie apart: kernel means, second moments, transport, and what a classifier sees.

Functions take tensors x (N, D) and y (M, D), are differentiable where that makes sense, and are 0 where both samples
are the same (but for the unbiased estimators, which may be below 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the mean squared distance: the bandwidths of a multi-kernel (J. Wang's DeepDA and M. Long's DAN)."""


# -- kernels -----------------------------------------------------------------------------------------------------------


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(N, M) squared Euclidean distances of rows, never below 0."""
    d = x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T
    return d.clamp(min=0)


def gaussian_kernel(x: Tensor, y: Tensor, gamma: float | Tensor) -> Tensor:
    """(N, M) values of exp(-gamma ‖x - y‖²)."""
    return torch.exp(-gamma * squared_distances(x, y))


@torch.no_grad()
def bandwidth(z: Tensor) -> Tensor:
    """Mean squared distance between different rows of (N, D), a scalar without gradient; at least 1e-12."""
    n = len(z)
    centred = z - z.mean(0)
    return (2 * n * centred.square().sum() / max(1, n * n - n)).clamp(min=1e-12)


def multi_kernel(z: Tensor, multiples: Sequence[float] = MULTIPLES) -> Tensor:
    """(N, N) mean of Gaussian kernels exp(-d² / b) with b the bandwidth of z times each multiple.

    The mean, not the sum, so that values do not depend on how many kernels there are. The bandwidth is taken as given:
    no gradient flows through it.

    Sources
    -------
    M. Long et al., DAN, ICML 2015 (arXiv 1502.02791).
    """
    d, b = squared_distances(z, z), bandwidth(z)
    return torch.stack([torch.exp(-d / (b * m)) for m in multiples]).mean(0)


# -- kernel means ------------------------------------------------------------------------------------------------------


def mmd_of_kernel(kernel: Tensor, n: int, estimator: Literal["biased", "unbiased"] = "biased") -> Tensor:
    """Squared MMD from the kernel matrix (N + M, N + M) of both samples, the first n rows being the first sample.

    biased: the squared distance of the kernel means, never negative. unbiased: without each sample's diagonal; it is 0
    on average where the samples come from one distribution, and so often below 0.

    Sources
    -------
    A. Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), equations 3 and 5.
    """
    m = len(kernel) - n
    xx, yy, xy = kernel[:n, :n], kernel[n:, n:], kernel[:n, n:]
    if estimator == "biased":
        return xx.mean() + yy.mean() - 2 * xy.mean()
    if n < 2 or m < 2:
        raise ValueError("the unbiased estimator needs two samples of each")
    within_x = (xx.sum() - xx.diagonal().sum()) / (n * (n - 1))
    within_y = (yy.sum() - yy.diagonal().sum()) / (m * (m - 1))
    return within_x + within_y - 2 * xy.mean()


def mmd(
    x: Tensor, y: Tensor, gamma: float | None = None, estimator: Literal["biased", "unbiased"] = "biased"
) -> Tensor:
    """Squared maximum mean discrepancy, with one Gaussian kernel, or (gamma None) the multi-kernel of both samples.

    >>> a = torch.tensor([[0.0], [1.0]])
    >>> float(mmd(a, a)), round(float(mmd(a, a + 1, gamma=0.5)), 4)
    (0.0, 0.4323)
    """
    z = torch.cat([x, y])
    kernel = multi_kernel(z) if gamma is None else gaussian_kernel(z, z, gamma)
    return mmd_of_kernel(kernel, len(x), estimator)


def linear_mmd(x: Tensor, y: Tensor, gamma: float | None = None) -> Tensor:
    """The estimator in linear time over pairs of neighbouring rows; unbiased, and noisy.

    Mean of k(x₁,x₂) + k(y₁,y₂) - k(x₁,y₂) - k(x₂,y₁); rows beyond the shorter sample's even length are not used.

    Sources
    -------
    A. Gretton et al., JMLR 13 (2012), section 6.
    """
    n = min(len(x), len(y)) // 2 * 2
    if n == 0:
        raise ValueError("the linear estimator needs two samples of each")
    a, b, c, d = x[:n:2], x[1:n:2], y[:n:2], y[1:n:2]
    scale = bandwidth(torch.cat([x, y]))

    def k(u: Tensor, v: Tensor) -> Tensor:
        distance = (u - v).square().sum(1)
        if gamma is not None:
            return torch.exp(-gamma * distance)
        return torch.stack([torch.exp(-distance / (scale * m)) for m in MULTIPLES]).mean(0)

    return (k(a, b) + k(c, d) - k(a, d) - k(b, c)).mean()


def joint_mmd(layers: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Squared MMD of joint distributions: the kernel is the product of the layers' multi-kernels; biased, so >= 0.

    Sources
    -------
    M. Long et al., JAN, ICML 2017 (arXiv 1605.06636).
    """
    kernel: Tensor | None = None
    for x, y in layers:
        own = multi_kernel(torch.cat([x, y]))
        kernel = own if kernel is None else kernel * own
    if kernel is None:
        raise ValueError("there is no layer")
    return mmd_of_kernel(kernel, len(layers[0][0]))


def local_mmd(x: Tensor, y: Tensor, source: Tensor, target: Tensor, gamma: float | None = None) -> Tensor:
    """MMD between the same classes of both samples, over the classes that both have (0 where none).

    Parameters
    ----------
    source
        (N, C) one-hot labels of x.
    target
        (M, C) probabilities of y, normalised over the samples of each class.

    Notes
    -----
    Mean over classes c of wᶜₛ'K wᶜₛ + wᶜₜ'K wᶜₜ - 2 wᶜₛ'K wᶜₜ, w normalised to sum 1 per class.

    Sources
    -------
    Y. Zhu et al., Deep Subdomain Adaptation Network, TNNLS 2020 (arXiv 2106.09388), equation 6.
    """
    n = len(x)
    z = torch.cat([x, y])
    kernel = multi_kernel(z) if gamma is None else gaussian_kernel(z, z, gamma)
    mass = source.sum(0), target.sum(0)
    here = (mass[0] > 0) & (mass[1] > 1e-12)
    if not bool(here.any()):
        return kernel.sum() * 0.0
    ws, wt = source[:, here] / mass[0][here], target[:, here] / mass[1][here]
    within = (ws * (kernel[:n, :n] @ ws)).sum(0) + (wt * (kernel[n:, n:] @ wt)).sum(0)
    return (within - 2 * (ws * (kernel[:n, n:] @ wt)).sum(0)).mean()


# -- moments, transport, classifiers -----------------------------------------------------------------------------------


def covariance(x: Tensor) -> Tensor:
    """(D, D), divisor N - 1."""
    centred = x - x.mean(0)
    return centred.T @ centred / max(1, len(x) - 1)


def coral_distance(x: Tensor, y: Tensor) -> Tensor:
    """‖Cx - Cy‖² / (4 D²): the squared Frobenius distance of the covariances.

    Sources
    -------
    B. Sun, K. Saenko, Deep CORAL, 2016 (arXiv 1607.01719), equation 1.
    """
    return (covariance(x) - covariance(y)).square().sum() / (4 * x.shape[1] ** 2)


def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = 128, seed: int = 0) -> Tensor:
    """Root mean square, over random directions, of the 2-Wasserstein distance of the projections.

    Samples of unequal size are compared at the quantiles of the larger one.

    Sources
    -------
    J. Rabin et al., Wasserstein Barycenter and Its Application to Texture Mixing, SSVM 2011.
    """
    random = torch.Generator().manual_seed(seed)
    u = torch.randn(x.shape[1], directions, generator=random, dtype=torch.float64).to(x)
    u = u / u.norm(dim=0)
    count = max(len(x), len(y))
    levels = (torch.arange(count, dtype=torch.float64, device=x.device) + 0.5) / count

    def at(z: Tensor) -> Tensor:
        ordered = (z @ u).sort(0).values
        return ordered[(levels * len(z)).long().clamp(max=len(z) - 1)]

    return (at(x) - at(y)).square().mean().sqrt()


def proxy_a_distance(error: float) -> float:
    """2 (1 - 2 error), from the *held-out* error of a classifier that tells the samples apart; within [0, 2].

    An error on the samples that the classifier was fitted to would say 2 for any two samples in many dimensions.

    Sources
    -------
    S. Ben-David et al., Analysis of Representations for Domain Adaptation, NeurIPS 2006.

    >>> proxy_a_distance(0.5), proxy_a_distance(0.0), proxy_a_distance(0.6)
    (0.0, 2.0, 0.0)
    """
    return max(0.0, 2 * (1 - 2 * error))
