"""Do two scores order the same things alike?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special


def kendall(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> dict[str, float]:
    """Kendall's tau-b of two sequences, with an interval by Fisher's transformation.

    Parameters
    ----------
    a, b
        N values each, N at least 2.

    Returns
    -------
    dict
        `tau`, `low`, `high`: 1 for the same order, -1 for the opposite; 0, from -1 to 1, where one of them is constant.

    Notes
    -----
    Source of the variance of atanh(tau), 0.437 / (N - 4): E. Fieller, H. Hartley, E. Pearson, Biometrika 44 (1957).
    With five values or fewer nothing can be said: the interval is everything.

    Examples
    --------
    >>> kendall([1, 2, 3], [10, 20, 30])["tau"]
    1.0
    """
    from scipy import stats  # 0.3 s to import

    tau = float(stats.kendalltau(a, b).statistic)
    if np.isnan(tau):
        return {"tau": 0.0, "low": -1.0, "high": 1.0}
    if len(a) <= 5:
        return {"tau": tau, "low": -1.0, "high": 1.0}
    half = float(special.ndtri(0.5 + level / 2)) * np.sqrt(0.437 / (len(a) - 4))
    # Few values in the same order do not make one sure of it: the next one may disagree with one of them.
    most = 1 - 4 / (len(a) * (len(a) - 1))
    centre = np.arctanh(np.clip(tau, -most, most))
    low, high = float(np.tanh(centre - half)), float(np.tanh(centre + half))
    return {"tau": tau, "low": min(low, tau), "high": max(high, tau)}
