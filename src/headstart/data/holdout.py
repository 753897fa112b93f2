"""Choosing what is held out: a share of the samples, or each sample once in folds; stratified or by time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.data.stratify import divide


@dataclass(frozen=True)
class Pool:
    """Samples to divide.

    Attributes
    ----------
    rows
        (n,) positions in the data set.
    strata
        (n, k) indicators of what every side should have its share of.
    blocks
        (n,) int; samples of a block stand on one side.
    times
        (n,) float64 if sides follow time, else None.
    keep
        Whether a stratum must not leave training as a whole (classes; bins of numbers may).
    """

    rows: np.ndarray
    strata: np.ndarray
    blocks: np.ndarray
    times: np.ndarray | None = None
    keep: bool = True

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, chosen: np.ndarray) -> Pool:
        """The samples chosen by a mask or by positions."""
        times = None if self.times is None else self.times[chosen]
        return Pool(self.rows[chosen], self.strata[chosen], self.blocks[chosen], times, self.keep)


def hold_out(pool: Pool, share: float, seed: int) -> np.ndarray:
    """(n,) bool: which samples are held out; the latest by time, else stratified.

    Samples of one time stand together. Stratified, a class never leaves training as a whole, so a class of
    one sample (or of one block) is not held out.
    """
    if pool.times is not None:
        return _latest(pool.times, share)
    held = np.zeros(len(pool), bool)
    movable = ~_only_block(pool) if pool.keep else np.ones(len(pool), bool)
    if not movable.any():
        return held
    wanted = min(share * len(pool) / movable.sum(), 0.9)
    some = pool.at(movable)
    held[movable] = divide(some.strata, some.blocks, np.array([1 - wanted, wanted]), seed) == 1
    if pool.keep:
        held &= ~_with_blocks(pool, _rows_of(pool, ~_present(pool.strata[~held])))
    return held


def fold_numbers(pool: Pool, folds: int, seed: int) -> np.ndarray:
    """(n,) int64: in which fold a sample is held out; -1 for samples that are never held out.

    By time, folds are stretches of time. Stratified, what would leave no sample of a class to train on is
    never held out. There are fewer folds where there are fewer blocks.
    """
    sides = np.full(len(pool), -1, dtype=np.int64)
    if pool.times is not None:
        return _stretches(pool, folds)
    movable = ~_only_block(pool) if pool.keep else np.ones(len(pool), bool)
    some = pool.at(movable)
    folds = min(folds, len(np.unique(some.blocks)))
    if folds < 2:
        return sides
    sides[movable] = divide(some.strata, some.blocks, np.full(folds, 1 / folds), seed)
    if pool.keep:
        for fold in range(folds):
            lost = ~_present(pool.strata[sides != fold]) & _present(pool.strata)
            sides[_with_blocks(pool, _rows_of(pool, lost)) & (sides == fold)] = -1
    return sides


def as_folds(rows: np.ndarray, numbers: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(fit, held out) positions of every fold, from fold numbers."""
    used = [fold for fold in np.unique(numbers) if fold >= 0]
    return [(rows[numbers != fold], rows[numbers == fold]) for fold in used]


def _latest(times: np.ndarray, share: float) -> np.ndarray:
    known = np.where(np.isnan(times), -np.inf, times)
    ordered = np.sort(known)
    cut = ordered[min(len(ordered) - 1, len(ordered) - max(1, round(share * len(ordered))))]
    from_cut, after_cut = known >= cut, known > cut
    wanted = share * len(times)
    # Samples of one moment stay together; of the two possible cuts the one that comes nearer, if it leaves
    # some.
    if from_cut.all() or (after_cut.any() and abs(after_cut.sum() - wanted) < abs(from_cut.sum() - wanted)):
        return after_cut
    return from_cut


def _stretches(pool: Pool, folds: int) -> np.ndarray:
    """Blocks in the order of their mean time, cut into stretches of about equally many samples."""
    assert pool.times is not None
    known = np.where(np.isnan(pool.times), np.nanmin(pool.times), pool.times)
    _, blocks = np.unique(pool.blocks, return_inverse=True)
    sizes = np.bincount(blocks)
    order = np.argsort(np.bincount(blocks, weights=known) / sizes, kind="stable")
    middle = np.cumsum(sizes[order]) - sizes[order] / 2
    numbers = np.empty(len(sizes), np.int64)
    numbers[order] = np.minimum((middle * folds / len(pool)).astype(np.int64), folds - 1)
    return numbers[blocks] if len(np.unique(numbers)) > 1 else np.full(len(pool), -1, dtype=np.int64)


def _present(strata: np.ndarray) -> np.ndarray:
    return np.asarray(strata.sum(axis=0) > 0)


def _rows_of(pool: Pool, strata: np.ndarray) -> np.ndarray:
    return np.asarray((pool.strata[:, strata] > 0).any(axis=1))


def _with_blocks(pool: Pool, rows: np.ndarray) -> np.ndarray:
    """Every sample of a block of which one is in `rows`."""
    return np.isin(pool.blocks, pool.blocks[rows])


def _only_block(pool: Pool) -> np.ndarray:
    """Samples in a block that holds a whole class."""
    _, blocks = np.unique(pool.blocks, return_inverse=True)
    per_block = np.zeros((int(blocks.max()) + 1 if len(blocks) else 0, pool.strata.shape[1]))
    np.add.at(per_block, blocks.reshape(-1), pool.strata)
    totals = pool.strata.sum(axis=0)
    alone = ((per_block == totals) & (totals > 0)).any(axis=1)
    return alone[blocks.reshape(-1)]
