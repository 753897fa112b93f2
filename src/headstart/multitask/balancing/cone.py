"""Small convex problems on a Gramian, solved exactly as non-negative least squares.

G = AᵀA turns a quadratic form of weights into a sum of squares, and C. Lawson, R. Hanson, "Solving least squares
problems" (1974), algorithm 23.10, by SciPy, ends at the optimum after finitely many steps, also where gradients depend
on each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]


def root(gramian: Array) -> Array:
    """(n, n) A with AᵀA = G."""
    values, vectors = np.linalg.eigh((gramian + gramian.T) / 2)
    return np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T


def shortest(gramian: Array) -> Array:
    """(n,) weights, none negative and of sum 1, of the shortest convex combination of the gradients.

    For fixed weights w of sum 1, |s Aw|² + (s - 1)² is smallest in s at a value that falls with |Aw|. So the v >= 0
    that minimises |Av|² + (sum(v) - 1)² is a multiple of the w that minimises |Aw|.

    >>> shortest(np.array([[18.0, -22.0], [-22.0, 38.0]])).round(6).tolist()
    [0.6, 0.4]
    """
    n = len(gramian)
    scaled = gramian / max(float(np.trace(gramian)) / n, np.finfo(float).tiny)
    system = np.concatenate([root(scaled), np.ones((1, n))])
    v, _ = nnls(system, np.append(np.zeros(n), 1.0), maxiter=100 * n)
    return np.asarray(v / v.sum())


def least_above(gramian: Array, floor: Array) -> Array:
    """(n,) v >= floor that minimises vᵀGv: the weights of floorᵀJ projected on the cone that harms no gradient.

    >>> least_above(np.array([[18.0, -22.0], [-22.0, 38.0]]), np.array([0.5, 0.0])).round(6).tolist()
    [0.5, 0.289474]
    """
    n = len(gramian)
    a = root(gramian / max(float(np.trace(gramian)) / n, np.finfo(float).tiny))
    more, _ = nnls(a, -a @ floor, maxiter=100 * n)
    return np.asarray(floor + more)
