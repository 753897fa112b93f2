"""Solutions that were computed once: a probe of the same features, labels and folds is read instead of solved again.

They lie beside the kept features, count towards the same limit and go the same way. A solution is found by a hash of
everything that went in and of the code that computes it, so a change of the solver finds nothing old.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.errors import StoreError
from headstart.features.cache import features_dir, key_of, limit
from headstart.store.atomic import write_json
from headstart.store.tensors import load_tree, save_tree

WORTH_KEEPING = 200_000
"""Numbers in the features from which solving takes longer than reading."""

_CODE = ("features/*.py", "inspect/*.py", "measure/*.py")


def remembered(kind: str, x: Tensor, inputs: Sequence[Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` returns (a tree of tensors and JSON), read from disk where the same was computed before.

    Parameters
    ----------
    kind
        What is solved, in a word; part of the key.
    x
        (N, D) features.
    inputs
        Everything else that the result depends on: tensors, arrays, and what has a telling `repr`.
    """
    if x.numel() < WORTH_KEEPING or not limit():
        return compute()
    key = key_of({"solved": kind, "inputs": _digest([x, *inputs]), "code": _code(), "torch": version("torch")})
    folder = features_dir() / key
    path = folder / "solved.safetensors"
    if path.exists():
        with suppress(StoreError, OSError):  # damaged, or just evicted by another process
            found: dict[str, Any] = load_tree(path)
            os.utime(folder)
            return found
    made = compute()
    with suppress(StoreError, OSError):  # it only saves time
        folder.mkdir(parents=True, exist_ok=True)
        save_tree(path, made)
        write_json(folder / "about.json", {"model": f"solved: {kind}", "stage": f"{len(x):,} samples"})
    return made


def _digest(inputs: Sequence[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for value in inputs:
        if isinstance(value, Tensor):
            value = value.detach().cpu().numpy()
        if isinstance(value, np.ndarray):
            digest.update(f"{value.shape}{value.dtype}".encode())
            digest.update(
                np.ascontiguousarray(value).tobytes() if value.dtype != object else repr(value.tolist()).encode()
            )
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()


@cache
def _code() -> str:
    """Hash of the files whose code makes the solutions."""
    root = Path(__file__).parents[1]
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(path for pattern in _CODE for path in root.glob(pattern)):
        digest.update(path.read_bytes())
    return f"{digest.hexdigest()}, {torch.get_num_threads()} threads"
