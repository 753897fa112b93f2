"""Methods that shape the answers on the target: MCC, DeepJDOT, pseudo-labels, and without any source, SHOT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from headstart.adapt.deep.adversarial import certainty
from headstart.adapt.deep.method import TARGET, Alignment, Setting, entropy, standardised
from headstart.core.registry import register
from headstart.measure.discrepancy import squared_distances
from headstart.models.model import Model, Output
from headstart.train.batch import Batch, Terms
from headstart.train.objective import Context


@register(
    "adaptation",
    "mcc",
    summary="less confusion between classes on the target",
    source="Jin et al. 2020, ECCV, arXiv 1912.03699",
    defaults={"any": {"weight": 1.0, "temperature": 2.5}},
    needs=("network",),
)
class Mcc(Alignment):
    """Minimum class confusion; needs the target alone."""

    name = "mcc"

    def __init__(self, setting: Setting, weight: float = 1.0, temperature: float = 2.5) -> None:
        super().__init__(setting, weight)
        self.temperature = temperature

    def loss(self, model: Model, source: Output, target: Output, y: Tensor, ctx: Context) -> Tensor:
        return class_confusion(target.logits[self.setting.task].float(), self.temperature)


def class_confusion(logits: Tensor, temperature: float) -> Tensor:
    """Off-diagonal share of Y' diag(w) Y, rows normalised, with w = 1 + exp(-H) of mean 1; a scalar within [0, 1]."""
    p = (logits / temperature).softmax(1)
    weights = certainty(p).detach()
    confusion = (p * weights[:, None]).T @ p
    confusion = confusion / confusion.sum(1, keepdim=True).clamp(min=1e-12)
    return (confusion.sum() - confusion.diagonal().sum()) / logits.shape[1]


@register(
    "adaptation",
    "deep-jdot",
    summary="batches matched by features and labels; matched samples should be and say the same",
    source="Damodaran et al. 2018, ECCV, arXiv 1803.10081",
    defaults={"any": {"weight": 1.0, "distance": 0.1, "labels": 1.0, "ramp": True}},
    needs=("network",),
)
class DeepJdot(Alignment):
    """Σ over the matching of α ‖fs - ft‖² / D + λ CE(ys, p(xt)); the matching minimises the same, without gradient.

    The plan is an exact assignment: batches are small. Of unequal batches the smaller one is matched as a whole.
    """

    name = "jdot"

    def __init__(
        self, setting: Setting, weight: float = 1.0, distance: float = 0.1, labels: float = 1.0, ramp: bool = True
    ) -> None:
        super().__init__(setting, weight, ramp)
        self.distance, self.labels = distance, labels

    def loss(self, model: Model, source: Output, target: Output, y: Tensor, ctx: Context) -> Tensor:
        a, b = standardised(model, source.features).float(), standardised(model, target.features).float()
        wrong = -target.logits[self.setting.task].float().log_softmax(1)[:, y].T
        cost = self.distance * squared_distances(a, b) / a.shape[1] + self.labels * wrong
        rows, columns = linear_sum_assignment(cost.detach().cpu().numpy())
        return cost[torch.as_tensor(rows), torch.as_tensor(columns)].mean()


class _Relabelling(Alignment):
    """Keeps a label, or none (-1), for every target sample, renewed before each epoch."""

    def __init__(self, setting: Setting, weight: float = 1.0) -> None:
        super().__init__(setting, weight)
        self.labels = torch.empty(0, dtype=torch.long)

    def answers(self, ctx: Context) -> tuple[Tensor, Tensor]:
        """(M, C) probabilities and (M, D) features of the whole target, in order."""
        chances, features, index = [], [], []
        for batch in ctx.sweep(TARGET):
            output = ctx.model(batch)
            chances.append(self.chances(output).cpu())
            features.append(output.features.float().cpu())
            index.append(batch.index)
        order = torch.argsort(torch.cat(index))
        return torch.cat(chances)[order], torch.cat(features)[order]

    def of(self, batch: Batch) -> Tensor:
        state = next(iter(batch.views.values()))  # of pictures and series its key is x, of texts others
        return self.labels[batch.index.cpu()].to(next(iter(state.values())).device)

    def against_labels(self, model: Model, batch: Batch) -> Tensor:
        """Cross-entropy on the samples that have a label; 0 where none has."""
        logits, y = model(batch, self.setting.view).logits[self.setting.task].float(), self.of(batch)
        return F.cross_entropy(logits, y, ignore_index=-1, reduction="sum") / (y >= 0).sum().clamp(min=1)

    def state(self) -> dict[str, Any]:
        return {"labels": self.labels}

    def load_state(self, state: dict[str, Any]) -> None:
        self.labels = state["labels"]


@register(
    "adaptation",
    "pseudo-labels",
    summary="the surest answers of each class on the target are learned as labels, and more of them each epoch",
    source="Zou et al. 2018, ECCV, arXiv 1810.07911",
    defaults={"any": {"weight": 1.0, "first": 0.2, "last": 0.9}},
    needs=("network", "source if there is one"),
)
class PseudoLabels(_Relabelling):
    """Class-balanced self-training: of each predicted class a share gets labels; it grows from `first` to `last`.

    Its loss reads the target alone, so it can also go on from a trained network without any source.
    """

    name = "pseudo"

    def __init__(self, setting: Setting, weight: float = 1.0, first: float = 0.2, last: float = 0.9) -> None:
        super().__init__(setting, weight)
        self.first, self.last = first, last

    def epoch(self, ctx: Context) -> None:
        chances, _ = self.answers(ctx)
        done = ctx.clock.epoch / max(1, ctx.clock.epochs - 1)
        self.labels = sure_labels(chances, self.first + (self.last - self.first) * min(1.0, done))

    def losses(
        self, model: Model, batches: Mapping[str, Batch], ctx: Context, only: frozenset[str] | None = None
    ) -> Terms:
        assert not batches[TARGET].labels, "labels of the target must be masked"
        return Terms(extra={self.name: self.weight * self.against_labels(model, batches[TARGET])})


def sure_labels(chances: Tensor, share: float) -> Tensor:
    """(M,) the answer of the surest share of each predicted class, -1 for the others."""
    sure, said = chances.max(1)
    labels = torch.full_like(said, -1)
    for c in said.unique():
        rows = torch.nonzero(said == c)[:, 0]
        best = rows[torch.argsort(sure[rows], descending=True, stable=True)][: max(1, round(share * len(rows)))]
        labels[best] = c
    return labels


@register(
    "adaptation",
    "shot",
    summary="without the source: sure and varied answers, pseudo-labels by centroids, the head frozen",
    source="Liang et al. 2020, ICML, arXiv 2002.08546",
    defaults={"any": {"pseudo": 0.3}},
    needs=("network", "source model", "no source"),
)
class Shot(_Relabelling):
    """E[H(p)] - H(E p) + 0.3 CE(pseudo-label), on a network that has learned the source; its head stays."""

    alone = True
    frozen_head = True

    def __init__(self, setting: Setting, pseudo: float = 0.3) -> None:
        super().__init__(setting)
        self.pseudo = pseudo
        self.feeds = (setting.target_alone,)

    def epoch(self, ctx: Context) -> None:
        self.labels = centroid_labels(*self.answers(ctx))

    def losses(
        self, model: Model, batches: Mapping[str, Batch], ctx: Context, only: frozenset[str] | None = None
    ) -> Terms:
        batch = batches[TARGET]
        assert not batch.labels, "labels of the target must be masked"
        p = self.chances(model(batch, self.setting.view))
        terms = Terms({"entropy": entropy(p).mean(), "diversity": -entropy(p.mean(0)[None]).mean()})
        if self.pseudo:
            terms.tasks["pseudo"] = self.pseudo * self.against_labels(model, batch)
        return terms


def centroid_labels(chances: Tensor, features: Tensor, rounds: int = 2) -> Tensor:
    """(M,) the nearest class centroid by cosine; centroids first by probabilities, then by the labels themselves.

    A bias of 1 is appended to the features. Classes that nobody is given have no centroid in later rounds.
    """
    z = F.normalize(torch.cat([features, torch.ones(len(features), 1)], 1), dim=1)
    weights = chances
    here = torch.arange(chances.shape[1])
    for _ in range(rounds):
        centroids = F.normalize(weights.T @ z, dim=1)
        labels = here[(z @ centroids.T).argmax(1)]
        here = labels.unique()
        weights = (labels[:, None] == here[None]).float()
    return labels
