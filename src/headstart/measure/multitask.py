"""What sharing did to each task: relative changes against single-task baselines, and whether gradients agree."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from headstart.measure.weighting import Array


def relative_changes(
    values: Mapping[str, ArrayLike], baselines: Mapping[str, ArrayLike], higher_is_better: Mapping[str, ArrayLike]
) -> dict[str, float]:
    """Delta of each task: the mean over its metrics of the relative change for the better.

    Delta_t = mean over metrics of ±(value - baseline) / |baseline|, with - for metrics of which less is better. A
    fraction, positive where sharing helped; NaN where a baseline is zero or a value is not known.

    Source: K. Maninis et al., "Attentive single-tasking of multiple tasks", CVPR 2019, arXiv 1904.08918, equation 4,
    with |baseline| instead of the baseline, so that more is better also of metrics below zero.

    Parameters
    ----------
    values, baselines
        Task -> its metric or (M,) metrics, of the shared model and of single-task models.
    higher_is_better
        Task -> bool or (M,) bools.

    Raises
    ------
    ValueError
        If the three do not name the same tasks and metrics.

    Examples
    --------
    >>> found = relative_changes({"a": [93, 99]}, {"a": [96, 98]}, {"a": [True, False]})
    >>> round(found["a"], 6)
    -0.020727
    """
    if not values.keys() == baselines.keys() == higher_is_better.keys():
        raise ValueError(f"tasks differ: {sorted(values)}, {sorted(baselines)}, {sorted(higher_is_better)}")
    found = {}
    for task in values:
        new, base = (np.atleast_1d(np.asarray(x[task], dtype=float)) for x in (values, baselines))
        sign = np.where(np.atleast_1d(np.asarray(higher_is_better[task], dtype=bool)), 1.0, -1.0)
        if not new.shape == base.shape == sign.shape:
            raise ValueError(f"metrics of {task!r} differ: {new.shape}, {base.shape}, {sign.shape}")
        change = np.divide(sign * (new - base), np.abs(base), out=np.full(base.shape, np.nan), where=base != 0)
        found[task] = float(change.mean())
    return found


def delta_m(changes: Mapping[str, float]) -> float:
    """Mean of the tasks' relative changes, a fraction; NaN where one is not known.

    A mean can hide a harmed task: look at each change, too.

    >>> changes = relative_changes(
    ...     {"a": [93, 99], "b": 0.5}, {"a": [96, 98], "b": 0.2}, {"a": [True, False], "b": True}
    ... )
    >>> round(delta_m(changes), 6)
    0.739636
    """
    return float(np.mean([*changes.values()])) if changes else float("nan")


def cosines(gramian: ArrayLike) -> Array:
    """Cosines of the angles between gradients.

    Parameters
    ----------
    gramian
        (T, T) inner products.

    Returns
    -------
    np.ndarray
        (T, T) from -1 to 1; NaN for a gradient that is zero.

    Examples
    --------
    >>> cosines([[18.0, -22.0], [-22.0, 38.0]]).round(6).tolist()
    [[1.0, -0.841191], [-0.841191, 1.0]]
    """
    g = np.asarray(gramian, dtype=float)
    norms = np.sqrt(np.clip(np.diagonal(g), 0, None))
    products = np.outer(norms, norms)
    found = np.divide(g, products, out=np.full(g.shape, np.nan), where=products > 0)
    return np.asarray(np.clip(found, -1.0, 1.0))
