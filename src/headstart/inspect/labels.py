"""Labels that are probably wrong: what a model that has not seen a sample thinks of its label.

Source: C. Northcutt, L. Jiang, I. Chuang, "Confident learning", JAIR 70 (2021), by cleanlab.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Suspicion:
    """How far each label is to be doubted.

    Attributes
    ----------
    quality
        (N,) from 0, surely wrong, to 1.
    order
        (N,) positions, the most suspicious first.
    issues
        Positions that confident learning calls label errors, the most suspicious first.
    """

    quality: np.ndarray
    order: np.ndarray
    issues: np.ndarray


def is_available() -> bool:
    """Whether cleanlab is installed."""
    return find_spec("cleanlab") is not None


def suspicious_labels(labels: np.ndarray, p: np.ndarray) -> Suspicion:
    """Doubt labels by probabilities that were predicted out of sample.

    Parameters
    ----------
    labels
        (N,) class numbers; every class occurs.
    p
        (N, C) probabilities by models that did not see the sample.

    Raises
    ------
    ModuleNotFoundError
        Without cleanlab (extra `[audit]`).
    """
    find_label_issues, get_label_quality_scores = _cleanlab()
    quality = get_label_quality_scores(labels, p, method="normalized_margin")
    issues = find_label_issues(labels, p, return_indices_ranked_by="normalized_margin", n_jobs=1)
    return Suspicion(quality, np.argsort(quality, kind="stable"), np.asarray(issues, dtype=np.int64))


def _cleanlab() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two functions in use.

    cleanlab loads the library datasets, which takes longer than all the rest, for its Datalab. It does without where
    that is not installed; whoever imports cleanlab afterwards gets the whole of it.
    """
    hide = "cleanlab" not in sys.modules and "datasets" not in sys.modules
    if hide:
        sys.modules["datasets"] = None  # type: ignore[assignment]
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    finally:
        if hide:
            del sys.modules["datasets"]
            sys.modules.pop("cleanlab", None)
    return find_label_issues, get_label_quality_scores
