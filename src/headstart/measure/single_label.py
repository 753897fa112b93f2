"""Metrics where each sample has one of K classes.

Every function takes labels (N,), class indices, negative where missing; outputs (N, K), probabilities; and,
for bootstraps, weights (B, N). Those that need no probabilities also take predicted classes (N,).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from headstart.measure.ranking import area_under_roc
from headstart.measure.weighting import Array, mean_of_defined, over_samples, ratio


def _predicted(outputs: Array) -> Array:
    return outputs.argmax(axis=1) if outputs.ndim == 2 else outputs


def _counts(labels: Array, predicted: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Weight of correct, labelled and predicted samples per class, each (B, classes that occur in either)."""
    _, index = np.unique(np.concatenate([labels, predicted]), return_inverse=True)
    label, guess = index[: len(labels)], index[len(labels) :]
    rows, shape = np.arange(len(labels)), (len(labels), int(index.max()) + 1)

    def per_class(use: Array, classes: Array) -> Array:
        return np.asarray(weights @ sparse.csr_array((use.astype(float), (rows, classes)), shape=shape))

    every = np.ones(len(labels))
    return per_class(label == guess, label), per_class(every, label), per_class(every, guess)


@over_samples
def accuracy(labels: Array, outputs: Array, weights: Array) -> Array:
    """Share of samples whose predicted class is right.

    >>> accuracy([0, 1, 1, -1], [0, 1, 0, 0])
    0.6666666666666666
    """
    return ratio(weights @ (labels == _predicted(outputs)), weights.sum(axis=1))


@over_samples
def balanced_accuracy(labels: Array, outputs: Array, weights: Array) -> Array:
    """Mean recall of the classes that have samples; classes without any are left out.

    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    correct, labelled, _ = _counts(labels, _predicted(outputs), weights)
    return mean_of_defined(ratio(correct, labelled))


@over_samples
def macro_f1(labels: Array, outputs: Array, weights: Array) -> Array:
    """Mean F1 of the classes that are labelled or predicted somewhere; other classes are left out.

    >>> round(macro_f1([0, 0, 1, 1], [0, 0, 0, 1]), 4)
    0.7333
    """
    correct, labelled, predicted = _counts(labels, _predicted(outputs), weights)
    return mean_of_defined(ratio(2 * correct, labelled + predicted))


@over_samples
def auroc(labels: Array, outputs: Array, weights: Array) -> Array:
    """Area under the ROC curve: of class 1 of two, or the mean over classes of each against the rest.

    Classes that no sample or every sample has are left out; undefined where that leaves none.

    >>> auroc([0, 0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    0.75
    """
    classes = [1] if outputs.shape[1] == 2 else np.unique(labels)
    areas = [area_under_roc(outputs[:, c], labels == c, weights) for c in classes]
    return mean_of_defined(np.stack(areas, axis=1))


@over_samples
def log_loss(labels: Array, outputs: Array, weights: Array) -> Array:
    """Mean negative logarithm of the label's probability, which counts as no less than its type's epsilon.

    >>> round(log_loss([0, 1], [[0.5, 0.5], [0.75, 0.25]]), 4)
    1.0397
    """
    return ratio(weights @ sample_log_loss(labels, outputs), weights.sum(axis=1))


def sample_log_loss(labels: Array, outputs: Array) -> Array:
    """Log loss (N,) of each sample; labels must not be missing."""
    p = outputs[np.arange(len(labels)), labels.astype(int)]
    return -np.log(np.clip(p, np.finfo(outputs.dtype).eps, None).astype(float))
