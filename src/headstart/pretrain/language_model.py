"""Language modelling: every word is predicted from those before it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.core.errors import ModelError
from headstart.core.registry import register
from headstart.core.seeding import derive
from headstart.models.backbone import Backbone, State
from headstart.models.model import Model
from headstart.pretrain.parts import TiedDecoder
from headstart.train.batch import Batch, Feed, Terms
from headstart.train.objective import Context, Objective


@register(
    "pretraining",
    "language-model",
    summary="predicts every word from those before it; recurrent networks on texts",
    source="Merity et al. 2018 (arXiv 1708.02182): tied decoder, 70 steps back, penalties on activations",
    defaults={
        "any": {"alpha": 2.0, "beta": 1.0},
        "rnn": {"lr": 3e-3, "lr_further": 1e-3, "batch_size": 32, "steps": 4000, "most_epochs": 20, "clip": 0.4},
    },
    needs={"text"},
)
class LanguageModel(Objective):
    """Cross-entropy of the next word over a stream; row i of a batch continues row i of the batch before.

    loss = CE + alpha · mean(h²) + beta · mean((r_t+1 - r_t)²), with h the last layer's output after dropout and r
    before it.

    Parameters
    ----------
    part
        Part of the data that holds the stream's pieces, `headstart.pretrain.corpus.Chunks` with `ahead` 1.
    """

    name = "language-model"
    metric = "perplexity"

    def __init__(self, part: str = "corpus", alpha: float = 2.0, beta: float = 1.0) -> None:
        self.part, self.alpha, self.beta = part, alpha, beta
        self.feeds = (Feed("corpus", part, labels=False, views=("plain",), order="stream", paces=True),)

    def build(self, ctx: Context) -> dict[str, nn.Module]:
        backbone: Any = ctx.model.backbone
        if getattr(backbone, "directions", 1) == 2:
            raise ModelError(
                "A network that reads from both ends sees the word it should predict.",
                "Use --arch bidirectional=no, or scratch:awd-lstm.",
            )
        for stage in backbone.stages.values():
            stage.carries = True
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(ctx.seed, "decoder") % 2**31)
            return {"decoder": TiedDecoder(backbone.token_embedding(), backbone.width)}

    def losses(
        self, model: Model, batches: Mapping[str, Batch], ctx: Context, only: frozenset[str] | None = None
    ) -> Terms:
        final, target = self._forward(model, batches["corpus"])
        ctx.carry = {k: v for k, v in final.items() if k.startswith("carry.")}
        loss = F.cross_entropy(self._logits(model, final["x"]).flatten(0, 1), target.flatten())
        terms = Terms({"lm": loss})
        if self.alpha:
            terms.extra["activation"] = self.alpha * final["x"].float().pow(2).mean()
        if self.beta and final["raw"].shape[1] > 1:
            terms.extra["change"] = self.beta * final["raw"].float().diff(dim=1).pow(2).mean()
        return terms

    def judge(self, model: Model, batch: Batch) -> tuple[float, int]:
        """Sum of the loss and how many words it is over."""
        final, target = self._forward(model, batch)
        loss = F.cross_entropy(self._logits(model, final["x"]).flatten(0, 1), target.flatten(), reduction="sum")
        return float(loss), target.numel()

    @staticmethod
    def shown(loss: float) -> float:
        """Perplexity: how many words it hesitates between."""
        return math.exp(min(loss, 50.0))

    @staticmethod
    def _logits(model: Model, x: Tensor) -> Tensor:
        return model.parts["decoder"](x, model.backbone.token_embedding().weight).float()  # type: ignore[operator]

    @staticmethod
    def _forward(model: Model, batch: Batch) -> tuple[State, Tensor]:
        backbone: Backbone = model.backbone
        view = batch.views["plain"]
        length = int(view["mask"][0].sum())
        ids = view["ids"][:, :length]
        state = {**view, "ids": ids[:, :-1], "mask": torch.ones_like(ids[:, :-1], dtype=torch.bool)}
        moved = replace(batch, views={"plain": state}).views["plain"]
        return backbone.run(backbone.begin(moved)), ids[:, 1:]
