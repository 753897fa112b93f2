"""Which tokens, time steps or places of a picture an answer rests on: gradient times input, or times features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from headstart.inspect.grad_cam import grad_cam
from headstart.inspect.margin import margin
from headstart.models.backbone import State
from headstart.models.model import Model
from headstart.train.batch import Batch


def importance(model: Model, batch: Batch, task: str | None = None) -> list[np.ndarray] | None:
    """Gradient times input of the answer given, position by position.

    The answer is the lead of the largest logit over the mean of the others (of a regression: the output). Of texts
    the input is what the first stage makes of each token, summed over its width; of series it is the standardised
    value. To first order the values say what the lead would lose if a position were replaced by zero (the mean, for
    series); they are exact only where the model is linear.

    Parameters
    ----------
    batch
        In its plain view.
    task
        Whose head; the first one's if not named.

    Returns
    -------
    list of numpy.ndarray, or None
        Per sample: (L,) of a text, its windows one after the other; (T, C) of a series; (H, W) of a picture, by
        `grad_cam`. None where the network cannot be entered behind its first stage, or there is none.

    Both are one gradient of the contract's own functions; the tests hold them against captum's InputXGradient and
    LayerGradCam.

    Source: Shrikumar et al. 2016, arXiv 1605.01713; compared with others by Ancona et al. 2018, arXiv 1711.06104.
    """
    backbone = model.backbone
    modality, first = backbone.input_spec.modality, next(iter(backbone.stages))
    if backbone.family == "linear":
        return None
    if modality == "image":
        return grad_cam(model, batch, task)
    if modality == "text" and first not in backbone.cuts:
        return None
    was_training = model.training
    model.eval()
    try:
        # cuDNN's recurrent layers have no backward pass outside of training.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            state = backbone.begin(batch.views[next(iter(batch.views))])
            after = None
            if modality == "text":
                with torch.no_grad():
                    state = backbone.run(state, upto=first)
                after = first
            x = state["x"].detach().requires_grad_()
            features = backbone.pool(backbone.run({**state, "x": x}, after=after), model.grid)
            (gradient,) = torch.autograd.grad(margin(model.head(task)(features)).sum(), x)
    finally:
        model.train(was_training)
    product = (gradient * x).detach().float().cpu()
    return (
        _by_text(product.sum(-1), state)
        if modality == "text"
        else _by_series(product, state, backbone.input_spec.channels)
    )


def _by_text(values: Tensor, state: State) -> list[np.ndarray]:
    mask = state["mask"].cpu()
    rows = state["rows"].cpu() if "rows" in state else torch.arange(len(values))
    return [values[rows == i][mask[rows == i]].numpy() for i in range(int(rows[-1]) + 1)]


def _by_series(values: Tensor, state: State, channels: int) -> list[np.ndarray]:
    return [v[m].numpy()[:, :channels] for v, m in zip(values, state["mask"].cpu(), strict=True)]
