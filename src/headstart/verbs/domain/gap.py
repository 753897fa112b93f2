"""How far two domains lie apart, in numbers and in words, on features as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.adapt.shallow.balance import held_out_distance
from headstart.inspect.shift import discriminate
from headstart.measure.discrepancy import (
    coral_distance,
    linear_mmd,
    mmd_of_kernel,
    multi_kernel,
    sliced_wasserstein,
)

MOST = 1000
"""Samples of each domain that distances are computed on."""

PERMUTATIONS = 199
LEAST_OF_CLASS = 8


def gap(source: Tensor, target: Tensor, seed: int = 0) -> dict[str, Any]:
    """Every distance between features (N, D) and (M, D), standardised together.

    Returns
    -------
    dict
        `mmd`: biased, unbiased and linear estimates of the squared multi-kernel MMD, and the p-value of the biased one
        under permutation; `coral`; `proxy_a`; `sliced_wasserstein`; `discriminator`: AUC and p-value.
    """
    a, b = _standardised(_some(source, seed), _some(target, seed + 1))
    kernel = multi_kernel(torch.cat([a, b]).double())
    value = float(mmd_of_kernel(kernel, len(a)))
    told = discriminate(a.float(), b.float(), seed, PERMUTATIONS)
    return {
        "samples": [len(a), len(b)],
        "mmd": {
            "biased": value,
            "unbiased": float(mmd_of_kernel(kernel, len(a), "unbiased")) if min(len(a), len(b)) > 1 else None,
            "linear": float(linear_mmd(a.double(), b.double())) if min(len(a), len(b)) > 1 else None,
            "p": permutation_p(kernel, len(a), value, seed),
        },
        "coral": float(coral_distance(a.double(), b.double())),
        "proxy_a": held_out_distance(a.double().numpy(), b.double().numpy(), seed),
        "sliced_wasserstein": float(sliced_wasserstein(a.double(), b.double(), seed=seed)),
        "discriminator": {"auc": told.auc, "p": told.p},
    }


def permutation_p(kernel: Tensor, n: int, value: float, seed: int) -> float:
    """Share of divisions of the samples (the true one included) with a biased MMD as large.

    With w = 1/n on one side and -1/m on the other, the biased MMD is w' K w: all permutations are one product.
    """
    order, total = np.random.default_rng(seed), len(kernel)
    w = np.empty((total, PERMUTATIONS))
    plain = np.r_[np.full(n, 1 / n), np.full(total - n, -1 / (total - n))]
    for i in range(PERMUTATIONS):
        w[:, i] = order.permutation(plain)
    k = kernel.double().numpy()
    drawn = (w * (k @ w)).sum(0)
    return float((1 + (drawn >= value - 1e-12).sum()) / (PERMUTATIONS + 1))


def by_class(
    source: Tensor, labels: np.ndarray, target: Tensor, said: np.ndarray, classes: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Of each class (in the target: by the answers), how many there are and how far apart they lie.

    `moved` is the distance of the class's means in the two domains over the mean distance of different classes' means
    in the source: at 1 a class has moved as far as classes lie apart.
    """
    a, b = _standardised(source, target)
    here = [c for c in range(len(classes)) if (labels == c).any()]
    means = torch.stack([a[torch.as_tensor(labels == c)].mean(0) for c in here])
    between = torch.cdist(means, means)
    apart = float(between.sum() / max(1, len(here) * (len(here) - 1))) or 1.0
    rows = []
    for i, c in enumerate(here):
        theirs = torch.as_tensor(said == c)
        count = int(theirs.sum())
        moved = float((means[i] - b[theirs].mean(0)).norm()) / apart if count >= LEAST_OF_CLASS else None
        rows.append({"class": classes[c], "source": int((labels == c).sum()), "target": count, "moved": moved})
    return rows


def verdict(found: dict[str, Any]) -> tuple[str, str]:
    """("none" | "mild" | "clear" | "strong", what that means)."""
    p = max(found["mmd"]["p"], found["discriminator"]["p"])
    auc = found["discriminator"]["auc"]
    told = f"a linear discriminator tells them apart with AUC {auc:.2f} (MMD p = {found['mmd']['p']:.3f})"
    if p > 0.05:
        return "none", f"No shift was found between the domains: {told}."
    if auc < 0.7:
        return "mild", f"There is a mild shift: {told}. A model of the source may well do."
    if auc < 0.95:
        return "clear", f"There is a clear shift: {told}. Adaptation is worth trying."
    return "strong", f"The shift is strong: {told}. A model of the source cannot be trusted on the target as it is."


def _some(x: Tensor, seed: int) -> Tensor:
    """At most so many rows, in random order: the linear MMD pairs neighbours, and in data by class these are alike."""
    return x[torch.as_tensor(np.random.default_rng(seed).permutation(len(x))[:MOST])]


def _standardised(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both by the mean and deviation of both together."""
    both = torch.cat([a, b]).double()
    spread = both.std(0)
    floor = float(spread[spread > 0].median()) * 1e-3 if bool((spread > 0).any()) else 1.0
    scaled = (both - both.mean(0)) / spread.clamp(min=floor)
    return scaled[: len(a)], scaled[len(a) :]
