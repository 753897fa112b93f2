"""Labels that are probably wrong: what a model that has not seen a sample thinks of its label.

Source: C. Northcutt, L. Jiang, I. Chuang, "Confident learning", JAIR 70 (2021), by cleanlab.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
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


def suspicious_sets(labels: np.ndarray, p: np.ndarray) -> Suspicion:
    """The same where a sample may have several labels.

    Parameters
    ----------
    labels
        (N, C) bool: which labels a sample has; all are known, and at least one label varies. Of those that do not
        there is nothing to doubt.
    p
        (N, C) probabilities of each label by models that did not see the sample.

    Notes
    -----
    Confident learning of each label against its absence, the quality of a sample an average that its worst label
    dominates: A. Thyagarajan, E. Snorrason, C. Northcutt, J. Mueller, "Identifying incorrect annotations in multi-label
    classification data", 2022 (arXiv 2211.13895), by cleanlab.
    """
    varies = labels.any(axis=0) & ~labels.all(axis=0)
    labels, p = labels[:, varies], p[:, varies]
    if labels.shape[1] == 1:
        return suspicious_labels(labels[:, 0].astype(np.int64), np.hstack([1 - p, p]))
    find_label_issues, get_label_quality_scores = _cleanlab("multilabel_classification.")
    sets = [np.flatnonzero(row).tolist() for row in labels]
    quality = get_label_quality_scores(sets, p)
    issues = find_label_issues(sets, p, return_indices_ranked_by="self_confidence", n_jobs=1)
    return Suspicion(quality, np.argsort(quality, kind="stable"), np.asarray(issues, dtype=np.int64))


def suspicious_numbers(labels: np.ndarray, predicted: np.ndarray, factor: float = 6.0) -> Suspicion:
    """Doubt numbers by how far they lie from what was predicted out of sample.

    Parameters
    ----------
    labels, predicted
        (N,) numbers; the predictions are by models that did not see the sample.
    factor
        Robust deviations of the residuals from which a number is called an error.

    Returns
    -------
    Suspicion
        `quality` is exp(-|r| / s), with the residual r less their median and s the robust deviation.
    """
    residual = labels - predicted
    residual = np.abs(residual - np.median(residual))
    spread = max(1.4826 * float(np.median(residual)), 1e-12 * float(np.abs(labels).max()), 1e-300)
    order = np.argsort(-residual, kind="stable")
    return Suspicion(np.exp(-residual / spread), order, order[residual[order] > factor * spread])


def _cleanlab(of: str = "") -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two functions in use, `of` a package of cleanlab's.

    cleanlab loads the library datasets, which takes longer than all the rest, for its Datalab. It does without where
    that is not installed; whoever imports cleanlab afterwards gets the whole of it.
    """
    hide = "cleanlab" not in sys.modules and "datasets" not in sys.modules
    if hide:
        sys.modules["datasets"] = None  # type: ignore[assignment]
    try:
        find = import_module(f"cleanlab.{of}filter").find_label_issues
        rank = import_module(f"cleanlab.{of}rank").get_label_quality_scores
    finally:
        if hide:
            del sys.modules["datasets"]
            sys.modules.pop("cleanlab", None)
    return find, rank
