"""Batches of activations behind the frozen part of a network, which is run once per sample and view.

States lie in memory-mapped files, so that memory does not grow with the data. Views drawn at random are kept in a
fixed number; epoch e reads view e modulo that number, and a view is made when an epoch first asks for it.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.progress import progress
from headstart.models.backbone import State
from headstart.store.atomic import reserve
from headstart.train.batch import Batch
from headstart.train.reader import Index, Reader


class CachedReader(Reader):
    """A reader whose batches are states after a cut, computed once per sample and view.

    The prefix must be frozen and in eval mode. It is run in float32, whatever training runs in.

    Parameters
    ----------
    reader
        Where samples come from.
    cut
        The stage that has been run.
    device
        Where the network lies.
    views
        How many views of a sample are kept at most, where they are drawn at random.
    scratch
        Folder that the files are written below; they are removed with the reader.
    batch_size
        Samples that the prefix is run on at once; None leaves it to the backbone.
    """

    def __init__(
        self,
        reader: Reader,
        cut: str,
        device: torch.device,
        views: int = 1,
        scratch: Path | None = None,
        batch_size: int | None = None,
    ) -> None:
        super().__init__(reader.parts, reader.backbone, reader.seed)
        self.source = reader
        self.cut = cut
        self.device = device
        self.views = views
        self.batch_size = batch_size or max(32, reader.backbone.batch_size())
        if scratch is not None:
            scratch.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="activations-", dir=scratch))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._states: dict[tuple[str, str, int], dict[str, np.ndarray]] = {}

    def lengths(self, part: str) -> np.ndarray:
        return self.source.lengths(part)

    def batch(self, part: str, index: Index, views: Sequence[str], labels: bool = True, epoch: int = 0) -> Batch:
        plain = self.source.batch(part, index, (), labels, epoch)
        return replace(plain, views={v: self._state(part, v, index, epoch) for v in views}, after=self.cut)

    def _state(self, part: str, view: str, index: Index, epoch: int) -> State:
        number = epoch % self.views if view in self.backbone.augmentations else 0
        kept = self._kept(part, view, number)
        where = np.asarray(index, dtype=np.int64)
        state = {name: torch.from_numpy(np.ascontiguousarray(rows[where])) for name, rows in kept.items()}
        if "mask" not in state:
            return state
        # Every sample was kept as long as the longest; a batch is as long as its own longest.
        whole = state["mask"].shape[1]
        used = int(state["mask"].any(0).nonzero().max()) + 1 if bool(state["mask"].any()) else whole
        multiple = self.backbone.length_multiple
        used = min(whole, -(-used // multiple) * multiple)
        return {n: x[:, :used] if x.dim() > 1 and x.shape[1] == whole else x for n, x in state.items()}

    @torch.no_grad()
    def _kept(self, part: str, view: str, number: int) -> dict[str, np.ndarray]:
        key = part, view, number
        if key not in self._states:
            files: dict[str, np.ndarray] = {}
            count = len(self.parts[part])
            with progress().task(f"activations after {self.cut}", count) as advance:
                # Longest first where lengths differ: the first batch says how much room there must be.
                for index in self._order(part, count):
                    batch = self.source.batch(part, index, (view,), labels=False, epoch=number).to(self.device)
                    state = self.backbone.begin(batch.views[view])
                    for name, x in self.backbone.run(state, upto=self.cut).items():
                        _write(files, self._folder / f"{len(self._states)}-{name}.npy", name, x.cpu(), index, count)
                    advance(len(index))
            self._states[key] = files
        return self._states[key]

    def _order(self, part: str, count: int) -> list[np.ndarray]:
        where = np.arange(count)
        if self.backbone.by_length:
            where = np.argsort(-self.lengths(part), kind="stable")
        return [where[i : i + self.batch_size] for i in range(0, count, self.batch_size)]


def _write(files: dict[str, np.ndarray], path: Path, name: str, x: Tensor, index: np.ndarray, count: int) -> None:
    """Rows of a batch into the file of their name, which is made at the first batch; shorter rows leave zeros."""
    rows = (x.float() if x.is_floating_point() else x).numpy()
    if name not in files:
        files[name] = np.lib.format.open_memmap(path, mode="w+", dtype=rows.dtype, shape=(count, *rows.shape[1:]))
        reserve(path, path.stat().st_size)
    where: Any = (index, *(slice(0, n) for n in rows.shape[1:]))
    files[name][where] = rows
