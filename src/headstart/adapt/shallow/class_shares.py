"""Correcting for other class shares in the target: BBSE and EM."""

from __future__ import annotations

import numpy as np
import torch

from headstart.adapt.shallow.method import FOLDS, Adapted, Array, Domains, Shallow, as_tensor
from headstart.core.registry import register
from headstart.data.schema import Task
from headstart.features.probe import as_outputs, fit_probe
from headstart.measure import fit_temperature
from headstart.measure.label_shift import black_box_shares, expected_shares, reweighted


class _Shares(Shallow):
    """A calibrated classifier of the source, whose answers are turned to the target's shares."""

    def fit(self, domains: Domains) -> Adapted:
        d = domains
        held_out, target = calibrated_answers(d)
        source = np.bincount(d.labels, minlength=d.classes) / len(d.labels)
        shares = self.shares(held_out, d.labels, target, source)
        return Adapted(reweighted(target, source, shares), facts={"shares": [round(float(s), 4) for s in shares]})

    def shares(self, held_out: Array, labels: Array, target: Array, source: Array) -> Array:
        raise NotImplementedError


@register(
    "adaptation",
    "bbse",
    summary="other class shares in the target, estimated from the classifier's confusion",
    source="Lipton et al. 2018, ICML, arXiv 1802.03916",
    needs=("features",),
)
class Bbse(_Shares):
    """Black-box shift estimation, then the classifier's answers at those shares."""

    def shares(self, held_out: Array, labels: Array, target: Array, source: Array) -> Array:
        return black_box_shares(held_out, labels, target)


@register(
    "adaptation",
    "em-shares",
    summary="other class shares in the target, by expectation and maximisation",
    source="Saerens et al. 2002, Neural Computation; Alexandari et al. 2020, arXiv 1901.06852",
    needs=("features",),
)
class EmShares(_Shares):
    """Saerens, Latinne and Decaestecker's rounds on calibrated answers."""

    def shares(self, held_out: Array, labels: Array, target: Array, source: Array) -> Array:
        return expected_shares(target, source)


def calibrated_answers(d: Domains) -> tuple[Array, Array]:
    """(N, C) out-of-fold and (M, C) target probabilities of a logistic regression on the source, at one temperature."""
    task = Task("label", "single-label", tuple(str(c) for c in range(d.classes)))
    folds = torch.as_tensor(np.random.default_rng(0).permutation(len(d.source)) % FOLDS)
    probe = fit_probe(as_tensor(d.source), d.labels, task, "accuracy", folds)
    held_out, target = probe.held_out.numpy(), probe.logits(as_tensor(d.target)).numpy()
    temperature = fit_temperature(held_out, d.labels, "single-label")
    return as_outputs(task, held_out / temperature), as_outputs(task, target / temperature)
