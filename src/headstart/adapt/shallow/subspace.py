"""Subspaces: align the domains' principal subspaces (SA), or integrate over all between them (GFK)."""

from __future__ import annotations

import numpy as np

from headstart.adapt.shallow.method import (
    Adapted,
    Array,
    Classifier,
    Domains,
    Shallow,
    centred,
    classify,
    principal_axes,
)
from headstart.core.registry import register


@register(
    "adaptation",
    "sa",
    summary="the source's principal axes turned onto the target's",
    source="Fernando et al. 2013, ICCV, arXiv 1409.5241",
    defaults={"any": {"dimension": 30, "classifier": "logistic"}},
    needs=("features",),
)
class SubspaceAlignment(Shallow):
    """Source on Ps Ps' Pt, target on Pt, with P the principal axes of each centred domain."""

    def __init__(self, dimension: int = 30, classifier: Classifier = "logistic") -> None:
        self.dimension, self.classifier = dimension, classifier

    def fit(self, domains: Domains) -> Adapted:
        d = domains
        (xs, _), (xt, _) = centred(d.source), centred(d.target)
        ps, pt = principal_axes(xs, self.dimension), principal_axes(xt, self.dimension)
        source, target = xs @ ps @ (ps.T @ pt), xt @ pt
        facts = {"dimension": pt.shape[1]}
        return Adapted(classify(source, d.labels, target, d.classes, self.classifier), source, target, facts=facts)


@register(
    "adaptation",
    "gfk",
    summary="geodesic flow kernel: all subspaces between the domains' at once",
    source="Gong et al. 2012, CVPR",
    defaults={"any": {"dimension": 20, "classifier": "logistic"}},
    needs=("features",),
)
class GeodesicFlowKernel(Shallow):
    """Features F = sqrt(G), with G the kernel that integrates projections over the geodesic from source to target.

    The path does not depend on the domains being of one mean: features are used as they are, as in the paper.
    """

    def __init__(self, dimension: int = 20, classifier: Classifier = "logistic") -> None:
        self.dimension, self.classifier = dimension, classifier

    def fit(self, domains: Domains) -> Adapted:
        d = domains
        root = flow_root(principal_axes(d.source, self.dimension), principal_axes(d.target, self.dimension))
        source, target = d.source @ root, d.target @ root
        return Adapted(
            classify(source, d.labels, target, d.classes, self.classifier),
            source,
            target,
            facts={"width": root.shape[1]},
        )


def flow_root(ps: Array, pt: Array) -> Array:
    """(D, ≤ 2d) root F of the geodesic flow kernel G = F F' between subspaces with axes (D, d).

    With principal angles t: G = [Ps U, Q] [[L1, L2], [L2, L3]] [Ps U, Q]', L1 = 1 + sin 2t / 2t,
    L2 = (cos 2t - 1) / 2t, L3 = 1 - sin 2t / 2t.
    """
    d = min(ps.shape[1], pt.shape[1])
    ps, pt = ps[:, :d], pt[:, :d]
    u, cosine, vt = np.linalg.svd(ps.T @ pt)
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine = np.sin(angle)
    # The part of the target's axes outside of the source's subspace; where there is none, it does not matter.
    q = -(pt @ vt.T - ps @ u * np.cos(angle)) / np.where(sine < 1e-8, 1.0, sine)
    twice = np.maximum(2 * angle, 1e-12)
    one, two, three = 1 + np.sin(twice) / twice, (np.cos(twice) - 1) / twice, 1 - np.sin(twice) / twice
    middle = np.block([[np.diag(one), np.diag(two)], [np.diag(two), np.diag(three)]])
    values, vectors = np.linalg.eigh(middle)
    return np.hstack([ps @ u, q]) @ (vectors * np.sqrt(np.maximum(values, 0)))
