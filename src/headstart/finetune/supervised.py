"""The supervised objective: cross-entropy, binary cross-entropy or squared error, with mixing of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.core.seeding import derive
from headstart.data.schema import Task
from headstart.models.model import Model
from headstart.train.batch import Batch, Feed, Order, Terms
from headstart.train.objective import Context, Objective


@dataclass(frozen=True)
class Loss:
    """How supervised losses are computed.

    Attributes
    ----------
    label_smoothing
        Share of the target spread over all classes (Szegedy et al. 2016, arXiv 1512.00567).
    class_weights
        Task -> (classes,) weights, for imbalance.
    spread
        Task -> deviation of a regression's labels: errors are measured in it.
    mixup, cutmix
        Alpha of the beta distribution; 0 is off. With both, each step draws one of them (as timm's Mixup).
    """

    label_smoothing: float = 0.0
    class_weights: Mapping[str, Tensor] | None = None
    spread: Mapping[str, float] | None = None
    mixup: float = 0.0
    cutmix: float = 0.0


class Supervised(Objective):
    """The loss of every task on its labelled samples.

    Parameters
    ----------
    tasks
        What is predicted.
    loss
        Smoothing, weights, mixing.
    view
        The view that is trained on: "train", or "plain" without augmentation.
    order
        Of the feed: "length" where samples differ in length.
    temperature
        Of the feed: how several data sets are drawn from.
    """

    def __init__(
        self,
        tasks: tuple[Task, ...],
        loss: Loss | None = None,
        view: str = "train",
        order: Order = "shuffle",
        temperature: float | None = None,
    ) -> None:
        self.tasks = tasks
        self.loss = loss or Loss()
        self.feeds = (Feed(paces=True, views=(view,), order=order, temperature=temperature),)
        self.view = view

    def losses(
        self, model: Model, batches: Mapping[str, Batch], ctx: Context, only: frozenset[str] | None = None
    ) -> Terms:
        batch = batches["train"]
        partner: Tensor | None = None
        share = torch.ones(())
        if (self.loss.mixup or self.loss.cutmix) and batch.after is None:
            batch, partner, share = mix(batch, self.view, model, self.loss, derive(ctx.seed, "mix", ctx.clock.step))
        output = model(batch, self.view)
        terms = Terms(shared=output.shared, extra=model.penalties())
        for task in self.tasks:
            each = self._loss(task, output.logits[task.name], batch, partner, share)
            terms.tasks["ce" if len(self.tasks) == 1 else task.name] = each
        return terms

    def _loss(self, task: Task, logits: Tensor, batch: Batch, partner: Tensor | None, share: Tensor) -> Tensor:
        y, present = batch.labels[task.name], batch.present[task.name]
        loss = self._each(task, logits, y, present)
        if partner is None:
            return loss
        return share * loss + (1 - share) * self._each(task, logits, y[partner], present[partner])

    def _each(self, task: Task, logits: Tensor, y: Tensor, present: Tensor) -> Tensor:
        """Mean over the samples that have the label (weighted by class where asked); 0 where none has."""
        if not bool(present.any()):
            return logits.sum() * 0.0
        logits, y = logits[present], y[present]
        if task.kind == "single-label":
            weights = (self.loss.class_weights or {}).get(task.name)
            weights = None if weights is None else weights.to(logits.device)
            return F.cross_entropy(logits, y, weight=weights, label_smoothing=self.loss.label_smoothing)
        if task.kind == "multi-label":
            known = ~torch.isnan(y)
            eps = self.loss.label_smoothing
            target = torch.nan_to_num(y) * (1 - eps) + eps / 2
            each = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * known
            return each.sum() / known.sum().clamp(min=1)
        spread = (self.loss.spread or {}).get(task.name, 1.0)
        return (((logits[:, 0] - y) / spread) ** 2).mean() / 2


def mix(batch: Batch, view: str, model: Model, loss: Loss, seed: int) -> tuple[Batch, Tensor, Tensor]:
    """Mixup (Zhang et al. 2018, arXiv 1710.09412) or CutMix (Yun et al. 2019, arXiv 1905.04899) of a batch.

    Returns
    -------
    batch, partner, share
        The batch with mixed inputs, (B,) the partner of each sample, and the share of its own label.
    """
    r = np.random.default_rng(seed)
    state = model.backbone.begin(batch.views[view])
    x = state["x"]
    partner = torch.as_tensor(r.permutation(len(batch)), device=x.device)
    cut = loss.cutmix and (not loss.mixup or r.random() < 0.5)
    share = float(r.beta(loss.cutmix, loss.cutmix) if cut else r.beta(loss.mixup, loss.mixup))
    if cut:
        height, width = x.shape[-2:]
        h, w = round(height * np.sqrt(1 - share)), round(width * np.sqrt(1 - share))
        top, left = int(r.integers(0, height - h + 1)), int(r.integers(0, width - w + 1))
        x = x.clone()
        x[..., top : top + h, left : left + w] = x[partner][..., top : top + h, left : left + w]
        share = 1 - h * w / (height * width)
    else:
        x = share * x + (1 - share) * x[partner]
    mixed = replace(batch, views={**batch.views, view: {**state, "x": x}}, begun=True)
    return mixed, partner, torch.tensor(share)
