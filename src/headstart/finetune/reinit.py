"""Re-initialisation of the top stages: what pretraining specialised most is learnt anew."""

from __future__ import annotations

import torch
from torch import nn

from headstart.core.errors import ConfigError
from headstart.core.seeding import derive
from headstart.models.backbone import Backbone

DEVIATION = 0.02
"""Of the normal distribution that BERT's weights start from (Devlin et al. 2019)."""


def check_reinit(backbone: Backbone, count: int) -> None:
    """Refuse to start all of a network at random.

    Raises
    ------
    ConfigError
        When the network has no more stages than that.
    """
    if count >= len(backbone.stages):
        raise ConfigError(
            f"The network has {len(backbone.stages)} stages; --reinit {count} would leave none.", "Use fewer."
        )


@torch.no_grad()
def reinitialise(backbone: Backbone, count: int, seed: int) -> list[str]:
    """Start the last `count` stages at random (Zhang et al. 2021, arXiv 2006.05987, section 5).

    Linear maps of a Transformer get BERT's normal distribution and zero biases, every other module its own reset.

    Returns
    -------
    list of str
        The stages.

    Raises
    ------
    ConfigError
        When the network has no more stages than that.
    """
    check_reinit(backbone, count)
    names = list(backbone.stages)
    chosen = names[len(names) - count :]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "reinit"))
        for name in chosen:
            for module in backbone.stages[name].modules():
                if isinstance(module, nn.Linear) and backbone.family == "transformer":
                    module.weight.normal_(std=DEVIATION)
                    if module.bias is not None:
                        module.bias.zero_()
                elif callable(reset := getattr(module, "reset_parameters", None)):
                    reset()
    return chosen
