"""What features depend on, as the key that they are kept under."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch

from headstart.data import Dataset
from headstart.features.cache import FeatureStore, features_dir, key_of
from headstart.models.backbone import Backbone

_LIBRARIES = ("headstart", "torch", "timm", "transformers", "tokenizers", "pillow")


def open_stores(
    backbone: Backbone,
    places: Sequence[tuple[str, int]],
    view: str,
    engine: str,
    seed: int,
    weights: dict[str, str],
) -> dict[tuple[str, int], FeatureStore]:
    """Where features of these places are kept.

    Parameters
    ----------
    engine
        Key of the engine with its number format.
    seed
        Of views that are drawn at random.
    weights
        As `weights_up_to` gives them.
    """
    augmentation = backbone.augmentations.get(view)
    last = list(backbone.stages)[-1]
    common: dict[str, Any] = {
        "model": backbone.provenance.reference,
        "architecture": backbone.provenance.architecture,
        "input": asdict(backbone.input_spec),
        "files": {name: _hash(content) for name, content in sorted(backbone.files().items())},
        "view": view,
        "augmentation": None if augmentation is None else {"seed": seed, **asdict(augmentation)},
        "engine": engine,
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
    made = {}
    for stage, grid in places:
        own = stage == last and backbone.ended_at is None
        about = {**common, "weights": weights[stage], "stage": stage, "grid": grid, "own_pooling": own}
        made[stage, grid] = FeatureStore(features_dir() / key_of(about), about)
    return made


def sample_names(data: Dataset, view: str) -> list[str]:
    """What a sample is found by: its content; where a view is drawn at random by its id, the id too."""
    if view == "plain":
        return data.content_hashes
    return [f"{content}:{name}" for content, name in zip(data.content_hashes, data.ids, strict=True)]


def weights_up_to(backbone: Backbone) -> dict[str, str]:
    """Stage -> hash of every tensor, and of the modules' description, that it and the stages before it consist of.

    Tensors of no stage count as the first's; those of the classifier that the network came with count for none.
    """
    owner: dict[int, int] = {}
    for number, stage in enumerate(backbone.stages.values()):
        for tensor in stage.state_dict(keep_vars=True).values():
            owner.setdefault(id(tensor), number)
    by_stage: list[list[tuple[str, torch.Tensor]]] = [[] for _ in backbone.stages]
    for name, tensor in backbone.state_dict(keep_vars=True).items():
        if not name.startswith("source_head."):
            by_stage[owner.get(id(tensor), 0)].append((name, tensor))
    digest = hashlib.blake2b(digest_size=16)
    made: dict[str, str] = {}
    for (name_of_stage, module), tensors in zip(backbone.stages.items(), by_stage, strict=True):
        digest.update(f"{name_of_stage}\0{module!r}".encode())
        for name, tensor in sorted(tensors):
            kept = tensor.detach().cpu().contiguous()
            digest.update(f"{name}\0{kept.dtype}\0{tuple(kept.shape)}".encode())
            digest.update(kept.reshape(-1).view(torch.uint8).numpy().tobytes())
        made[name_of_stage] = digest.hexdigest()
    return made


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
