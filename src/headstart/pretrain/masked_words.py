"""Masked language modelling: hidden words are predicted from those around them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.core.errors import ModelError
from headstart.core.registry import register
from headstart.core.seeding import derive
from headstart.models.backbone import State
from headstart.models.model import Model
from headstart.pretrain.parts import MaskedDecoder
from headstart.train.batch import Batch, Feed, Terms
from headstart.train.objective import Context, Objective

SHARE, AS_MASK, AS_RANDOM = 0.15, 0.8, 0.1


@register(
    "pretraining",
    "masked-language-model",
    summary="hides 15% of the words and predicts them from the others; Transformers on texts",
    source="Devlin et al. 2019 (arXiv 1810.04805); drawn anew at every step: Liu et al. 2019 (arXiv 1907.11692)",
    defaults={
        "any": {"share": SHARE, "as_mask": AS_MASK, "as_random": AS_RANDOM},
        "transformer": {
            "lr": 5e-4,
            "lr_further": 1e-4,
            "batch_size": 16,
            "steps": 1500,
            "most_epochs": 20,
            "clip": 1.0,
        },
    },
    needs={"text"},
)
class MaskedLanguageModel(Objective):
    """Cross-entropy over the words that were chosen; of these 80% are masked, 10% replaced, 10% left.

    The decoder on top of the network is new: it learns with it, and is left behind afterwards.
    """

    name = "masked-language-model"
    metric = "perplexity"

    def __init__(self, part: str = "corpus", share: float = SHARE) -> None:
        self.part, self.share = part, share
        self.feeds = (Feed("corpus", part, labels=False, views=("plain",), order="shuffle", paces=True),)

    def build(self, ctx: Context) -> dict[str, nn.Module]:
        backbone: Any = ctx.model.backbone
        if backbone.tokenizer.special.mask is None:
            raise ModelError("The model's tokenizer has no mask token.", "Use a model that was made with one.")
        width = backbone.net.config.hidden_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(ctx.seed, "decoder") % 2**31)
            return {"decoder": MaskedDecoder(backbone.token_embedding(), width)}

    def losses(
        self, model: Model, batches: Mapping[str, Batch], ctx: Context, only: frozenset[str] | None = None
    ) -> Terms:
        seed = derive(ctx.seed, "mask", ctx.clock.epoch, ctx.clock.step, *batches["corpus"].ids[:1])
        logits, target = self._forward(model, batches["corpus"], seed)
        return Terms({"mlm": F.cross_entropy(logits, target) if len(target) else logits.sum() * 0.0})

    def judge(self, model: Model, batch: Batch) -> tuple[float, int]:
        """Sum of the loss and how many words it is over; the words are the same at every validation."""
        logits, target = self._forward(model, batch, derive(0, "judge", *batch.ids[:1]))
        return (float(F.cross_entropy(logits, target, reduction="sum")) if len(target) else 0.0), len(target)

    @staticmethod
    def shown(loss: float) -> float:
        """Perplexity over hidden words."""
        return math.exp(min(loss, 50.0))

    def _forward(self, model: Model, batch: Batch, seed: int) -> tuple[Tensor, Tensor]:
        backbone: Any = model.backbone
        state, chosen = hide(batch.views["plain"], backbone.tokenizer, self.share, seed)
        target = batch.views["plain"]["ids"][chosen]
        final = backbone.run(backbone.begin(state))
        # Only the chosen places are decoded: the scores of all would not fit into memory.
        logits = model.parts["decoder"](final["x"][chosen], backbone.token_embedding().weight)
        return logits.float(), target


def hide(view: State, tokenizer: Any, share: float, seed: int) -> tuple[State, Tensor]:
    """The view with words hidden, and (R, L) bool where."""
    ids, device = view["ids"], view["ids"].device
    generator = torch.Generator().manual_seed(seed % 2**63)
    draw = torch.rand(2, *ids.shape, generator=generator).to(device)
    random = torch.randint(tokenizer.size, ids.shape, generator=generator).to(device)
    special = torch.tensor(sorted(tokenizer.special.numbers()), device=device)
    chosen = (draw[0] < share) & view["mask"] & ~torch.isin(ids, special)
    hidden = torch.where(chosen & (draw[1] < AS_MASK), tokenizer.special.mask, ids)
    replaced = chosen & (draw[1] >= AS_MASK) & (draw[1] < AS_MASK + AS_RANDOM)
    return {**view, "ids": torch.where(replaced, random, hidden)}, chosen
