"""Are probabilities what they say? Temperature scaling, reliability bins, calibration error.

Sources. Temperature: C. Guo et al., "On calibration of modern neural networks", ICML 2017. Debiased error and
bins of equal mass: A. Kumar, P. Liang, T. Ma, "Verified uncertainty calibration", NeurIPS 2019, section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from headstart.measure.weighting import Array, over_samples, ratio

TEMPERATURES = (0.05, 20.0)
"""Bounds of the temperature."""


def fit_temperature(logits: ArrayLike, labels: ArrayLike, kind: Literal["single-label", "multi-label"]) -> float:
    """The temperature T that minimises the log loss of softmax(logits / T) or sigmoid(logits / T).

    Parameters
    ----------
    logits
        (N, K).
    labels
        (N,) class indices, negative where missing; multi-label (N, K) zeros and ones, NaN where missing.
    kind
        Softmax or sigmoid. A multi-label task has one temperature for all its labels.

    Returns
    -------
    float
        Within `TEMPERATURES`. 1.0 where the data do not determine it: no labels, logits that favour nothing,
        logits that are not finite, or every prediction right, which the log loss would reward with ever more
        confidence.
    """
    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    if kind == "single-label":
        use = labels >= 0
        logits, truth = logits[use], labels[use].astype(int)[:, None]
        margins = logits - np.take_along_axis(logits, truth, axis=1) if len(logits) else logits
        others = np.arange(logits.shape[1]) != truth
        right = (margins < 0)[others].all()
    else:
        use = ~np.isnan(labels)
        margins = np.where(labels[use] > 0.5, -logits[use], logits[use])
        right = (margins < 0).all()
    if not margins.size or right or not np.isfinite(margins).all() or not margins.any():
        return 1.0

    def loss(log_t: float) -> float:
        scaled = margins * np.exp(-log_t)
        return float((special.logsumexp(scaled, axis=1) if scaled.ndim == 2 else np.logaddexp(0, scaled)).mean())

    low, high = np.log(TEMPERATURES)
    found = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def apply_temperature(logits: ArrayLike, temperature: float, kind: Literal["single-label", "multi-label"]) -> Array:
    """Probabilities (N, K) from logits (N, K).

    >>> apply_temperature([[2.0, 0.0]], 2.0, "single-label").round(3).tolist()
    [[0.731, 0.269]]
    """
    scaled = np.asarray(logits, dtype=float) / temperature
    return special.softmax(scaled, axis=1) if kind == "single-label" else special.expit(scaled)


@dataclass(frozen=True)
class Bin:
    """Samples with a confidence in [low, high): how many, how confident on average, how often right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def bin_edges(confidence: Array, bins: int, by: Literal["width", "mass"]) -> Array:
    """Ascending edges, from at most the lowest to at least the highest confidence.

    Bins of equal mass have their edges at quantiles. Equal confidences never part, so ties can make them
    fewer and uneven.
    """
    if by == "width":
        return np.linspace(0.0, 1.0, bins + 1)
    return np.unique(np.quantile(confidence, np.linspace(0, 1, bins + 1), method="higher"))


def _bin_of(confidence: Array, edges: Array) -> Array:
    return np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, max(len(edges) - 2, 0))


def reliability_bins(
    confidence: ArrayLike, correct: ArrayLike, bins: int = 15, by: Literal["width", "mass"] = "width"
) -> list[Bin]:
    """Bins of a reliability diagram; empty ones are left out.

    Parameters
    ----------
    confidence
        (N,) probabilities.
    correct
        (N,) whether what was given this probability came true.
    bins, by
        How many bins, of equal width between 0 and 1 or of about equal numbers of samples.
    """
    confidence, correct = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if not len(confidence):
        return []
    edges = bin_edges(confidence, bins, by)
    index = _bin_of(confidence, edges)
    found = []
    for b in np.unique(index):
        inside = index == b
        found.append(
            Bin(
                low=float(edges[b]),
                high=float(edges[min(b + 1, len(edges) - 1)]),
                n=int(inside.sum()),
                confidence=float(confidence[inside].mean()),
                accuracy=float(correct[inside].mean()),
            )
        )
    return found


def calibration_error(
    confidence: ArrayLike,
    correct: ArrayLike,
    bins: int = 15,
    by: Literal["width", "mass"] = "width",
    norm: Literal["l1", "l2", "max"] = "l1",
) -> float:
    """Plain expected calibration error: the gaps of the bins between confidence and accuracy, by mass.

    Sampling noise alone makes it positive: a perfect model on 1,000 samples gets about .04. NaN without
    samples.

    >>> round(calibration_error([0.25, 0.25, 0.55, 0.75, 0.75], [0, 0, 1, 1, 1], bins=2), 4)
    0.29
    """
    found = reliability_bins(confidence, correct, bins, by)
    if not found:
        return float("nan")
    gaps = np.array([abs(b.confidence - b.accuracy) for b in found])
    mass = np.array([b.n for b in found]) / sum(b.n for b in found)
    if norm == "max":
        return float(gaps.max())
    return float((mass * gaps).sum() if norm == "l1" else np.sqrt((mass * gaps**2).sum()))


def squared_error_debiased(confidence: Array, correct: Array, weights: Array, noise: float = 1.0) -> Array:
    """Mean squared gap between confidence and accuracy less what sampling noise alone contributes.

    The sum over bins of mass * ((confidence - accuracy)^2 - accuracy * (1 - accuracy) / (n - 1)): unbiased
    for the squared error of the binned model, so it can be negative. At most 15 bins of equal mass, no fewer
    than about 10 samples in each. A bin of a single sample says nothing of its noise and counts as 0.

    Parameters
    ----------
    confidence, correct
        (N,).
    weights
        (B, N) sample weights; the bins are those of all N samples, whatever the weights.
    noise
        How many times the noise is subtracted: 2 for bootstrap resamples, which carry that of the sample and
        their own.

    Returns
    -------
    Array
        (B,).
    """
    bins = int(np.clip(len(confidence) // 10, 1, 15))
    index = _bin_of(confidence, bin_edges(confidence, bins, "mass"))
    member = np.eye(int(index.max()) + 1)[index]
    n = weights @ member
    accuracy = np.nan_to_num(ratio(weights @ (member * correct[:, None]), n))
    gap = np.nan_to_num(ratio(weights @ (member * (confidence - correct)[:, None]), n))
    spread = ratio(accuracy * (1 - accuracy), n - 1)
    parts = np.where(np.isnan(spread), 0.0, gap**2 - noise * spread)
    return ratio((n * parts).sum(axis=1), weights.sum(axis=1))


def _top(labels: Array, outputs: Array) -> tuple[Array, Array]:
    return outputs.max(axis=1).astype(float), (outputs.argmax(axis=1) == labels).astype(float)


@over_samples
def ece(labels: Array, outputs: Array, weights: Array) -> Array:
    """Debiased calibration error of the predicted class: root of `squared_error_debiased`, 0 below 0.

    Parameters
    ----------
    labels
        (N,) class indices, negative where missing.
    outputs
        (N, K) probabilities.
    weights
        (B, N), optional.
    """
    return np.sqrt(np.maximum(squared_error_debiased(*_top(labels, outputs), weights), 0.0))


@over_samples
def ece_of_resamples(labels: Array, outputs: Array, weights: Array) -> Array:
    """`ece` for the weights (B, N) of bootstrap resamples, with the noise of both drawings subtracted."""
    return np.sqrt(np.maximum(squared_error_debiased(*_top(labels, outputs), weights, noise=2.0), 0.0))
