"""A model's outputs over a part of the data, with ids, so that metrics never depend on batching or order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from headstart.models.model import Model
from headstart.train.precision import autocast
from headstart.train.reader import Reader, put_in_place


@dataclass
class Outputs:
    """Outputs in the order of the part's ids.

    Attributes
    ----------
    ids
        Of the samples.
    logits
        Task -> (N, outputs) float32.
    features
        (N, D) float32, or None.
    """

    ids: list[str]
    logits: dict[str, np.ndarray]
    features: np.ndarray | None = None


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Within the block the model is in eval mode and nothing is recorded for gradients."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.training = was_training


def outputs(
    model: Model,
    reader: Reader,
    part: str,
    batch_size: int | None = None,
    dtype: torch.dtype = torch.float32,
    features: bool = False,
) -> Outputs:
    """Run a model over a part in its plain view, in eval mode (the mode it had is restored).

    `batch_size` None leaves it to the backbone.
    """
    device = next(model.parameters()).device
    found: dict[tuple[str, str], torch.Tensor] = {}
    ids = list(reader.parts[part].ids)
    with evaluating(model), autocast(dtype, device):
        for batch in reader.sweep(part, batch_size or model.backbone.batch_size(), labels=False):
            out = model(batch.to(device))
            made = {("logits", task): out.logits[task] for task in model.tasks}
            made |= {("features", ""): out.features} if features else {}
            for key, rows in made.items():
                put_in_place(found, key, rows.float(), batch.index, len(ids))
    logits = {task: found["logits", task].numpy() for task in model.tasks}
    return Outputs(ids, logits, found["features", ""].numpy() if features else None)
