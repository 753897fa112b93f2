"""Makes batches: order, labels and views are functions of the seed, the epoch and the sample, of nothing else."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import psutil
import torch
from torch import Tensor

from headstart.core.errors import DataError
from headstart.core.seeding import derive
from headstart.data.dataset import Dataset
from headstart.data.schema import Sample, missing
from headstart.models.backbone import Backbone, State
from headstart.train.batch import Batch, Feed
from headstart.train.sampling import draw
from headstart.train.settled import SettledPictures

Index = Sequence[int] | np.ndarray

STORE_SHARE = 0.25
"""Share of the free memory that settled samples may take."""

_CHUNK = 1024
_TIMED = 8

WORTH_A_THREAD = 0.0004
"""Seconds to read a sample from which threads help; small pictures out of memory only fight for the interpreter."""


Key = TypeVar("Key", bound=Hashable)


class Reader:
    """Reads parts of the data for one backbone.

    Parameters
    ----------
    parts
        Part name -> data set.
    backbone
        Turns samples into tensors.
    seed
        Of the run.
    room
        Bytes of memory that settled samples may take; None is a share of what is free. Pictures beyond it lie on disk.
        0, for samples that are read once, keeps nothing anywhere.
    """

    def __init__(self, parts: Mapping[str, Dataset], backbone: Backbone, seed: int, room: int | None = None) -> None:
        self.parts = dict(parts)
        self.backbone = backbone
        self.seed = seed
        self._settled: dict[tuple[str, int], Sample] = {}
        self._room = int(psutil.virtual_memory().available * STORE_SHARE) if room is None else room
        self._many_passes = room is None or room > 0
        self._disk: dict[str, SettledPictures | None] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._threaded: dict[str, bool] = {}
        self._labels: dict[str, tuple[dict[str, Tensor], dict[str, Tensor]]] = {}
        self._lengths: dict[str, np.ndarray] = {}

    # -- samples ---------------------------------------------------------------------------------------------------

    def samples(self, part: str, index: Index) -> list[Sample]:
        """Settled samples: what does not change from epoch to epoch is done once, as long as memory or disk allow."""
        disk = self._disk.get(part)
        kept = {int(i) for i in index if disk is not None and int(i) in disk}
        todo = [int(i) for i in index if (part, int(i)) not in self._settled and int(i) not in kept]
        fresh: dict[int, Sample] = {}
        if todo:
            fresh = dict(zip(todo, self._read_all(part, todo), strict=True))
            for i, sample in fresh.items():
                self._keep(part, i, sample)
        if disk is not None:
            ids = self.parts[part].ids
            fresh.update({i: Sample(ids[i], disk.get(i)) for i in kept})
        return [self._settled.get((part, int(i))) or fresh[int(i)] for i in index]

    def _read_all(self, part: str, index: list[int]) -> list[Sample]:
        data = self.parts[part]

        def read(i: int) -> Sample:
            return self.backbone.settle(data.read(i, size_hint=self.backbone.input_spec.size))

        if self.backbone.settles_together:
            return self.backbone.settle_all([data.read(i, size_hint=self.backbone.input_spec.size) for i in index])
        if len(index) < _TIMED:
            return [read(i) for i in index]
        if part not in self._threaded:
            start = time.perf_counter()
            done = [read(i) for i in index[:_TIMED]]
            self._threaded[part] = time.perf_counter() - start > _TIMED * WORTH_A_THREAD
            return [*done, *self._read_all(part, index[_TIMED:])]
        if not self._threaded[part]:
            return [read(i) for i in index]
        # Decoding releases the interpreter's lock, so threads are enough; no worker processes.
        self._pool = self._pool or ThreadPoolExecutor(max_workers=torch.get_num_threads())
        return list(self._pool.map(read, index))

    def _keep(self, part: str, i: int, sample: Sample) -> None:
        keep = self.backbone.keeps_settled and getattr(self.parts[part], "worth_keeping", True)
        if not keep:
            return
        array = np.asarray(sample.inputs)
        if array.nbytes <= self._room:
            self._room -= array.nbytes
            self._settled[part, i] = sample
        elif self._many_passes and array.dtype == np.uint8 and array.ndim == 3:
            count = len(self.parts[part])
            if part not in self._disk:
                self._disk[part] = SettledPictures(count, array) if SettledPictures.fit(count, array) else None
            if (store := self._disk[part]) is not None:
                store.put(i, array)

    def labels(self, part: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Task -> labels of a part, and task -> which are present."""
        if part not in self._labels:
            data = self.parts[part]
            values, present = {}, {}
            for task in data.schema.tasks:
                array = np.asarray(data.labels(task.name))
                have = ~missing(array)
                filled = np.where(have if array.ndim == 1 else have[:, None], array, 0)
                kind = torch.long if task.kind == "single-label" else torch.float32
                # Single entries missing from a multi-label row stay NaN: their loss is left out.
                values[task.name], present[task.name] = (
                    torch.as_tensor(filled).to(kind),
                    torch.as_tensor(have),
                )
            self._labels[part] = values, present
        return self._labels[part]

    def lengths(self, part: str) -> np.ndarray:
        """(n,) how long each settled sample is; the first use reads them all once."""
        if part not in self._lengths:
            count = len(self.parts[part])
            lengths = np.empty(count, np.int32)
            for start in range(0, count, _CHUNK):
                some = np.arange(start, min(start + _CHUNK, count))
                lengths[some] = [self.backbone.length(s) for s in self.samples(part, some)]
            self._lengths[part] = lengths
        return self._lengths[part]

    # -- batches ---------------------------------------------------------------------------------------------------

    def batch(self, part: str, index: Index, views: Sequence[str], labels: bool = True, epoch: int = 0) -> Batch:
        """The batch of the samples at these positions."""
        data = self.parts[part]
        samples = self.samples(part, index) if views else []
        made: dict[str, State] = {}
        for view in views:
            states = [self.backbone.preprocess(s, view, derive(self.seed, epoch, s.id, view)) for s in samples]
            made[view] = self.backbone.collate(states)
        where = torch.as_tensor(np.asarray(index, dtype=np.int64))
        values: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        if labels:
            all_values, all_present = self.labels(part)
            values = {t: v[where] for t, v in all_values.items()}
            present = {t: v[where] for t, v in all_present.items()}
        return Batch([data.ids[int(i)] for i in index], made, values, present, None, where)

    def sweep(
        self,
        part: str,
        batch_size: int,
        view: str = "plain",
        labels: bool = True,
        rows: np.ndarray | None = None,
        ahead: bool = False,
    ) -> Iterator[Batch]:
        """Every sample (or those at `rows`) once: in order, or longest first where samples differ in length.

        `batch.index` says which samples a batch holds; `put_in_place` puts what was made of them back in order. With
        `ahead` the next batch is made in a thread while the caller works on this one.
        """
        where = np.arange(len(self.parts[part])) if rows is None else rows
        if self.backbone.by_length:
            # Longest first, so that a batch that does not fit into memory fails at once.
            where = where[np.argsort(-self.lengths(part)[where], kind="stable")]
        some = [where[start : start + batch_size] for start in range(0, len(where), batch_size)]
        if not ahead or len(some) < 2:
            for index in some:
                yield self.batch(part, index, (view,), labels)
            return
        with ThreadPoolExecutor(max_workers=1) as thread:
            coming = thread.submit(self.batch, part, some[0], (view,), labels)
            for index in some[1:]:
                ready, coming = coming.result(), thread.submit(self.batch, part, index, (view,), labels)
                yield ready
            yield coming.result()

    def order(self, feed: Feed, epoch: int, batch_size: int) -> list[np.ndarray]:
        """Positions of each batch of an epoch.

        Raises
        ------
        DataError
            When the part is empty.
        """
        data = self.parts[feed.part]
        n, size = len(data), feed.size or batch_size
        if n == 0:
            raise DataError(f"The part {feed.part!r} has no samples.", "Give data for it.")
        r = np.random.default_rng(derive(self.seed, "order", feed.name, epoch))
        if feed.order == "stream":
            rows = min(size, n)
            if n % rows > n / 10:  # rows are equally long: fewer of them where much would be left over
                rows = n // -(-n // rows)
            length = n // rows
            return [np.arange(rows) * length + j for j in range(length)]
        if feed.order == "balanced":
            where = r.permutation(_balanced(np.asarray(data.labels(data.schema.tasks[0].name)), n, r))
        elif feed.temperature is not None and (origins := data.origins) is not None:
            where = draw(origins, feed.temperature, r)
        else:
            where = r.permutation(n)
        if feed.order == "length":
            where = self._by_length(feed.part, where, size)
        batches = [where[i : i + size] for i in range(0, n, size)]
        # A last batch of one sample has no statistics to normalise by: it joins the batch before. This is done while it
        # still is the last one, so that every epoch has as many batches.
        if len(batches) > 1 and len(batches[-1]) == 1:
            alone = batches.pop()
            batches[-1] = np.concatenate([batches[-1], alone])
        if feed.order == "length":
            batches = [batches[i] for i in r.permutation(len(batches))]
        return batches

    def _by_length(self, part: str, where: np.ndarray, size: int) -> np.ndarray:
        """Sort by length within pools of 50 batches, so that similar lengths meet and epochs still differ."""
        pool = size * 50
        sorted_pools = []
        for start in range(0, len(where), pool):
            some = where[start : start + pool]
            sorted_pools.append(some[np.argsort(self.lengths(part)[some], kind="stable")])
        return np.concatenate(sorted_pools)

    def epoch(self, feed: Feed, epoch: int, batch_size: int, first: int = 0) -> Iterator[Batch]:
        """Batches of one epoch of a feed, from batch `first` on."""
        for index in self.order(feed, epoch, batch_size)[first:]:
            yield self.batch(feed.part, index, feed.views, feed.labels, epoch)


def put_in_place(found: dict[Key, Tensor], key: Key, rows: Tensor, index: Tensor, count: int) -> None:
    """Write what was made of some of `count` samples into `found[key]`, at their places, on the CPU.

    Small results that are kept between the large blocks of a pass would hold those open: memory would grow with every
    batch (1.5 GB over 2,000 texts through MiniLM).

    >>> found = {}
    >>> put_in_place(found, "a", torch.tensor([30, 10]), torch.tensor([2, 0]), 3)
    >>> put_in_place(found, "a", torch.tensor([20]), torch.tensor([1]), 3)
    >>> found["a"]
    tensor([10, 20, 30])
    """
    if key not in found:
        found[key] = torch.empty((count, *rows.shape[1:]), dtype=rows.dtype)
    found[key][index.cpu()] = rows.cpu()


def _balanced(labels: np.ndarray, n: int, r: np.random.Generator) -> np.ndarray:
    """n positions in which every class is about equally frequent; rare ones are repeated."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError("A balanced order needs single-label classes.", "Use the order 'shuffle'.")
    classes = [np.flatnonzero(labels == c) for c in np.unique(labels[labels >= 0])]
    share = -(-n // len(classes))
    drawn = [np.concatenate([r.permutation(c) for _ in range(-(-share // len(c)))])[:share] for c in classes]
    return r.permutation(np.concatenate(drawn))[:n]
