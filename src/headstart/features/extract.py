"""Pooled features of every stage wanted, from one pass over what has not been computed before."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from headstart.core.allocator import freed_memory_kept
from headstart.core.errors import HeadstartError, ModelError
from headstart.core.progress import progress
from headstart.features.cache import FeatureStore, limit, prune
from headstart.features.engines import Candidate, Engine, EngineError, Engines, Place
from headstart.features.engines.choose import Example, middle_batch
from headstart.features.engines.prefix import signature
from headstart.features.keys import open_stores, sample_names, weights_up_to
from headstart.models.backbone import Backbone, State
from headstart.train.reader import Reader, put_in_place

__all__ = ["MOST_DIMENSIONS", "Place", "extract", "keep"]

MOST_DIMENSIONS = 2500
"""Pooled features of more dimensions are not probed: few samples cannot use them."""


@torch.inference_mode()
def extract(
    backbone: Backbone,
    reader: Reader,
    part: str,
    places: Sequence[Place] | None = None,
    view: str = "plain",
    engines: Engines | None = None,
    count: int | None = None,
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
    engines
        What runs it; PyTorch in float32 if not given.
    count
        Samples of all parts that the network will be run over, where they are more than this part's: how much the
        choice of an engine may cost.

    Returns
    -------
    dict
        Place -> (N, D) float32, in the order of the part's ids.
    """
    backbone.eval()
    wanted = every_place(backbone, reader, part, view) if places is None else list(places)
    # Code of networks that were given in Python cannot be hashed: nothing of them is kept.
    if not limit() or backbone.provenance.reference == "module":
        passes = _prepared(backbone, reader, part, wanted, view, engines, count)
        total, found = len(reader.parts[part]), dict[Place, Tensor]()
        for index, made in passes.run(np.arange(total)):
            for place, rows in made.items():
                put_in_place(found, place, rows, index, total)
        return found
    stores = keep(backbone, reader, part, wanted, view, engines, count)
    names = sample_names(reader.parts[part], view)
    return {place: torch.from_numpy(stores[place].rows(names)) for place in wanted}


@torch.inference_mode()
def keep(
    backbone: Backbone,
    reader: Reader,
    part: str,
    places: Sequence[Place],
    view: str = "plain",
    engines: Engines | None = None,
    count: int | None = None,
) -> dict[Place, FeatureStore]:
    """See that features of every sample of a part are on disk; memory does not grow with their number.

    Parameters are those of `extract`.
    """
    backbone.eval()
    names = sample_names(reader.parts[part], view)
    passes = _prepared(backbone, reader, part, places, view, engines, count)
    while True:
        candidate = passes.candidate
        key = candidate.key(passes.device)
        stores = open_stores(backbone, places, view, key, reader.seed, passes.weights)
        lacking = np.array([i for i, n in enumerate(names) if any(n not in s for s in stores.values())], dtype=int)
        if not len(lacking):
            return stores
        if candidate.name == "torch" or passes.works():
            break  # else: it failed, and what another engine computes has another key
    _fill(stores, names, passes.run(lacking))
    prune()
    return stores


def _prepared(
    backbone: Backbone,
    reader: Reader,
    part: str,
    places: Sequence[Place],
    view: str,
    engines: Engines | None,
    count: int | None,
) -> _Passes:
    """What will run the network over a part, its engine chosen."""
    engines = engines or Engines("torch", torch.float32)
    weights = weights_up_to(backbone)
    # One order whoever asks, so that a network converted for one part serves the others.
    places = sorted(set(places), key=lambda place: (list(backbone.stages).index(place[0]), place[1]))
    deepest = places[-1][0]
    total = len(reader.parts[part])

    def example() -> Example:
        lengths = reader.lengths(part) if backbone.by_length else None
        index = middle_batch(lengths, total, backbone.batch_size())
        state = reader.batch(part, index, (view,), labels=False).views[view]
        task = next(iter(reader.parts[part].schema.tasks), None)
        classes = task is not None and task.kind == "single-label"
        return state, torch.as_tensor(reader.parts[part].labels(task.name))[index] if classes and task else None

    candidate = engines.choose(backbone, places, example, max(count or 0, total), weights[deepest])
    return _Passes(backbone, reader, part, places, view, engines, weights, weights[deepest], candidate, example)


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


@dataclass
class _Passes:
    """Runs batches on the chosen engine, in smaller ones where memory does not suffice."""

    backbone: Backbone
    reader: Reader
    part: str
    places: Sequence[Place]
    view: str
    engines: Engines
    weights: dict[str, str]
    deepest: str
    candidate: Candidate
    example: Callable[[], Example]
    _made: dict[object, Engine] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return next(self.backbone.parameters()).device

    def works(self) -> bool:
        """Whether the chosen engine can be made; if not, another one is chosen."""
        before = self.candidate
        self.prepare(self.example()[0])
        return self.candidate == before

    def prepare(self, example: State) -> Engine:
        """The engine for inputs like these; PyTorch where it cannot be made."""
        key = signature(example)
        if key not in self._made:
            try:
                self._made[key] = self.engines.make(self.candidate, self.backbone, self.places, example, self.deepest)
            except EngineError as error:
                self.candidate = self.engines.failed(self.backbone, self.deepest, self.candidate, error)
                return self.prepare(example)
        return self._made[key]

    def run(self, rows: np.ndarray) -> Iterator[tuple[Tensor, dict[Place, Tensor]]]:
        """Positions of each batch, and its features at the places."""
        size = self.backbone.batch_size()
        kept = freed_memory_kept() if self.candidate.name == "torch" else contextlib.nullcontext()
        with kept, progress().task(_words("features", self.backbone), len(rows)) as advance:
            for batch in self.reader.sweep(self.part, size, view=self.view, labels=False, rows=rows, ahead=True):
                for index, made in self._within_memory(batch.index, batch.views[self.view]):
                    yield index, {place: made[place] for place in self.places}
                    advance(len(index))

    def _within_memory(self, index: Tensor, inputs: State) -> Iterator[tuple[Tensor, dict[Place, Tensor]]]:
        """A batch; in halves, and these in halves, where memory does not suffice.

        Raises
        ------
        HeadstartError
            When a single sample does not fit.
        """
        try:
            made = self.prepare(inputs).run(inputs)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if len(index) == 1:
                raise HeadstartError(
                    "A single sample does not fit into memory.", "Use a smaller --image-size or --max-length."
                ) from error
        else:
            yield index, made
            return
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()
        half = len(index) // 2
        for some in (index[:half], index[half:]):
            again = self.reader.batch(self.part, some.tolist(), (self.view,), labels=False)
            yield from self._within_memory(some, again.views[self.view])


def _is_out_of_memory(error: Exception) -> bool:
    words = str(error).lower()
    return (
        isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
        or "out of memory" in words
        or "can't allocate memory" in words
        or "not enough memory" in words
    )


@torch.inference_mode()
def every_place(backbone: Backbone, reader: Reader, part: str, view: str) -> list[Place]:
    """All places within `MOST_DIMENSIONS`, found by running one sample."""
    backbone.eval()
    device = next(backbone.parameters()).device
    last = list(backbone.stages)[-1]
    state = backbone.begin(reader.batch(part, [0], (view,), labels=False).to(device).views[view])
    return [(name, grid) for name, s in backbone.walk(state) for grid in _grids(backbone, s, last=name == last)]


def _words(what: str, backbone: Backbone) -> str:
    """What is being done, at which size where there is one."""
    spec = backbone.input_spec
    return f"{what}, {spec.size} px" if spec.modality == "image" else what


def _has_raster(backbone: Backbone, state: dict[str, Tensor]) -> bool:
    """Whether the positions of a stage lie on a raster, so that they can be averaged within its cells."""
    try:
        backbone.pool({k: v for k, v in state.items() if k != "pooled"}, 2)
    except ModelError:
        return False
    return True


def _grids(backbone: Backbone, state: dict[str, Tensor], last: bool) -> list[int]:
    """Grids within `MOST_DIMENSIONS`; grid 1 of the last stage always, since all others are compared with it."""
    width = backbone.pool({k: v for k, v in state.items() if k != "pooled"}, 1).shape[1]
    if backbone.input_spec.modality != "image":
        return [1] if last or width <= MOST_DIMENSIONS else []
    raster = backbone.dense(state)[0].shape[1] if _has_raster(backbone, state) else 1
    fits = [g for g in (1, 2, 3) if g * g <= raster and width * g * g <= MOST_DIMENSIONS]
    return sorted({1, *fits}) if last else fits
