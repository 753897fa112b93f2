"""Stratified division into sides, for classes, sets of classes and numbers; blocks stay together."""

from __future__ import annotations

import numpy as np

from headstart.core.seeding import derive
from headstart.data.schema import Task

BINS = 10
"""Numbers are stratified by this many quantile bins (fewer where a bin has fewer than five samples)."""


def indicators(task: Task, labels: np.ndarray) -> np.ndarray:
    """(n, strata) float64 of 0 and 1: what every side of a split should have its share of.

    Classes of a single-label task; classes of a multi-label task; quantile bins of numbers. Rows must be
    labelled.
    """
    if task.kind == "multi-label":
        return labels.astype(np.float64)
    if task.kind == "regression":
        bins = max(1, min(BINS, len(labels) // 5))
        edges = np.quantile(labels, np.linspace(0, 1, bins + 1)[1:-1]) if len(labels) else np.empty(0)
        labels, count = np.searchsorted(np.unique(edges), labels, side="right"), bins
    else:
        count = len(task.classes)
    table = np.zeros((len(labels), count))
    table[np.arange(len(labels)), labels] = 1
    return table


def divide(strata: np.ndarray, blocks: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """Send every sample to a side so that each side has its share of all samples and of each stratum.

    Blocks are placed one after the other, the largest and those with the rarest strata first, each where it
    lowers the squared distance to the wanted counts most, relative to those counts. For single samples this
    is iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011); for classes it meets the wanted counts
    within one.

    Parameters
    ----------
    strata
        (n, k) indicators.
    blocks
        (n,) int; samples of a block go to the same side.
    shares
        (sides,) positive, summing to 1.
    seed
        Decides among equals.

    Returns
    -------
    np.ndarray
        (n,) int64 side of each sample.
    """
    count = len(strata)
    if not count:
        return np.empty(0, np.int64)
    _, blocks = np.unique(blocks, return_inverse=True)
    blocks = blocks.reshape(-1)
    # One more stratum that everything belongs to keeps the sizes of the sides right.
    table = np.concatenate([strata, np.ones((count, 1))], axis=1)
    table = table[:, table.sum(axis=0) > 0]
    totals = table.sum(axis=0)
    weights = np.zeros((int(blocks.max()) + 1, table.shape[1]))
    np.add.at(weights, blocks, table)
    random = np.random.default_rng(derive(seed, "divide"))
    rarest = np.where(weights > 0, totals, np.inf).min(axis=1)
    order = np.lexsort((random.random(len(weights)), rarest, -weights[:, -1]))
    excess = -shares[:, None] * totals[None, :]
    scale = 1 / (shares[:, None] * totals[None, :])
    sides = np.empty(len(weights), np.int64)
    tie = np.argsort(random.random(len(shares)))
    for block in order:
        weight = weights[block]
        cost = (((2 * excess + weight) * weight) * scale).sum(axis=1)
        side = int(tie[np.argmin(np.round(cost[tie], 12))])
        sides[block] = side
        excess[side] += weight
    return sides[blocks]


def nested_order(strata: np.ndarray, seed: int) -> np.ndarray:
    """An order of which every beginning is stratified, so that smaller subsets lie in larger ones.

    The first two samples of every stratum come early, so that small subsets keep rare classes; after that,
    each stratum is spread evenly. A multi-label sample counts for its rarest stratum.

    Returns
    -------
    np.ndarray
        (n,) int64 permutation.
    """
    count = len(strata)
    random = np.random.default_rng(derive(seed, "order"))
    shuffle = random.permutation(count)
    totals = strata.sum(axis=0)
    owner = np.where(strata > 0, totals, np.inf).argmin(axis=1) if strata.shape[1] else np.zeros(count, np.int64)
    key = np.empty(count)
    for stratum in np.unique(owner):
        members = shuffle[owner[shuffle] == stratum]
        key[members] = (np.arange(len(members)) + 0.5) / len(members)
        key[members[:1]], key[members[1:2]] = -2, -1
    return np.lexsort((random.random(count), key)).astype(np.int64)


def stratified_test(labels: np.ndarray, share: float) -> np.ndarray:
    """(n,) bool: a fixed test part, `share` of each class, evenly spread over the order of the data.

    >>> stratified_test(np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1]), 0.2).nonzero()[0].tolist()
    [2, 7]
    """
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = round(len(members) * share)
        chosen[members[((np.arange(count) + 0.5) * len(members) / max(count, 1)).astype(int)]] = True
    return chosen
