"""How often several data sets are drawn from in an epoch: by proportion, at a temperature, or equally."""

from __future__ import annotations

import math

import numpy as np


def shares(sizes: np.ndarray, temperature: float) -> np.ndarray:
    """(k,) share of each data set in an epoch: size^(1 / T), normalised.

    T = 1 is in proportion to the sizes, T = infinity is equal; between them small data sets count for more than they
    are large.

    Source: N. Arivazhagan et al., "Massively multilingual neural machine translation in the wild", arXiv 1907.05019,
    section 3.3 (T = 5 there).

    >>> shares(np.array([900, 100]), 1.0).tolist()
    [0.9, 0.1]
    >>> shares(np.array([900, 100]), 2.0).tolist()
    [0.75, 0.25]
    >>> shares(np.array([900, 100]), float("inf")).tolist()
    [0.5, 0.5]
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    powers = np.asarray(sizes, float) ** (0.0 if math.isinf(temperature) else 1 / temperature)
    return np.asarray(powers / powers.sum())


def draw(origins: np.ndarray, temperature: float, r: np.random.Generator) -> np.ndarray:
    """(n,) positions of the samples of one epoch, in the order in which they are trained on.

    An epoch is as many draws as there are training samples of all data sets together, n. Each data set gets its share
    of them (the largest rests are rounded up). A data set that gets fewer draws than it has samples gives a random part
    of them, another in each epoch; one that gets more is gone through in whole rounds, then in part. At T = 1 every
    sample is drawn exactly once.

    Parameters
    ----------
    origins
        (n,) which data set each sample is of.
    """
    names, owner = np.unique(origins, return_inverse=True)
    members = [np.flatnonzero(owner == k) for k in range(len(names))]
    exact = shares(np.array([len(m) for m in members]), temperature) * len(origins)
    counts = np.floor(exact + 1e-9).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: len(origins) - counts.sum()]] += 1
    drawn = []
    for mine, count in zip(members, counts, strict=True):
        rounds = [r.permutation(mine) for _ in range(-(-count // len(mine)))]
        drawn.append(np.concatenate(rounds)[:count] if rounds else mine[:0])
    return r.permutation(np.concatenate(drawn))
