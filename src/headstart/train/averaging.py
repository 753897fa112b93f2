"""Exponential moving average of the weights that are trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters with gradients, and the float buffers (statistics) that training may move; by name."""
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    buffers = {n: b for n, b in model.named_buffers() if b.is_floating_point()}
    return {**parameters, **buffers}


class Average:
    """theta_bar <- d theta_bar + (1 - d) theta after every step, with d = min(decay, (1 + t) / (10 + t)).

    The growing decay lets short runs average too (as in TensorFlow's ExponentialMovingAverage with num_updates).

    Parameters
    ----------
    model
        Whose trained tensors are averaged.
    decay
        Largest decay.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.shadow = {n: t.detach().clone() for n, t in trained_tensors(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        now = trained_tensors(model)
        torch._foreach_lerp_([self.shadow[n] for n in self.shadow], [now[n].detach() for n in self.shadow], 1 - decay)

    @contextmanager
    def swapped_in(self, model: nn.Module) -> Iterator[None]:
        """Within the block the model has the averaged weights."""
        kept = {n: t.detach().clone() for n, t in trained_tensors(model).items()}
        self.copy_to(model)
        try:
            yield
        finally:
            restore(model, kept)

    def copy_to(self, model: nn.Module) -> None:
        restore(model, self.shadow)

    def state(self) -> dict[str, object]:
        return {"steps": self.steps, "shadow": self.shadow}

    def load_state(self, state: dict) -> None:
        self.steps = state["steps"]
        for name, tensor in state["shadow"].items():  # in place: the memory layout stays
            self.shadow[name].copy_(tensor)


@torch.no_grad()
def restore(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy tensors back into a model by name."""
    names = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, tensor in tensors.items():
        names[name].copy_(tensor)
