"""Masked reconstruction: hidden stretches of a series are filled in from the rest."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from headstart.core.registry import register
from headstart.core.seeding import derive
from headstart.models.model import Model
from headstart.train.batch import Batch, Feed, Terms
from headstart.train.objective import Context, Objective

SHARE, STRETCH = 0.15, 3.0


@register(
    "pretraining",
    "masked-series",
    summary="hides stretches of each channel and fills them in from the rest; series",
    source="Zerveas et al. 2021 (arXiv 2010.02803): 15% of each channel in stretches of mean length 3, squared error",
    defaults={
        "any": {
            "share": SHARE,
            "stretch": STRETCH,
            "lr": 2e-3,
            "lr_further": 1e-3,
            "batch_size": 32,
            "steps": 1500,
            "most_epochs": 200,
            "clip": 1.0,
        },
    },
    needs={"sequence"},
)
class MaskedSeries(Objective):
    """Squared error at the hidden values, in units of the channels' deviations; missing values are never asked for.

    A hidden value enters as a missing one does.
    """

    name = "masked-series"
    metric = "mse"

    def __init__(self, part: str = "corpus", share: float = SHARE, stretch: float = STRETCH) -> None:
        self.part, self.share, self.stretch = part, share, stretch
        self.feeds = (Feed("corpus", part, labels=False, views=("plain",), order="length", paces=True),)

    def build(self, ctx: Context) -> dict[str, nn.Module]:
        backbone = ctx.model.backbone
        batch = ctx.reader.batch(self.part, [0], ("plain",), labels=False).to(ctx.device)
        with torch.no_grad():
            backbone.eval()
            width = backbone.dense(backbone.run(backbone.begin(batch.views["plain"])))[0].shape[-1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(ctx.seed, "decoder") % 2**31)
            return {"decoder": nn.Linear(width, backbone.input_spec.channels)}

    def losses(
        self, model: Model, batches: Mapping[str, Batch], ctx: Context, only: frozenset[str] | None = None
    ) -> Terms:
        batch = batches["corpus"]
        squares = self._squares(model, batch, derive(ctx.seed, "mask", ctx.clock.epoch, ctx.clock.step))
        return Terms({"fill-in": squares.mean() if len(squares) else squares.sum()})

    def judge(self, model: Model, batch: Batch) -> tuple[float, int]:
        """Sum of the squares and how many values it is over; the same values at every validation."""
        squares = self._squares(model, batch, derive(0, "judge", *batch.ids[:1]))
        return float(squares.sum()), len(squares)

    @staticmethod
    def shown(loss: float) -> float:
        """Mean squared error; 1 is what the channels' means would reach."""
        return loss

    def _squares(self, model: Model, batch: Batch, seed: int) -> Tensor:
        backbone = model.backbone
        view = batch.views["plain"]
        known = view["mask"][..., None] & ~torch.isnan(view["x"])
        hidden = stretches(view["x"].shape, self.share, self.stretch, seed).to(known.device) & known
        target = backbone.begin(view)["x"][..., : backbone.input_spec.channels]
        state = backbone.begin({**view, "x": view["x"].masked_fill(hidden, float("nan"))})
        made = model.parts["decoder"](backbone.dense(backbone.run(state))[0])
        return (made.float() - target.float())[hidden] ** 2


def stretches(shape: torch.Size, share: float, length: float, seed: int) -> Tensor:
    """(B, T, C) bool: stretches of geometric length with that mean, `share` of all on average, each channel its own.

    A chain with two states: it is left with probability 1 / length, and entered so that `share` is its stationary
    part.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    leave = 1 / length
    enter = leave * share / (1 - share)
    draw = torch.rand(shape, generator=generator)
    made = torch.empty(shape, dtype=torch.bool)
    inside = draw[:, 0] < share
    made[:, 0] = inside
    for t in range(1, shape[1]):
        inside = torch.where(inside, draw[:, t] >= leave, draw[:, t] < enter)
        made[:, t] = inside
    return made
