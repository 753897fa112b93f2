"""Samples among others in the space of features: those far from all, and copies that stand in two parts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

NEIGHBOURS = 10
REFERENCE = 5_000
"""Samples among which neighbours are looked for."""

_CHUNK = 1024

SAME = 0.98
"""Cosine of standardised features from which two samples may be taken for the same thing.

A picture with one pixel changed by one has .999, one that is 5% darker .992; the nearest of 1,000 other digits among
3,400 has .966. Of 2,189 Reuters stories nine have it to one of 1,700 others, all the daily report of the same figures;
of 5,000 newsgroup posts five: repeated lists of questions, and quoted answers.
"""

NEARER = 0.05
"""The same in units of the usual distance to the nearest neighbour: series in the eyes of a network that nobody trained
all look alike, and half of them would be called the same by the cosine alone."""

WELL_BEYOND, WITHIN = 50, 0.02
"""A neighbour that is no copy, by its rank (or a quarter of all), and the share of its distance in which copies lie."""

SAMPLED = 1_000
"""Samples by which the usual distance is known well enough."""


def distances_to_neighbours(x: Tensor, k: int = NEIGHBOURS, most: int = REFERENCE) -> Tensor:
    """Mean cosine distance (N,) of each sample to its k nearest others, features as they are.

    Of more than `most` samples, an even selection of that many are the others: time grows with N, not with its square.

    Source: J. Kuan, J. Mueller, "Back to the basics: revisiting out-of-distribution detection baselines", 2022
    (arXiv 2207.03061), where this is as good as any score of frozen features. Standardising them first would hide what
    is far: among 2,000 digits, noise lies 15 robust deviations above the median by the features as they are, and 3 by
    standardised ones.
    """
    z = F.normalize(x.float(), dim=1)
    k = min(k, len(z) - 1)
    if k < 1:
        return torch.zeros(len(z))
    others = torch.linspace(0, len(z) - 1, min(len(z), most)).round().long()
    made = []
    for start in range(0, len(z), _CHUNK):
        near = z[start : start + _CHUNK] @ z[others].T
        own = torch.arange(start, start + len(near))[:, None] == others
        made.append(1 - near.masked_fill_(own, -2.0).topk(k, dim=1).values.mean(1))
    return torch.cat(made)


def outlying(distances: Tensor, factor: float = 4.5) -> Tensor:
    """Positions whose distance lies more than `factor` robust deviations above the median, farthest first.

    On the scale of logarithms: distances are skewed, the more the narrower the features of most samples lie together.
    """
    logs = distances.clamp(min=1e-12).log()
    middle = logs.median()
    deviation = 1.4826 * (logs - middle).abs().median()
    far = (logs > middle + factor * deviation.clamp(min=1e-6)).nonzero().squeeze(1)
    return far[distances[far].argsort(descending=True)]


def copies_between(a: Tensor, b: Tensor, least: float = SAME) -> list[tuple[int, int, float]]:
    """Pairs (row of `a`, its nearest row of `b`, cosine) that are the same thing by their features, nearest first.

    They are as near as `least` says, and much nearer than samples of `b` usually are to their nearest neighbour.
    """
    first, second = _directions(a, a), _directions(b, a)
    found = []
    if len(b) > 1:
        some = torch.linspace(0, len(b) - 1, min(len(b), SAMPLED)).round().long()
        others = second[some] @ second.T
        others[torch.arange(len(some)), some] = -1.0
        least = max(least, 1 - NEARER * float(_nearest_other(1 - others).median()))
    for start in range(0, len(first), _CHUNK):
        values, rows = (first[start : start + _CHUNK] @ second.T).max(dim=1)
        for i in (values >= least).nonzero().squeeze(1).tolist():
            found.append((start + i, int(rows[i]), float(values[i])))
    return sorted(found, key=lambda pair: -pair[2])


def _nearest_other(distances: Tensor) -> Tensor:
    """(M,) distance of each row to its nearest neighbour that is no copy of it.

    Copies, of which there may be many, lie far within the distance to a neighbour that is not among the nearest.
    """
    k = max(1, min(WELL_BEYOND, distances.shape[1] // 4))
    near = distances.topk(k, dim=1, largest=False).values
    copies = near <= WITHIN * near[:, -1:]
    return near.masked_fill(copies, torch.inf).min(dim=1).values.minimum(near[:, -1])


def _directions(x: Tensor, reference: Tensor) -> Tensor:
    """Rows of unit length, standardised by the reference's columns; columns that do not vary there are left out."""
    mean, deviation = reference.float().mean(0), reference.float().std(0, correction=0)
    varies = deviation > 1e-6 * deviation.max().clamp(min=1e-30)
    return F.normalize((x.float()[:, varies] - mean[varies]) / deviation[varies], dim=1)
