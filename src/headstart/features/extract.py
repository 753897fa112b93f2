"""Pooled features of every stage wanted, from one pass over what has not been computed before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from headstart.core.progress import progress
from headstart.features.cache import FeatureStore, limit, prune
from headstart.features.keys import open_stores, sample_names
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
    """Run a frozen backbone over a part and pool its states; rows that were computed before are read from disk.

    Parameters
    ----------
    backbone
        Left in eval mode; only run as deep as the places need.
    places
        Stages and grids; None is every stage at grids 1 to 3 (pictures) within `MOST_DIMENSIONS`, and the last
        stage at grid 1 however wide it is.
    view
        Which view of each sample.
    dtype
        Number format of the network's computations.

    Returns
    -------
    dict
        Place -> (N, D) float32, in the order of the part's ids.
    """
    backbone.eval()
    wanted = _every_place(backbone, reader, part, view) if places is None else list(places)
    stores = open_stores(backbone, wanted, view, dtype, reader.seed) if limit() else None
    if stores is None:
        chunks = list(_passes(backbone, reader, part, wanted, view, dtype, None))
        index = [where for where, _ in chunks]
        return {place: in_order([made[place] for _, made in chunks], index) for place in wanted}
    names = sample_names(reader.parts[part], view)
    lacking = np.array([i for i, name in enumerate(names) if any(name not in s for s in stores.values())], dtype=int)
    if len(lacking):
        _fill(stores, names, _passes(backbone, reader, part, wanted, view, dtype, lacking))
        prune()
    return {place: torch.from_numpy(stores[place].rows(names)) for place in wanted}


def _fill(
    stores: dict[Place, FeatureStore], names: Sequence[str], passes: Iterator[tuple[Tensor, dict[Place, Tensor]]]
) -> None:
    """Keep what the passes give, also of passes that are cut short."""
    try:
        for index, made in passes:
            some = [names[int(i)] for i in index]
            for place, rows in made.items():
                stores[place].add(some, rows.numpy())
    finally:
        for store in stores.values():
            store.flush()


def _passes(
    backbone: Backbone,
    reader: Reader,
    part: str,
    places: Sequence[Place],
    view: str,
    dtype: torch.dtype,
    rows: np.ndarray | None,
) -> Iterator[tuple[Tensor, dict[Place, Tensor]]]:
    """Positions of each batch, and its features at the places."""
    device = next(backbone.parameters()).device
    names = list(backbone.stages)
    deepest = max((stage for stage, _ in places), key=names.index)
    total = len(reader.parts[part]) if rows is None else len(rows)
    with progress().task(_words("features", backbone), total) as advance:
        for batch in reader.sweep(part, backbone.batch_size(), view=view, labels=False, rows=rows):
            made: dict[Place, Tensor] = {}
            with autocast(dtype, device):
                state = backbone.begin(batch.to(device).views[view])
                for name, state in backbone.walk(state, upto=deepest):  # noqa: B020
                    for place in places:
                        if place[0] == name:
                            made[place] = backbone.pool(state, place[1]).float().cpu()
            yield batch.index, made
            advance(len(batch))


def _every_place(backbone: Backbone, reader: Reader, part: str, view: str) -> list[Place]:
    """All places within `MOST_DIMENSIONS`, found by running one sample."""
    device = next(backbone.parameters()).device
    last = list(backbone.stages)[-1]
    state = backbone.begin(reader.batch(part, [0], (view,), labels=False).to(device).views[view])
    return [(name, grid) for name, s in backbone.walk(state) for grid in _grids(backbone, s, last=name == last)]


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
