"""What is frozen is frozen for real: no gradients, and the whole stage in eval mode, at every step."""

from __future__ import annotations

import torch
from torch import nn

from headstart.core.errors import ConfigError, did_you_mean
from headstart.models.model import Model
from headstart.train.phase import Phase

BATCH_NORMS = nn.modules.batchnorm._BatchNorm


def rate_of(phase: Phase, group: str, is_part: bool) -> float | None:
    """The rate that a phase gives a group; None where it is frozen. "*" stands for parts not named."""
    if group in phase.rates:
        return phase.rates[group]
    return phase.rates.get("*") if is_part else None


def parameter_groups(model: Model, phase: Phase) -> list[dict]:
    """Sets `requires_grad` and returns the optimizer's groups: per stage, with and without weight decay.

    Weights of two or more dimensions decay; norms and biases do not.

    Raises
    ------
    ConfigError
        When the phase names a group that the model does not have.
    """
    named = model.groups()
    for name in phase.rates:
        if name not in named and name != "*":
            raise ConfigError(
                f"Phase {phase.name!r} gives a rate to {name!r}, which is no stage.",
                did_you_mean(name, named),
            )
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    groups: list[dict] = []
    for name, parameters in named.items():
        rate = rate_of(phase, name, is_part=name in model.parts)
        if rate is None:
            continue
        for parameter in parameters:
            parameter.requires_grad_(True)
        for decay in (True, False):
            members = [p for p in parameters if (p.dim() > 1) == decay]
            if members:
                weight_decay = phase.weight_decay if decay else 0.0
                groups.append(
                    {
                        "params": members,
                        "lr": rate,
                        "initial_lr": rate,
                        "weight_decay": weight_decay,
                        "name": name,
                    }
                )
    return groups


def set_train_mode(model: Model, phase: Phase) -> None:
    """Train mode for what the phase trains, eval mode for everything else; call after anything called `train()`."""
    model.eval()
    for name, stages in model.stage_modules().items():
        if name in phase.rates:
            for stage in stages:
                stage.train()
                if phase.bn == "freeze":
                    for module in stage.modules():
                        if isinstance(module, BATCH_NORMS):
                            module.eval()
    if "head" in phase.rates:
        model.heads.train()
    for name, part in model.parts.items():
        if rate_of(phase, name, is_part=True) is not None:
            part.train()
    model.training = True


def make_optimizer(groups: list[dict], device: torch.device) -> torch.optim.Optimizer:
    """AdamW (with bias correction), fused where the device has the kernel."""
    fused = device.type in ("cuda", "cpu")
    return torch.optim.AdamW(groups, lr=0.0, fused=fused)
