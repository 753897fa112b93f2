"""Weights between a network with a probe and the same network fine-tuned from there, where they are better than both.

Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), arXiv 2109.01903.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from headstart.data.schema import missing
from headstart.features.probe import as_metric, sample_losses, score
from headstart.models.model import Model
from headstart.train.inference import outputs
from headstart.train.phase import Strategy

if TYPE_CHECKING:
    from headstart.verbs.job import Job
    from headstart.verbs.options import FitOptions

SHARES = (0.25, 0.5, 0.75)
"""Shares of the fine-tuned weights that are compared with all of them."""

HALF = 0.5
"""The one share that is compared out of folds; the paper's recommendation where nothing can be measured."""


def interpolates(options: FitOptions, strategy: Strategy) -> bool:
    """Whether weights in between may be taken: as asked, else where the strategy is left to Headstart.

    Only behind a start that is a model itself: a head that starts at random has nothing half-way to it.
    """
    asked = options.strategy == "auto" if options.interpolate is None else options.interpolate
    return asked and strategy.head == "probe" and not options.reinit and bool(strategy.phases)


def snapshot(model: Model) -> dict[str, Tensor]:
    """A copy of everything in a model that has a value in between: weights, and statistics of normalisation."""
    return {k: v.detach().clone() for k, v in model.state_dict().items() if v.is_floating_point()}


@torch.no_grad()
def interpolate(model: Model, start: Mapping[str, Tensor], share: float) -> None:
    """share · the model's weights + (1 - share) · those of its start, in place."""
    moved = set()
    for name, value in model.state_dict().items():
        # What goes by several names (tied weights, stages that branches share) is moved once.
        if name in start and (value.data_ptr(), value.shape) not in moved:
            moved.add((value.data_ptr(), value.shape))
            value.lerp_(start[name].to(value.device), 1 - share)


@contextmanager
def in_between(model: Model, start: Mapping[str, Tensor], share: float) -> Iterator[Model]:
    """Within the block the model has the weights in between."""
    own = snapshot(model)
    interpolate(model, start, share)
    try:
        yield model
    finally:
        interpolate(model, own, 0.0)


def settle_share(
    job: Job, model: Model, start: Mapping[str, Tensor], logits: np.ndarray
) -> tuple[float, np.ndarray, str]:
    """The share of the fine-tuned weights that validation prefers, the logits there, and why."""
    task, labels, reader = job.task, job.labels("validation"), job.reader(model.backbone)
    tried = {}
    for share in SHARES:
        with in_between(model, start, share):
            tried[share] = outputs(model, reader, "validation", dtype=job.dtype).logits[task.name]
    known = ~missing(labels)
    y = labels[known]
    each = {share: sample_losses(task, y, z[known]) for share, z in tried.items()}
    best = min(each, key=lambda share: float(each[share].mean()))
    less = sample_losses(task, y, logits[known]) - each[best]
    error = float(less.std() / np.sqrt(max(1, len(less))))
    before, after = (score(task, job.metric.name, y, z[known]) for z in (logits, tried[best]))
    was, now = (as_metric(task, job.metric.name, scored) for scored in (before, after))
    said = (
        f"with {best:.0%} of the way from the probe to the fine-tuned weights, the loss on validation changes by "
        f"{-less.mean():+.3f} (standard error {error:.3f}) and {job.metric.name} from {was:.3f} to {now:.3f}"
    )
    if less.mean() > error and after >= before:
        return best, tried[best], f"Weights were interpolated: {said}."
    return 1.0, logits, f"Weights were not interpolated: {said}."
