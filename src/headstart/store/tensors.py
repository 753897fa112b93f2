"""Trees of tensors and JSON in one safetensors file: how checkpoints are kept, without pickle.

A tree is made of dicts, lists, tuples (which come back as lists), tensors, and what JSON can say. Dict keys may be
strings or integers (optimizers number their parameters).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from headstart.core.errors import StoreError
from headstart.store.atomic import write_bytes

FORMAT = 1


def _flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        # Storages shared between tensors (tied weights) are written once each: safetensors refuses to alias.
        # Keys that look like paths, and 0 beside "0", may ask for one name twice.
        name = path
        while name in tensors:
            name += "'"
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[k, _flatten(v, f"{path}/{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list": [_flatten(v, f"{path}/{i}", tensors) for i, v in enumerate(value)]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    raise TypeError(f"{path or 'the tree'} holds a {type(value).__name__}: only tensors and JSON can be kept")


def _build(node: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    kind, content = next(iter(node.items()))
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {k: _build(v, tensors) for k, v in content}
    if kind == "list":
        return [_build(v, tensors) for v in content]
    return content


def save_tree(path: Path, tree: Any) -> None:
    """Write a tree atomically.

    Raises
    ------
    TypeError
        For anything that is neither a tensor nor JSON.
    StoreError
        When the disk refuses.
    """
    tensors: dict[str, Tensor] = {}
    structure = _flatten(tree, "", tensors)
    meta = {"format": str(FORMAT), "tree": json.dumps(structure)}
    write_bytes(path, save(tensors or {"": torch.zeros(0)}, metadata=meta))


def load_tree(path: Path) -> Any:
    """Read a tree.

    Raises
    ------
    StoreError
        When the file is missing, damaged, or of a newer format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise StoreError(f"There is no file {path}.", "Check the folder's name.") from None
    except (SafetensorError, OSError) as error:
        raise StoreError(f"{path} is damaged: {error}.", "Start the run again.") from None
    try:
        if int(meta["format"]) > FORMAT:
            raise StoreError(f"{path} was written by a newer Headstart.", "Update Headstart.")
        return _build(json.loads(meta["tree"]), tensors)
    except (KeyError, ValueError):
        raise StoreError(f"{path} is damaged: it holds no tree.", "Start the run again.") from None
