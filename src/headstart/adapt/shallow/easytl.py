"""EasyTL: class centres of the source, and a linear programme that gives every class its share of the target."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array
from scipy.spatial.distance import cdist

from headstart.adapt.shallow.coral import aligned
from headstart.adapt.shallow.method import Adapted, Array, Domains, Shallow, centred
from headstart.core.registry import register

MOST_TARGET = 20_000
"""Target samples up to which the programme is solved; beyond, the nearest centre is taken."""


@register(
    "adaptation",
    "easytl",
    summary="nearest class centres by a linear programme in which no class stays empty; nothing to tune",
    source="Wang et al. 2019, ICME, arXiv 1904.01376",
    defaults={"any": {"align": True}},
    needs=("features",),
)
class EasyTL(Shallow):
    """Minimise Σ D_cj M_cj over 0 ≤ M ≤ 1 with Σ_c M_cj = 1 and, for classes of the source, Σ_j M_cj ≥ 1.

    D_cj is the distance of target sample j from the centre of class c, after CORAL (`align`).

    Parameters
    ----------
    align
        Whether CORAL aligns the source first ("EasyTL" in the paper; without it "EasyTL(c)").
    """

    def __init__(self, align: bool = True) -> None:
        self.align = align

    def fit(self, domains: Domains) -> Adapted:
        d = domains
        (xs, _), (xt, _) = centred(d.source), centred(d.target)
        source = aligned(xs, xt, 1.0) if self.align else d.source
        target = xt if self.align else d.target
        seen = np.unique(d.labels)
        centres = np.stack([source[d.labels == c].mean(0) for c in seen])
        distances = cdist(target, centres)
        shares = np.zeros((len(target), d.classes))
        shares[:, seen] = assigned(distances)
        mapped = (source, target) if self.align else (None, None)
        return Adapted(shares, *mapped)


def assigned(distances: Array) -> Array:
    """(M, C) the cheapest assignment in which each class has at least one sample's worth, where there are enough."""
    m, c = distances.shape
    nearest = np.eye(c)[distances.argmin(1)]
    if m < c or m > MOST_TARGET or (nearest.sum(0) >= 1).all():
        return nearest
    variable = np.arange(m * c)
    each_sample = coo_array((np.ones(m * c), (variable // c, variable)))
    each_class = coo_array((-np.ones(m * c), (variable % c, variable)))
    found = linprog(
        distances.ravel(), A_ub=each_class, b_ub=-np.ones(c), A_eq=each_sample, b_eq=np.ones(m), bounds=(0, 1)
    )
    return found.x.reshape(m, c) if found.success else nearest
