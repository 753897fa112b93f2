"""Pooled features of every stage wanted, from one pass over the data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headstart.core.progress import progress
from headstart.models.backbone import Backbone
from headstart.train.precision import autocast
from headstart.train.reader import Reader, in_order

Place = tuple[str, int]
"""Where features are taken: a stage and a pooling grid."""

MOST_DIMENSIONS = 2500
"""Pooled features of more dimensions are not probed: few samples cannot use them."""


@torch.inference_mode()
def extract(
    backbone: Backbone,
    reader: Reader,
    part: str,
    places: Sequence[Place] | None = None,
    view: str = "plain",
    dtype: torch.dtype = torch.float32,
) -> dict[Place, Tensor]:
    """Run a frozen backbone over a part once and pool its states.

    Parameters
    ----------
    backbone
        Left in eval mode; only run as deep as the places need.
    places
        Stages and grids; None is every stage at grids 1 to 3 (pictures) within `MOST_DIMENSIONS`, and the last
        stage at grid 1 however wide it is.
    view
        Which view of each sample.

    Returns
    -------
    dict
        Place -> (N, D) float32, in the order of the part's ids.
    """
    backbone.eval()
    device = next(backbone.parameters()).device
    batch_size = backbone.batch_size()
    names = list(backbone.stages)
    deepest = None if places is None else max((p[0] for p in places), key=names.index)
    wanted: list[Place] | None = None if places is None else list(places)
    rows: dict[Place, list[Tensor]] = {}
    index: list[Tensor] = []
    with progress().task(_words("features", backbone), len(reader.parts[part])) as advance:
        for batch in reader.sweep(part, batch_size, view=view, labels=False):
            with autocast(dtype, device):
                state = backbone.begin(batch.to(device).views[view])
                for name, state in backbone.walk(state, upto=deepest):  # noqa: B020
                    if wanted is None:
                        grids = _grids(backbone, state, last=name == names[-1])
                    else:
                        grids = [g for s, g in wanted if s == name]
                    for grid in grids:
                        rows.setdefault((name, grid), []).append(backbone.pool(state, grid).float().cpu())
            index.append(batch.index)
            advance(len(batch))
    return {place: in_order(parts, index) for place, parts in rows.items()}


def _words(what: str, backbone: Backbone) -> str:
    """What is being done, at which size where there is one."""
    spec = backbone.input_spec
    return f"{what}, {spec.size} px" if spec.modality == "image" else what


def _grids(backbone: Backbone, state: dict[str, Tensor], last: bool) -> list[int]:
    """Grids within `MOST_DIMENSIONS`; grid 1 of the last stage always, since all others are compared with it."""
    width = backbone.pool({k: v for k, v in state.items() if k != "pooled"}, 1).shape[1]
    if backbone.input_spec.modality != "image":
        return [1] if last or width <= MOST_DIMENSIONS else []
    raster = backbone.dense(state)[0].shape[1]
    fits = [g for g in (1, 2, 3) if g * g <= raster and width * g * g <= MOST_DIMENSIONS]
    return sorted({1, *fits}) if last else fits
