"""Adaptation without training: the target's statistics in batch norms (AdaBN), and entropy at test time (TENT)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn

from headstart.adapt.deep.method import entropy
from headstart.core.errors import ConfigError
from headstart.core.registry import register
from headstart.models.model import Model
from headstart.train.batch import Batch

BATCH_NORMS = nn.modules.batchnorm._BatchNorm
NORMS = (BATCH_NORMS, nn.LayerNorm, nn.GroupNorm)


@register(
    "adaptation",
    "adabn",
    summary="batch norms get the target's mean and variance; nothing is trained",
    source="Li et al. 2017, ICLR workshop, arXiv 1603.04779",
    needs=("network", "source model", "no source", "no training"),
)
def adapt_statistics(model: Model, batches: Iterable[Batch], view: str = "plain") -> int:
    """Replace the statistics of every batch norm by those of these batches, in place.

    Means and variances are averaged over the batches (PyTorch's momentum None).

    Returns
    -------
    int
        How many layers were adapted; 0 for a network without batch norms and where no batch has two samples (one has
        no statistics): then the network is left as it is.
    """
    layers = [m for m in model.backbone.modules() if isinstance(m, BATCH_NORMS) and m.running_mean is not None]
    usable = (batch for batch in batches if len(batch) > 1)
    first = next(usable, None) if layers else None
    if first is None:
        return 0
    model.eval()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    with torch.no_grad():
        for batch in chain([first], usable):
            model(batch, view)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
    return len(layers)


@register(
    "adaptation",
    "tent",
    summary="at test time: norms' scales and shifts follow the entropy of each batch's answers",
    source="Wang et al. 2021, ICLR, arXiv 2006.10726",
    defaults={"any": {"lr": 1e-3, "steps": 1, "episodic": False, "collapse": 0.5}},
    needs=("network", "source model", "no source", "no training"),
)
class Tent:
    """A predictor that adapts to the batches it predicts.

    Only scales and shifts of normalisation layers move; batch norms use each batch's own statistics. The answers
    returned are those before the step of the last pass, as in the authors' code: every batch is passed once.

    Parameters
    ----------
    model
        Adapted in place; `reset` brings its start back.
    task, view
        Whose logits; of which view.
    episodic
        Whether every batch starts anew.
    collapse
        Entropy without labels is least where all answers are the same. Where the spread of a batch's answers over
        classes (the entropy of their mean) is below this share of what the unadapted model gives for the same batch,
        the model is reset and its answers are taken; 0 never looks. `collapses` counts it.

    Raises
    ------
    ConfigError
        For a network without normalisation layers.
    """

    def __init__(
        self,
        model: Model,
        task: str,
        view: str = "plain",
        lr: float = 1e-3,
        steps: int = 1,
        episodic: bool = False,
        collapse: float = 0.5,
    ) -> None:
        self.model, self.task, self.view = model, task, view
        self.steps, self.episodic, self.collapse = steps, episodic, collapse
        self.collapses = 0
        self.losses: list[float] = []
        layers = [m for m in model.backbone.modules() if isinstance(m, NORMS)]
        model.requires_grad_(False)
        self.parameters = [p.requires_grad_(True) for m in layers for p in m.parameters(recurse=False)]
        if not self.parameters:
            raise ConfigError("The network has no normalisation layers, which TENT adapts.", "Use another method.")
        self._norms = [m for m in layers if isinstance(m, BATCH_NORMS)]
        self._start = [p.detach().clone() for p in self.parameters]
        self._lr = lr
        self.reset()

    def reset(self) -> None:
        """As before the first batch."""
        with torch.no_grad():
            for p, start in zip(self.parameters, self._start, strict=True):
                p.copy_(start)
        self._optimizer = torch.optim.Adam(self.parameters, lr=self._lr)

    def predict(self, batch: Batch) -> Tensor:
        """(B, C) probabilities of a batch, which the model then has adapted to."""
        if self.episodic:
            self.reset()
        plain = self._plain(batch) if self.collapse else None
        p = self._answers(batch, "batch")
        for step in range(self.steps):
            loss = entropy(p).mean()
            self.losses.append(float(loss.detach()))
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            if step + 1 < self.steps or self.episodic:
                p = self._answers(batch, "batch")
        p = p.detach()
        if plain is not None and _spread(p) < self.collapse * _spread(plain):
            self.collapses += 1
            self.reset()
            return plain
        return p

    def _answers(self, batch: Batch, statistics: Literal["batch", "kept"]) -> Tensor:
        self.model.eval()
        if statistics == "batch" and len(batch) > 1:
            kept = [(m.running_mean, m.running_var, m.num_batches_tracked) for m in self._norms]
            for m in self._norms:
                # Without running statistics a batch norm uses the batch's own, and keeps none.
                m.running_mean = m.running_var = m.num_batches_tracked = None
            try:
                return self.model(batch, self.view).logits[self.task].float().softmax(1)
            finally:
                for m, (mean, var, count) in zip(self._norms, kept, strict=True):
                    m.running_mean, m.running_var, m.num_batches_tracked = mean, var, count
        return self.model(batch, self.view).logits[self.task].float().softmax(1)

    @torch.no_grad()
    def _plain(self, batch: Batch) -> Tensor:
        """What the unadapted model says."""
        now = [p.detach().clone() for p in self.parameters]
        for p, start in zip(self.parameters, self._start, strict=True):
            p.copy_(start)
        found = self._answers(batch, "kept")
        for p, value in zip(self.parameters, now, strict=True):
            p.copy_(value)
        return found


def _spread(p: Tensor) -> float:
    """Entropy of the mean answer."""
    return float(entropy(p.mean(0)[None]))
