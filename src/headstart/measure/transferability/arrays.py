"""What the scores share: their arguments as arrays, centred, or in fewer dimensions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.float64]
Labels = NDArray[np.integer]


def matrix(x: object) -> Array:
    made = np.asarray(x, dtype=np.float64)
    made = made[:, None] if made.ndim == 1 else made
    if made.ndim != 2 or not made.size or not np.isfinite(made).all():
        raise ValueError(f"expected a finite matrix with a row per sample, got {made.shape}")
    return made


def classes(y: object) -> Labels:
    """Class numbers as 0, 1, … without gaps."""
    made = np.asarray(y)
    if made.ndim != 1 or not np.issubdtype(made.dtype, np.integer) or not len(made):
        raise ValueError("expected a class number per sample")
    return np.unique(made, return_inverse=True)[1].reshape(-1)


def one_hot(y: Labels) -> Array:
    return np.eye(int(y.max()) + 1)[y]


def centred(x: object, y: object) -> tuple[Array, Array]:
    """Features minus their mean, and for each sample the mean of its class."""
    features = matrix(x)
    features = features - features.mean(axis=0)
    hot = one_hot(classes(y))
    return features, hot @ ((hot.T @ features) / hot.sum(axis=0)[:, None])


def in_components(x: Array, count: int = 64) -> Array:
    """The first principal components (N, at most `count`) of features (N, D)."""
    x = matrix(x) - np.mean(x, axis=0)
    values, vectors = linalg.eigh(x.T @ x if x.shape[1] <= len(x) else x @ x.T)
    if x.shape[1] <= len(x):
        return x @ vectors[:, ::-1][:, :count]
    return (vectors * np.sqrt(np.maximum(values, 0.0)))[:, ::-1][:, :count]
