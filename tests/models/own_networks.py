"""Own architectures opened small, and what their tests do with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from headstart.data.schema import Sample, Task
from headstart.models.backbone import Backbone, State
from headstart.models.bundle import Bundle, load_bundle, save_bundle
from headstart.models.model import Head, Model
from headstart.models.opening import open_model
from headstart.models.wanted import Wanted

TEXTS = ["the cat sat on the mat", "a dog", "the dog and the cat , really !", "a cat and a mat", "on on a mat"] * 2
SMALL = {
    "gru": "width=12,embedding=8,dropout=0",
    "lstm": "width=12,embedding=8,dropout=0",
    "awd-lstm": "width=12",
}


def text_network(name: str, more: str = "", **wanted: Any) -> Any:
    """A network of words in eval mode; `more` is added to its `--arch`."""
    arch = ",".join(filter(None, (SMALL[name], more)))
    return open_model(f"scratch:{name}", Wanted(modality="text", corpus=lambda: TEXTS, arch=arch, **wanted)).eval()


def series_network(name: str, arch: str = "", **wanted: Any) -> Any:
    """A network of series of three channels in eval mode."""
    given = {"channels": 3, "mean": (0.0,) * 3, "std": (1.0,) * 3} | wanted
    return open_model(f"scratch:{name}", Wanted(modality="sequence", arch=arch, **given)).eval()


def batch_of(backbone: Backbone, inputs: Sequence[Any]) -> State:
    settled = [backbone.settle(Sample(str(i), x)) for i, x in enumerate(inputs)]
    return backbone.begin(backbone.collate([backbone.preprocess(s, "plain", 0) for s in settled]))


@torch.no_grad()
def features(backbone: Backbone, inputs: Sequence[Any]) -> torch.Tensor:
    return backbone.pool(backbone.run(batch_of(backbone, inputs)))


def saved(backbone: Backbone, folder: Path, width: int) -> Path:
    """A bundle of the backbone with a head."""
    model = Model(backbone, {"y": Head(width, 2)})
    save_bundle(folder, Bundle(model, (Task("y", "single-label", ("a", "b")),)))
    return folder


def reopened(backbone: Backbone, folder: Path, width: int) -> Any:
    """The backbone after a way through a bundle."""
    return load_bundle(saved(backbone, folder, width)).model.backbone
