"""Labels from the target's own shape: rounds of self-training, and propagation over neighbours."""

from __future__ import annotations

import numpy as np
from scipy.sparse import diags_array
from scipy.sparse.linalg import cg

from headstart.adapt.shallow.method import (
    Adapted,
    Array,
    Domains,
    Shallow,
    classify,
    onehot,
    principal_axes,
    standardized,
)
from headstart.adapt.shallow.neighbours import graph
from headstart.core.registry import register


@register(
    "adaptation",
    "self-training",
    summary="each domain standardised, then rounds of fitting to the surest target answers too",
    source="Yarowsky 1995, ACL; growing shares: Zou et al. 2018, ECCV, arXiv 1810.07911",
    defaults={"any": {"rounds": 8, "first": 0.3, "standardize": True}},
    needs=("features",),
)
class SelfTraining(Shallow):
    """A classifier of the source labels the target; the surest share of each class joins the training, and grows.

    The share rises from `first` to all in equal steps; within each predicted class the same share is taken, so that
    easy classes do not crowd out the others. In the last rounds the target alone is fitted to.
    """

    def __init__(self, rounds: int = 8, first: float = 0.3, standardize: bool = True) -> None:
        self.rounds, self.first, self.standardize = rounds, first, standardize

    def fit(self, domains: Domains) -> Adapted:
        d = domains
        source, target = (standardized(d.source), standardized(d.target)) if self.standardize else (d.source, d.target)
        p = classify(source, d.labels, target, d.classes)
        for share in np.linspace(self.first, 1.0, self.rounds):
            said, kept = p.argmax(1), surest(p, share)
            if len(np.unique(said[kept])) < 2:
                break
            x, y = target[kept], said[kept]
            # While few target samples are sure of themselves, the source says what a class is.
            if share < 0.75:
                x, y = np.concatenate([source, x]), np.concatenate([d.labels, y])
            p = classify(x, y, target, d.classes)
        facts = {"rounds": self.rounds}
        return Adapted(p, source, target, facts=facts) if self.standardize else Adapted(p, facts=facts)


def surest(p: Array, share: float) -> Array:
    """(k,) positions of the most confident share of each predicted class, at least one of each."""
    said, sure = p.argmax(1), p.max(1)
    kept = []
    for c in np.unique(said):
        rows = np.flatnonzero(said == c)
        order = rows[np.argsort(-sure[rows], kind="stable")]
        kept.append(order[: max(1, round(share * len(rows)))])
    return np.sort(np.concatenate(kept))


@register(
    "adaptation",
    "label-propagation",
    summary="each domain standardised, then labels spread from the source over a graph of neighbours",
    source="Zhou et al. 2004, NeurIPS 16 (local and global consistency)",
    defaults={"any": {"neighbours": 10, "alpha": 0.99, "dimension": 50, "standardize": True}},
    needs=("features",),
)
class LabelPropagation(Shallow):
    """F = (1 - α) (I - α S)⁻¹ Y, S the normalised graph of cosine neighbours of both domains.

    Parameters
    ----------
    dimension
        Principal axes that neighbours are looked for on.
    """

    def __init__(
        self, neighbours: int = 10, alpha: float = 0.99, dimension: int = 50, standardize: bool = True
    ) -> None:
        self.neighbours, self.alpha, self.dimension, self.standardize = neighbours, alpha, dimension, standardize

    def fit(self, domains: Domains) -> Adapted:
        d, n = domains, len(domains.source)
        source, target = (standardized(d.source), standardized(d.target)) if self.standardize else (d.source, d.target)
        both = np.concatenate([source, target])
        z = (both - both.mean(0)) @ principal_axes(both, self.dimension)
        w = graph(z, self.neighbours)
        scale = diags_array(1 / np.sqrt(np.maximum(np.asarray(w.sum(1)).ravel(), 1e-12)))
        system = diags_array(np.ones(len(z))) - self.alpha * (scale @ w @ scale)
        y = np.zeros((len(z), d.classes))
        # Each class sends out the same mass, so that a large one does not win by its size.
        y[:n] = onehot(d.labels, d.classes) / np.maximum(np.bincount(d.labels, minlength=d.classes), 1)
        f = np.stack([cg(system, y[:, c], rtol=1e-8, maxiter=1000)[0] for c in range(d.classes)], 1)[n:]
        f = np.maximum(f, 0) + 1e-12 * (y[:n].sum(0) > 0)
        return Adapted(f / f.sum(1, keepdims=True))
