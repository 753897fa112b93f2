"""Methods with an adversary that tells the domains apart: DANN, CDAN, MDD, ADDA, MCD."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.adapt.deep.method import (
    SOURCE,
    TARGET,
    Alignment,
    Setting,
    discriminator,
    entropy,
    feature_width,
    ramp,
    reverse_gradient,
    standardised,
)
from headstart.core.registry import register
from headstart.core.seeding import derive
from headstart.models.model import Head, Model, Output
from headstart.train.batch import Batch, Terms
from headstart.train.objective import Context
from headstart.train.update import Alternate, Turn

WIDEST = 4096
"""Features × classes up to which CDAN takes the outer product; beyond, random projections of this many dimensions."""


class _Adversarial(Alignment):
    """A discriminator behind a reversed gradient: it learns to tell domains apart, the network not to be told apart."""

    name = "domain"

    def __init__(self, setting: Setting, weight: float = 1.0) -> None:
        super().__init__(setting, weight)

    def width(self, ctx: Context) -> int:
        return feature_width(ctx)

    def build(self, ctx: Context) -> dict[str, nn.Module]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(ctx.seed, "discriminator"))
            return {"discriminator": discriminator(self.width(ctx))}

    def loss(self, model: Model, source: Output, target: Output, y: Tensor, ctx: Context) -> Tensor:
        seen = torch.cat([self.seen(model, source), self.seen(model, target)])
        logit = model.parts["discriminator"](reverse_gradient(seen, ramp(ctx.clock.progress)))[:, 0]
        side = torch.cat([torch.ones(len(source.features)), torch.zeros(len(target.features))]).to(logit)
        each = F.binary_cross_entropy_with_logits(logit, side, reduction="none")
        weights = self.weights(torch.cat([self.chances(source), self.chances(target)]))
        # Each domain counts the same, whatever the sizes of the batches.
        n = len(source.features)
        return ((weights * each)[:n].mean() + (weights * each)[n:].mean()) / 2

    def seen(self, model: Model, output: Output) -> Tensor:
        """(B, W) what the discriminator sees."""
        return standardised(model, output.features)

    def weights(self, chances: Tensor) -> Tensor:
        """(B,) of the samples of both domains, mean 1, without gradient."""
        return torch.ones(len(chances), device=chances.device)


@register(
    "adaptation",
    "dann",
    summary="a discriminator of the domains behind a reversed gradient",
    source="Ganin et al. 2016, JMLR 17, arXiv 1505.07818",
    defaults={"any": {"weight": 1.0}},
    needs=("network",),
)
class Dann(_Adversarial):
    """Domain-adversarial training on the features."""


class _Conditional(_Adversarial):
    def width(self, ctx: Context) -> int:
        return min(WIDEST, feature_width(ctx) * self.setting.classes)

    def build(self, ctx: Context) -> dict[str, nn.Module]:
        made = super().build(ctx)
        width = feature_width(ctx)
        if width * self.setting.classes > WIDEST:
            made["projections"] = _Projections(width, self.setting.classes, WIDEST, derive(ctx.seed, "projections"))
        return made

    def seen(self, model: Model, output: Output) -> Tensor:
        features, chances = standardised(model, output.features), self.chances(output).detach()
        if "projections" in model.parts:
            return model.parts["projections"](features, chances)
        return conditioned(features, chances)


@register(
    "adaptation",
    "cdan",
    summary="DANN whose discriminator sees features times probabilities",
    source="Long et al. 2018, NeurIPS, arXiv 1705.10667",
    defaults={"any": {"weight": 1.0}},
    needs=("network",),
)
class Cdan(_Conditional):
    """Conditional adversarial adaptation, without entropy weights."""


@register(
    "adaptation",
    "cdan-e",
    summary="CDAN in which sure samples count more",
    source="Long et al. 2018, NeurIPS, arXiv 1705.10667 (CDAN+E)",
    defaults={"any": {"weight": 1.0}},
    needs=("network",),
)
class CdanE(_Conditional):
    """Samples weigh 1 + exp(-H), normalised over both domains together."""

    def weights(self, chances: Tensor) -> Tensor:
        return certainty(chances.detach())


def conditioned(features: Tensor, chances: Tensor) -> Tensor:
    """(B, C·D) the outer product of (B, C) probabilities and (B, D) features."""
    return (chances[:, :, None] * features[:, None, :]).flatten(1)


def certainty(chances: Tensor) -> Tensor:
    """(B,) 1 + exp(-H) with mean 1."""
    w = 1 + torch.exp(-entropy(chances))
    return w / w.mean()


class _Projections(nn.Module):
    """(R f) ⊙ (R' g) / √d: products of random projections, for outer products that would be too wide."""

    features: Tensor
    chances: Tensor

    def __init__(self, width: int, classes: int, outputs: int, seed: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.register_buffer("features", torch.randn(width, outputs, generator=random))
        self.register_buffer("chances", torch.randn(classes, outputs, generator=random))

    def forward(self, features: Tensor, chances: Tensor) -> Tensor:
        return (features @ self.features) * (chances @ self.chances) / self.features.shape[1] ** 0.5


@register(
    "adaptation",
    "mdd",
    summary="an adversarial classifier that agrees on the source and disagrees on the target, with a margin",
    source="Zhang et al. 2019, ICML, arXiv 1904.05801",
    defaults={"any": {"weight": 1.0, "margin": 4.0}},
    needs=("network",),
)
class Mdd(Alignment):
    """Margin disparity discrepancy; γ = exp(margin ρ) is 4 by default."""

    name = "mdd"

    def __init__(self, setting: Setting, weight: float = 1.0, margin: float = 4.0) -> None:
        super().__init__(setting, weight)
        self.margin = margin

    def build(self, ctx: Context) -> dict[str, nn.Module]:
        return {"adversary": second_head(ctx, self.setting.classes, "adversary")}

    def loss(self, model: Model, source: Output, target: Output, y: Tensor, ctx: Context) -> Tensor:
        strength = ramp(ctx.clock.progress)
        adversary = model.parts["adversary"]
        a = adversary(reverse_gradient(source.features, strength)).float()
        b = adversary(reverse_gradient(target.features, strength)).float()
        said = [o.logits[self.setting.task].argmax(1) for o in (source, target)]
        return margin_disparity(a, said[0], b, said[1], self.margin)


def margin_disparity(source: Tensor, said: Tensor, target: Tensor, target_said: Tensor, margin: float) -> Tensor:
    """γ CE(f'(xs), ŷs) - mean ln(1 - p'_ŷt(xt)): what the adversary minimises.

    Parameters
    ----------
    source, target
        (N, C) and (M, C) logits of the adversary.
    said, target_said
        (N,) and (M,) answers of the classifier.
    """
    p = target.log_softmax(1).gather(1, target_said[:, None])[:, 0]
    # ln(1 - p) from ln p, without losing it where p is near 1.
    away = torch.log(-torch.expm1(p.clamp(max=-1e-6)))
    return margin * F.cross_entropy(source, said) - away.mean()


def second_head(ctx: Context, classes: int, name: str) -> nn.Module:
    """Another head on the same features, random, in the same units."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(ctx.seed, name))
        head = Head(feature_width(ctx), classes)
    first = ctx.model.head()
    if isinstance(first, Head):
        head.mean.copy_(first.mean)
        head.scale.copy_(first.scale)
    return head


@register(
    "adaptation",
    "mcd",
    summary="two heads that disagree on the target as much as they can, and features on which they cannot",
    source="Saito et al. 2018, CVPR, arXiv 1712.02560",
    defaults={"any": {"steps": 4}},
    needs=("network",),
)
class Mcd(Alignment):
    """(A) everything learns the source; (B) heads part on the target; (C) features bring them together, `steps` times.

    Takes the place of the plain cross-entropy: both heads learn the source.
    """

    alone = True

    def __init__(self, setting: Setting, steps: int = 4) -> None:
        super().__init__(setting)
        self.steps = steps
        # A backward pass costs about two forward ones: of these (A) takes 3 for the source, (B) 1 for each domain, as
        # its gradients end at the heads, and (C) 3 for the target each time. One pass of both domains and back is 6.
        self.passes = round((3 + 2 + 3 * steps) / 6)

    def build(self, ctx: Context) -> dict[str, nn.Module]:
        return {"second": second_head(ctx, self.setting.classes, "second")}

    def update(self) -> Alternate:
        return Alternate(
            Turn(("backbone", "heads", "second"), ("ce", "ce2")),
            Turn(("heads", "second"), ("ce", "ce2", "-gap")),
            Turn(("backbone",), ("gap",), times=self.steps),
        )

    def losses(
        self, model: Model, batches: Mapping[str, Batch], ctx: Context, only: frozenset[str] | None = None
    ) -> Terms:
        terms, view, second = Terms(), self.setting.view, model.parts["second"]
        if only is None or "ce" in only:
            batch = batches[SOURCE]
            output, y = model(batch, view), batch.labels[self.setting.task]
            terms.tasks["ce"] = F.cross_entropy(output.logits[self.setting.task].float(), y)
            terms.tasks["ce2"] = F.cross_entropy(second(output.features).float(), y)
        if only is None or "gap" in only:
            assert not batches[TARGET].labels, "labels of the target must be masked"
            output = model(batches[TARGET], view)
            terms.tasks["gap"] = disagreement(output.logits[self.setting.task], second(output.features))
        return terms


def disagreement(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the probabilities of two heads' logits (B, C)."""
    return (a.float().softmax(1) - b.float().softmax(1)).abs().mean()


@register(
    "adaptation",
    "adda",
    summary="after the source is learned, a copy for the target fools a discriminator",
    source="Tzeng et al. 2017, CVPR, arXiv 1702.05464",
    defaults={"any": {}},
    needs=("network", "source model"),
)
class Adda(Alignment):
    """The source's network stays as the teacher; the target's starts from it, and the head is not moved.

    In turns: the discriminator learns teacher's source features from target features; the target's network learns to
    be taken for the source.
    """

    alone = True
    frozen_head = True
    needs = frozenset({"teacher"})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)

    def build(self, ctx: Context) -> dict[str, nn.Module]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(ctx.seed, "discriminator"))
            return {"discriminator": discriminator(feature_width(ctx))}

    def update(self) -> Alternate:
        return Alternate(Turn(("discriminator",), ("domain",)), Turn(("backbone",), ("fool",)))

    def losses(
        self, model: Model, batches: Mapping[str, Batch], ctx: Context, only: frozenset[str] | None = None
    ) -> Terms:
        assert not batches[TARGET].labels, "labels of the target must be masked"
        assert ctx.teacher is not None
        terms, judge, view = Terms(), model.parts["discriminator"], self.setting.view
        target = standardised(model, model(batches[TARGET], view).features)
        if only is None or "domain" in only:
            with torch.no_grad():
                source = standardised(model, ctx.teacher(batches[SOURCE], view).features)
            a, b = judge(source)[:, 0].float(), judge(target.detach())[:, 0].float()
            terms.tasks["domain"] = (
                F.binary_cross_entropy_with_logits(a, torch.ones_like(a))
                + F.binary_cross_entropy_with_logits(b, torch.zeros_like(b))
            ) / 2
        if only is None or "fool" in only:
            fooled = judge(target)[:, 0].float()
            terms.tasks["fool"] = F.binary_cross_entropy_with_logits(fooled, torch.ones_like(fooled))
        return terms
