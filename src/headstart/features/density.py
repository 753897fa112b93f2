"""How much likelier a sample is in one domain than in the other, by a classifier that tells them apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from headstart.data.schema import Task
from headstart.features.probe import fit_probe

DIMENSIONS = 50
"""Principal axes that the classifier sees: in many dimensions any two samples can be told apart, and the ratio says
nothing."""

_DOMAINS = Task("domain", "single-label", ("source", "target"))


def density_ratio(source: Tensor, target: Tensor, new: Tensor | None = None, seed: int = 0) -> np.ndarray:
    """p_target(x) / p_source(x) at source samples, from held-out outputs of a logistic regression.

    Parameters
    ----------
    source, target
        (N, D) and (M, D) features; both are fitted to, each sample judged by a fold that it was not in.
    new
        (V, D) further source samples, which are only judged; the ratio is then of these.

    Returns
    -------
    np.ndarray
        (N,) or (V,) float64: (N/M) p(target | x) / p(source | x).

    Sources
    -------
    S. Bickel et al., Discriminative Learning Under Covariate Shift, JMLR 10 (2009).
    """
    both = torch.cat([source, target]).double()
    mean = both.mean(0)
    count = min(DIMENSIONS, both.shape[1], len(both) - 1)
    # The axes of a sample of both: the whole decomposition would cost more than everything after it.
    rows = np.random.default_rng(seed).permutation(len(both))[:2000]
    axes = torch.linalg.svd(both[torch.as_tensor(rows)] - mean, full_matrices=False).Vh[:count].T
    z = ((both - mean) @ axes).float()
    member = np.r_[np.zeros(len(source), np.int64), np.ones(len(target), np.int64)]
    folds = torch.as_tensor(np.random.default_rng(seed).permutation(len(z)) % 5)
    probe = fit_probe(z, member, _DOMAINS, "accuracy", folds)
    logits = probe.held_out[: len(source)]
    if new is not None:
        logits = probe.logits(((new.double() - mean) @ axes).float())
    odds = torch.exp((logits[:, 1] - logits[:, 0]).double()).numpy()
    return odds * len(source) / len(target)
