"""Where in a picture an answer rests: Grad-CAM on the backbone contract."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from headstart.inspect.margin import margin
from headstart.models.backbone import Backbone, State
from headstart.models.model import Model
from headstart.train.batch import Batch


def grad_cam(model: Model, batch: Batch, task: str | None = None) -> list[np.ndarray] | None:
    """Class activation maps of the answers given.

    With A the last map of the network that its answer is computed from and y the lead of the largest logit over the
    mean of the others, the map is the positive part of the sum over channels of dy/dA · A, place by place. Behind
    global average pooling dy/dA is the same at every place, and this is Grad-CAM (but for a factor, the number of
    places); behind a grid or attention, where places are weighed apart, averaging the gradient first would mix them up.

    Parameters
    ----------
    batch
        Pictures in their plain view.
    task
        Whose head; the first one's if not named.

    Returns
    -------
    list of numpy.ndarray, or None
        (H, W) of each picture, none negative, at the map's own resolution: 3 × 3 is usual for 96 px. Of vision
        Transformers the tokens of patches are the places. None where the network has no map of more than one place.

    Source: Selvaraju et al. 2017, arXiv 1610.02391; place by place: Draelos & Carin 2020, arXiv 2011.08891.
    """
    backbone, was_training = model.backbone, model.training
    model.eval()
    try:
        with torch.enable_grad():
            found = _map(backbone, model.grid, batch)
            if found is None:
                return None
            after, state = found
            x = state["x"].detach().requires_grad_()
            rest = {k: v for k, v in state.items() if k != "pooled"} | {"x": x}
            final = rest if after == list(backbone.stages)[-1] else backbone.run(rest, after=after)
            logits = model.head(task)(backbone.pool(final, model.grid))
            (gradient,) = torch.autograd.grad(margin(logits).sum(), x)
    finally:
        model.train(was_training)
    product = _channels_first(backbone, (gradient * x).detach().float().cpu())
    return [_places(p).clamp(min=0).numpy() for p in product]


def _map(backbone: Backbone, grid: int, batch: Batch) -> tuple[str, State] | None:
    """The last stage whose state is a map that the answer is computed from, and that state."""
    state = backbone.begin(batch.views[next(iter(batch.views))])
    with torch.no_grad():
        states = dict(backbone.walk(state))
    last = list(backbone.stages)[-1]
    for name in reversed(list(backbone.stages)):
        found = states[name]
        # The network's own pooling has been computed in the last stage: what comes before has to be entered.
        enters = name in backbone.cuts and name != last
        ends = name == last and not (grid == 1 and "pooled" in found)
        if (enters or ends) and _side(_channels_first(backbone, found["x"])) > 1:
            return name, found
    return None


def _channels_first(backbone: Backbone, x: Tensor) -> Tensor:
    """A map with its channels first; timm's Swin has them last."""
    last = getattr(getattr(backbone, "native", None), "channels_last_maps", False)
    return x.permute(0, 3, 1, 2) if last and x.dim() == 4 else x


def _side(x: Tensor) -> int:
    """Places along a side; 0 where there is no map."""
    if x.dim() == 4:
        return min(x.shape[2:])
    return int(x.shape[1] ** 0.5) if x.dim() == 3 else 0


def _places(product: Tensor) -> Tensor:
    """(C, H, W), or (L, D) of tokens, summed to (H, W); the first tokens, such as the class token, are no places."""
    if product.dim() == 3:
        return product.sum(0)
    side = int(len(product) ** 0.5)
    return product.sum(1)[len(product) - side * side :].reshape(side, side)
