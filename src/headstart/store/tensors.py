"""Trees of tensors and JSON in one safetensors file: how checkpoints are kept, without pickle.

A tree is made of dicts, lists, tuples (which come back as lists), tensors, and what JSON can say. Dict keys may be
strings or integers (optimizers number their parameters).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from headstart.core.errors import StoreError
from headstart.store.atomic import replacing

FORMAT = 1


def _flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        # Keys that look like paths, and 0 beside "0", may ask for one name twice.
        name = path
        while name in tensors:
            name += "'"
        tensors[name] = value
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


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically, straight from the tensors' memory.

    Tensors that share memory (tied weights) are written one by one.

    Raises
    ------
    StoreError
        When the disk refuses.
    """
    separate: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        separate[name] = plain.clone() if place in seen else plain
        seen.add(place)
    with replacing(path) as temporary:
        try:
            save_file(separate, temporary, metadata)
        except SafetensorError as error:
            if number := re.search(r"os error (\d+)", str(error)):
                raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
            raise StoreError(f"Cannot write {path}: {error}.", "Choose another folder, or check that disk.") from error


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
    write_tensors(path, tensors or {"": torch.zeros(0)}, meta)


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
