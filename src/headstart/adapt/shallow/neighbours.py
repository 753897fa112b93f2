"""The graph of nearest neighbours that MEDA and label propagation are smooth over."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import coo_array

from headstart.adapt.shallow.method import Array

BLOCK = 1024


def graph(z: Array, neighbours: int) -> Any:
    """(N, N) sparse, symmetric: cosines of samples of which at least one is among the other's nearest; not negative."""
    unit = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    count = min(neighbours, len(z) - 1)
    rows, near, weights = [], [], []
    for start in range(0, len(z), BLOCK):
        cosines = unit[start : start + BLOCK] @ unit.T
        own = np.arange(len(cosines))
        cosines[own, start + own] = -np.inf
        found = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        rows.append(np.repeat(start + own, count))
        near.append(found.ravel())
        weights.append(np.maximum(np.take_along_axis(cosines, found, 1).ravel(), 0))
    w = coo_array((np.concatenate(weights), (np.concatenate(rows), np.concatenate(near))), shape=(len(z), len(z)))
    w = w.tocsr()
    return w.maximum(w.T)
