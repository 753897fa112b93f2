"""Methods that draw moments of the features together: DAN, JAN, DeepCORAL, DSAN, AFN, BSP."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.adapt.deep.method import Alignment, Setting, standardised
from headstart.core.registry import register
from headstart.measure.discrepancy import coral_distance, joint_mmd, local_mmd, mmd
from headstart.models.model import Model, Output
from headstart.train.objective import Context


@register(
    "adaptation",
    "dan",
    summary="multi-kernel MMD between the domains' features, and between their logits",
    source="Long et al. 2015, ICML, arXiv 1502.02791",
    defaults={"any": {"weight": 1.0, "ramp": True}},
    needs=("network",),
)
class Dan(Alignment):
    """Biased MMD (never negative) on what the head reads and on what it says."""

    name = "mmd"

    def __init__(self, setting: Setting, weight: float = 1.0, ramp: bool = True) -> None:
        super().__init__(setting, weight, ramp)

    def loss(self, model: Model, source: Output, target: Output, y: Tensor, ctx: Context) -> Tensor:
        features = mmd(standardised(model, source.features), standardised(model, target.features))
        return features + mmd(source.logits[self.setting.task], target.logits[self.setting.task])


@register(
    "adaptation",
    "jan",
    summary="MMD of the joint distribution of features and answers",
    source="Long et al. 2017, ICML, arXiv 1605.06636",
    defaults={"any": {"weight": 1.0, "ramp": True}},
    needs=("network",),
)
class Jan(Alignment):
    """The kernel of a sample is the product of those of its features and of its probabilities."""

    name = "jmmd"

    def __init__(self, setting: Setting, weight: float = 1.0, ramp: bool = True) -> None:
        super().__init__(setting, weight, ramp)

    def loss(self, model: Model, source: Output, target: Output, y: Tensor, ctx: Context) -> Tensor:
        features = standardised(model, source.features), standardised(model, target.features)
        return joint_mmd([features, (self.chances(source), self.chances(target))])


@register(
    "adaptation",
    "deep-coral",
    summary="the covariances of the domains' logits drawn together",
    source="Sun & Saenko 2016, ECCV workshops, arXiv 1607.01719",
    defaults={"any": {"weight": 1.0}},
    needs=("network",),
)
class DeepCoral(Alignment):
    """‖Cs - Ct‖² / (4 d²) of the last layer, as in the paper. There it is the layer of the logits."""

    name = "coral"

    def loss(self, model: Model, source: Output, target: Output, y: Tensor, ctx: Context) -> Tensor:
        return coral_distance(source.logits[self.setting.task], target.logits[self.setting.task])


@register(
    "adaptation",
    "dsan",
    summary="MMD within each class, by the target's probabilities",
    source="Zhu et al. 2020, TNNLS, arXiv 2106.09388",
    defaults={"any": {"weight": 0.5, "ramp": True}},
    needs=("network",),
)
class Dsan(Alignment):
    """Local MMD on the features."""

    name = "lmmd"

    def __init__(self, setting: Setting, weight: float = 0.5, ramp: bool = True) -> None:
        super().__init__(setting, weight, ramp)

    def loss(self, model: Model, source: Output, target: Output, y: Tensor, ctx: Context) -> Tensor:
        onehot = torch.nn.functional.one_hot(y, self.setting.classes).to(source.features.dtype)
        # The weights say which samples are compared; they are not to be moved.
        chances = self.chances(target).detach().to(source.features.dtype)
        features = standardised(model, source.features), standardised(model, target.features)
        return local_mmd(*features, onehot, chances)


@register(
    "adaptation",
    "afn",
    summary="the norm of every feature vector grows by a step",
    source="Xu et al. 2019, ICCV, arXiv 1811.07456 (stepwise)",
    defaults={"any": {"weight": 0.05, "step": 1.0}},
    needs=("network",),
)
class Afn(Alignment):
    """Mean of (‖f‖ - (‖f‖ without gradient) - Δ)², on both domains."""

    name = "afn"

    def __init__(self, setting: Setting, weight: float = 0.05, step: float = 1.0) -> None:
        super().__init__(setting, weight)
        self.step = step

    def loss(self, model: Model, source: Output, target: Output, y: Tensor, ctx: Context) -> Tensor:
        return sum(
            (stepwise_norm(standardised(model, o.features), self.step) for o in (source, target)), y.new_zeros(())
        )


@register(
    "adaptation",
    "bsp",
    summary="the largest singular value of each domain's features is held down; stands beside another method",
    source="Chen et al. 2019, ICML",
    defaults={"any": {"weight": 1e-4}},
    needs=("network",),
)
class Bsp(Alignment):
    """Batch spectral penalisation: σ₁² of the source's features + σ₁² of the target's."""

    name = "bsp"

    def __init__(self, setting: Setting, weight: float = 1e-4) -> None:
        super().__init__(setting, weight)

    def loss(self, model: Model, source: Output, target: Output, y: Tensor, ctx: Context) -> Tensor:
        return spectral_penalty(standardised(model, source.features)) + spectral_penalty(
            standardised(model, target.features)
        )


def stepwise_norm(features: Tensor, step: float) -> Tensor:
    """Its value is step²; its gradient makes norms grow."""
    norms = features.norm(dim=1)
    return (norms - norms.detach() - step).square().mean()


def spectral_penalty(features: Tensor) -> Tensor:
    """The square of the largest singular value of (B, D)."""
    return torch.linalg.matrix_norm(features.float(), ord=2).square()
