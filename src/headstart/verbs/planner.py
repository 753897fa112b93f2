"""What is trained, in which order, and when to stop: candidates from cheap to dear under a budget of time.

Without a budget, `auto` trains one candidate beside the probe. With one, candidates compete by successive halving
(Jamieson & Talwalkar 2016, arXiv 1502.07943): all are tried with a quarter of their epochs, the better half with a
half, the best with all. Each trial runs its whole schedule, so that it ends settled. What does not fit into the budget
is left out, and the report says so.

Times are those of the durable steps, so that a resumed run decides as the first one did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headstart.core.progress import progress
from headstart.core.words import listed
from headstart.data.schema import missing
from headstart.features.probe import sample_losses
from headstart.measure import paired_difference
from headstart.verbs.candidates import Arm, Candidate, train_candidate
from headstart.verbs.estimate import training_seconds
from headstart.verbs.evaluation import calibrated
from headstart.verbs.mixture import temperature_of

if TYPE_CHECKING:
    from headstart.verbs.frozen import FrozenProbe
    from headstart.verbs.job import Job

RUNGS = (0.25, 0.5)
"""Shares of the epochs that are given before the last candidate gets all."""

LEAST = 0.25
"""The least share of its epochs that is worth training for."""

MARGIN = 0.8
"""Share of the time left that is planned with: speeds are measured for a moment only."""


def arms_of(job: Job) -> list[Arm]:
    """The candidates of `auto` under a budget, the usual one first."""
    if not job.pretrained:
        return [Arm("full", "full")]
    arms = [Arm("lp-ft", "lp-ft"), Arm("partial", "partial")]
    if job.modality.name == "image" and job.options.augment == "auto":
        other = "light" if job.few else "strong"
        arms.append(Arm(f"lp-ft, {other} augmentation", "lp-ft", {"augment": other}))
    else:
        arms.append(Arm("gradual", "gradual"))
    return arms


def train_within(
    job: Job,
    arms: list[Arm],
    starts: dict[str, FrozenProbe],
    mirror: bool,
    probe: np.ndarray,
    labels: np.ndarray,
    reasons: list[str],
) -> Candidate | None:
    """Train what the budget allows; the candidate that came through, or None.

    Parameters
    ----------
    arms
        The candidates, the usual one first.
    starts
        Strategy -> where its network ends.
    probe
        (N, K) held-out logits of the probe, of the protocol that candidates are judged by.
    labels
        Of the same samples.
    reasons
        Every decision is added here.
    """
    sizes = {arm.strategy: starts[arm.strategy].size for arm in arms}
    costs = job.step("costs", lambda: {a.name: training_seconds(job, a.strategy, sizes[a.strategy]) for a in arms})
    left = MARGIN * left_of(job)
    first = arms[0]
    halving = _halving_cost(arms, costs)
    said = f"{left:.0f} s of the budget of {job.options.budget:.0f} s can be planned with"
    if len(arms) > 1 and halving <= left:
        reasons.append(f"Successive halving over {listed([a.name for a in arms])}: about {halving:.0f} s, and {said}.")
        progress().say(reasons[-1])
        best = _halve(job, arms, costs, starts, mirror, probe, labels, reasons)
        return None if best is None else train_candidate(job, best, starts[best.strategy], mirror)
    if costs[first.name] <= left:
        reasons.append(f"{first.name} alone fits into the budget: about {costs[first.name]:.0f} s, and {said}.")
        return train_candidate(job, first, starts[first.strategy], mirror)
    for arm in sorted(arms, key=lambda a: -costs[a.name]):
        share = left / max(costs[arm.name], 1e-9)
        if arm.name in (first.name, "partial") and share >= LEAST:
            share = min(1.0, share)
            reasons.append(
                f"The budget allows {share:.0%} of the epochs of {arm.name} (all would take about "
                f"{costs[arm.name]:.0f} s, and {said})."
            )
            progress().say(reasons[-1])
            return train_candidate(job, replace(arm, share=share), starts[arm.strategy], mirror)
    cheapest = min(costs[a.name] for a in arms)
    reasons.append(f"Nothing was fine-tuned: it would take {cheapest:.0f} s or more, and {said}.")
    progress().say(reasons[-1])
    return None


def left_of(job: Job) -> float:
    """Seconds of the budget that are left for training: reading the test part and writing the report come after."""
    assert job.options.budget is not None
    spent = sum(seconds for name, seconds in job.seconds.items() if name != "costs")
    passes = len(job.parts["test"]) / max(1, len(job.parts["train"])) if "test" in job.parts else 0.0
    return max(0.0, job.options.budget - spent - 2 * passes * job.seconds.get("probe", 0.0) - 3.0)


def _survivors(number: int) -> list[int]:
    """How many candidates enter each rung, the last included: 4 -> [4, 2, 1]; 3 -> [3, 2, 1]."""
    counts = [number]
    for _ in RUNGS:
        counts.append(max(1, -(-counts[-1] // 2)))
    counts[-1] = 1
    return counts


def _halving_cost(arms: Sequence[Arm], costs: dict[str, float]) -> float:
    """At most: the dearest candidates survive."""
    dear = sorted((costs[a.name] for a in arms), reverse=True)
    shares = (*RUNGS, 1.0)
    return sum(share * sum(dear[:count]) for share, count in zip(shares, _survivors(len(arms)), strict=True))


def _halve(
    job: Job,
    arms: list[Arm],
    costs: dict[str, float],
    starts: dict[str, FrozenProbe],
    mirror: bool,
    probe: np.ndarray,
    labels: np.ndarray,
    reasons: list[str],
) -> Arm | None:
    """The candidate that survives; None where the probe is better than all of them beyond doubt."""
    counts = _survivors(len(arms))
    for share, keep in zip(RUNGS, counts[1:], strict=True):
        if len(arms) == 1:
            break
        found = {}
        for arm in arms:
            trial = replace(arm, share=share, trial=True)
            found[arm.name] = train_candidate(job, trial, starts[arm.strategy], mirror).validation
        ranked = _ranked(job, arms, costs, found, labels)
        scores = listed([f"{a.name} {_loss(job, found[a.name], labels).mean():.3f}" for a in ranked])
        kept, out = ranked[:keep], ranked[keep:]
        reasons.append(
            f"With {share:.0%} of the epochs, loss on held-out samples: {scores}; "
            f"{listed([a.name for a in out])} left out."
        )
        progress().say(reasons[-1])
        if _worse(job, found[kept[0].name], probe, labels):
            reasons.append(f"{kept[0].name} is worse than the probe beyond doubt: training was not continued.")
            return None
        arms = kept
    return arms[0]


def _ranked(
    job: Job, arms: list[Arm], costs: dict[str, float], found: dict[str, np.ndarray], labels: np.ndarray
) -> list[Arm]:
    """By loss; those within a standard error (paired) of the best come first, the cheapest of them ahead."""
    each = {a.name: _loss(job, found[a.name], labels) for a in arms}
    best = min(each.values(), key=np.mean)

    def tied(name: str) -> bool:
        gap = each[name] - best
        return bool(gap.mean() <= gap.std() / np.sqrt(len(gap)))

    return sorted(arms, key=lambda a: (not tied(a.name), costs[a.name] if tied(a.name) else each[a.name].mean()))


def _loss(job: Job, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    have = ~(np.isnan(logits).any(1) | missing(labels))
    return sample_losses(job.task, labels[have], logits[have])


def _worse(job: Job, logits: np.ndarray, probe: np.ndarray, labels: np.ndarray) -> bool:
    """Whether the paired 95% interval of candidate - probe lies wholly on the probe's side."""
    have = ~(np.isnan(logits).any(1) | np.isnan(probe).any(1) | missing(labels))
    y = labels[have]
    a, b = (calibrated(job.task, z[have], temperature_of(job.task, y, z[have])) for z in (logits, probe))
    gap = paired_difference(job.metric, y, a, b)
    end = gap.high if job.metric.higher_is_better else gap.low
    return end is not None and (end < 0 if job.metric.higher_is_better else end > 0)
