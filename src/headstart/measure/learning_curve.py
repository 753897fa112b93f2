"""How error falls with the number of labels: a power law, fitted, and what more labels would be worth by it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headstart.measure.weighting import Array

EXPONENTS = np.linspace(0.05, 2.0, 40)
"""Exponents that are tried."""


@dataclass(frozen=True)
class PowerLaw:
    """error(n) = a n^-b + c, for B curves at once.

    Attributes
    ----------
    a, b, c
        (B,), none of them negative.
    """

    a: Array
    b: Array
    c: Array

    def at(self, n: float) -> Array:
        """(B,) error with n labels."""
        return self.a * n**-self.b + self.c


def fit_power_law(n: Array, errors: Array, weights: Array | None = None) -> PowerLaw:
    """Least squares over a grid of exponents; a and c follow in closed form and are held at 0 where negative.

    Parameters
    ----------
    n
        (S,) numbers of labels, two or more different ones.
    errors
        (B, S).
    weights
        (S,) of the squared residuals; equal if not given.

    Notes
    -----
    Source of the form: J. Hestness et al. 2017 (arXiv 1712.00409); the offset is what no number of labels removes.

    Examples
    --------
    >>> n = np.array([10.0, 20, 40, 80])
    >>> law = fit_power_law(n, (2 * n**-0.5 + 0.1)[None])
    >>> law.b.round(2).tolist(), law.c.round(2).tolist()
    ([0.5], [0.1])
    """
    n, errors = np.asarray(n, float), np.atleast_2d(np.asarray(errors, float))
    if len(np.unique(n)) < 2 or errors.shape[1] != len(n):
        raise ValueError("a curve needs errors for two different numbers of labels")
    w = np.ones(len(n)) if weights is None else np.asarray(weights, float)
    w = w / w.sum()
    best = np.full(len(errors), np.inf)
    a, b, c = (np.zeros(len(errors)) for _ in range(3))
    for exponent in EXPONENTS:
        x = (n / n.min()) ** -exponent
        mean_x, mean_e = w @ x, errors @ w
        slope = ((errors - mean_e[:, None]) * (x - mean_x)) @ w / max(float(w @ (x - mean_x) ** 2), 1e-300)
        slope = np.maximum(slope, 0.0)
        offset = mean_e - slope * mean_x
        through = errors @ (w * x) / (w @ x**2)
        slope, offset = np.where(offset < 0, np.maximum(through, 0.0), slope), np.maximum(offset, 0.0)
        lost = ((errors - slope[:, None] * x - offset[:, None]) ** 2) @ w
        better = lost < best
        best = np.where(better, lost, best)
        a = np.where(better, slope * n.min() ** exponent, a)
        b, c = np.where(better, exponent, b), np.where(better, offset, c)
    return PowerLaw(a, b, c)


def round_number(n: float) -> int:
    """The largest of 1, 2, 5, 10, 20, 50 ... that is at most n.

    >>> [round_number(n) for n in (1, 7, 49, 50, 1700)]
    [1, 5, 20, 50, 1000]
    """
    scale = 10 ** math.floor(math.log10(max(n, 1)))
    return next(k * scale for k in (5, 2, 1) if k * scale <= max(n, 1))
