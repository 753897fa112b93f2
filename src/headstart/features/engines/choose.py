"""Which engine runs the frozen part: the fastest whose features agree with PyTorch's in float32, by measurement."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.allocator import freed_memory_kept
from headstart.core.errors import ConfigError, StoreError, did_you_mean
from headstart.core.progress import progress
from headstart.core.registry import get, names
from headstart.features.engines.engine import Engine, EngineError
from headstart.features.engines.prefix import Place, signature
from headstart.features.ridge import fit_ridge, indicators
from headstart.models.backbone import Backbone, State
from headstart.store.atomic import write_json
from headstart.train.precision import CLEARLY, format_name

LEAST_COSINE = 0.999
"""Between features of a sample by an engine and by PyTorch in float32; of the worst sample and place."""

ROUNDS = 3
ENOUGH = 0.1
"""Seconds of measuring an engine after which no further round is needed."""

KEPT_ENGINES = 2
"""Converted networks that stay in memory for the next part of the data."""

MUCH_MORE = 2
"""A choice is made anew for more than this many times the samples that it was made for."""

MODULES = {"openvino": "openvino", "onnxruntime": "onnxruntime"}
"""Engine -> module that must be installed (`pip install headstart[fast]`)."""


Example = tuple[State, Tensor | None]
"""A batch, and (B,) class numbers, -1 where there is none; None where the task has no classes."""


@dataclass(frozen=True)
class Candidate:
    """An engine with a number format."""

    name: str
    dtype: torch.dtype

    @property
    def kind(self) -> type[Engine]:
        return get("engine", self.name).build  # type: ignore[return-value]

    def key(self, device: torch.device) -> str:
        return self.kind.key(self.dtype, device)

    def __str__(self) -> str:
        return f"{self.name} in {format_name(self.dtype)}"


@dataclass
class Engines:
    """The choice of engines for one run.

    Attributes
    ----------
    asked
        "auto", or the name of an engine, which is then used wherever it can be.
    dtype
        The number format asked for; None leaves it to measurement.
    remembered
        Folder in which choices are kept, so that a later run finds its features again; None keeps them in memory.
    notes
        What was chosen, why, and what failed; lines for the report.
    """

    asked: str = "torch"
    dtype: torch.dtype | None = None
    remembered: Path | None = None
    notes: list[str] = field(default_factory=list)
    _chosen: dict[str, tuple[Candidate, int]] = field(default_factory=dict)
    _made: list[tuple[object, Engine]] = field(default_factory=list)
    _lossy: set[tuple[str, torch.dtype]] = field(default_factory=set)
    """Weights and number formats that lost too much once: that is the network's, at any size and on any engine."""

    def __post_init__(self) -> None:
        check_engine(self.asked)

    @property
    def in_float32(self) -> bool:
        """Whether whatever was chosen so far computes in float32, so that features are the network's own."""
        return all(candidate.dtype == torch.float32 for candidate, _ in self._chosen.values())

    def choose(
        self, backbone: Backbone, places: Sequence[Place], example: Callable[[], Example], count: int, weights: str
    ) -> Candidate:
        """The engine for this network and input.

        Parameters
        ----------
        example
            Gives a batch of the user's own samples, and their class numbers where they have any, to measure on.
        count
            Samples that are still to be run, for what trying an engine may cost.
        weights
            Hash of the network's weights.
        """
        device = next(backbone.parameters()).device
        key = self._key(backbone, weights, device)
        found = self._chosen.get(key) or self._recall(key)
        # What was chosen for few samples was chosen without trying the engines that take long to start.
        if found is None or count > MUCH_MORE * found[1]:
            with freed_memory_kept():
                found = self._measure(backbone, places, example, count, device, weights), count
            self._remember(key, *found)
        self._chosen[key] = found
        return found[0]

    def make(
        self, candidate: Candidate, backbone: Backbone, places: Sequence[Place], example: State, weights: str
    ) -> Engine:
        """The engine, ready to run; the last few that took long to convert are used again.

        One that gives more places than are asked for serves too: pooling them costs next to nothing.

        Raises
        ------
        EngineError
            When the network cannot be converted.
        """
        if candidate.name == "torch":
            return candidate.kind(backbone, places, example, candidate.dtype)
        key = candidate, weights, repr(backbone.input_spec), signature(example)
        engine = next((e for k, e in self._made if k == key and set(places) <= set(e.places)), None)
        if engine is None:
            engine = candidate.kind(backbone, places, example, candidate.dtype)
        self._made = [*((k, e) for k, e in self._made if e is not engine), (key, engine)][-KEPT_ENGINES:]
        return engine

    def failed(self, backbone: Backbone, weights: str, candidate: Candidate, error: Exception) -> Candidate:
        """What to use instead of an engine that cannot run this network after all."""
        device = next(backbone.parameters()).device
        instead = Candidate("torch", torch.float32 if self.dtype is None else self.dtype)
        self._note(f"{candidate} cannot run this network ({error}); {instead} did it.")
        self._chosen[self._key(backbone, weights, device)] = instead, sys.maxsize
        return instead

    # -- measuring -------------------------------------------------------------------------------------------------

    def _measure(
        self,
        backbone: Backbone,
        places: Sequence[Place],
        make: Callable[[], Example],
        count: int,
        device: torch.device,
        weights: str,
    ) -> Candidate:
        found = self._candidates(backbone, device)
        if len(found) == 1:
            return found[0]
        example, labels = make()
        size = len(next(iter(example.values())))
        reference = Candidate("torch", torch.float32)
        truth, fastest = self._time(reference, backbone, places, example, weights)
        best, least, lines = reference, fastest, [f"{reference} {size / fastest:,.0f} a second"]
        for candidate in found:
            if candidate == reference or (self.dtype is None and (weights, candidate.dtype) in self._lossy):
                continue
            # What agrees in a shorter format and is the fastest in it need not be converted for float32 as well.
            if best.name == candidate.name and best.dtype != torch.float32:
                continue
            if candidate.kind.pays_from > count / size * fastest:
                continue
            try:
                made, seconds = self._time(candidate, backbone, places, example, weights, truth)
            except EngineError as error:
                lines.append(f"{candidate} failed ({error})")
                continue
            cosine = min(least_cosine(truth[place], made[place]) for place in places)
            fault = "" if cosine >= LEAST_COSINE else f"under {LEAST_COSINE}: not used"
            if fault and candidate.dtype != torch.float32:
                self._lossy.add((weights, candidate.dtype))
            if not fault and labels is not None and any(probe_differs(truth[p], made[p], labels) for p in places):
                fault = "a probe on them errs on other samples: not used"
            lines.append(
                f"{candidate} {size / seconds:,.0f} a second, least cosine {cosine:.5f}{f' ({fault})' if fault else ''}"
            )
            weighed = seconds * (1 if candidate.dtype == torch.float32 else CLEARLY)
            if not fault and weighed < least:
                best, fastest, least = candidate, seconds, weighed
        spec = backbone.input_spec
        at = f" at {spec.size} px" if spec.modality == "image" else ""
        self._note(f"Frozen features{at}: {best}. Measured on {size} samples: {'; '.join(lines)}.")
        return best

    def _candidates(self, backbone: Backbone, device: torch.device) -> list[Candidate]:
        """What may be used, in the order of trying."""
        able = [n for n in names("engine") if is_installed(n) and (n == "torch" or backbone.family != "rnn")]
        if self.asked != "auto":
            if self.asked not in able:
                self._note(f"{self.asked} does not run recurrent networks; torch did it.")
            able = [self.asked] if self.asked in able else ["torch"]
        found = []
        for name in able:
            kind = Candidate(name, torch.float32).kind
            if self.asked == "auto" and "cuda" in get("engine", name).needs and device.type != "cuda":
                continue
            formats = kind.formats(device)
            if self.dtype is not None:
                formats = tuple(f for f in formats if f == self.dtype) or ((self.dtype,) if name == "torch" else ())
            elif self.asked != "auto":
                formats = formats[:1] if name != "torch" else formats
            found += [Candidate(name, f) for f in formats]
        if not found:
            self._note(f"{self.asked} does not compute in that format on {device.type}; torch did it.")
            found = [Candidate("torch", self.dtype or torch.float32)]
        return sorted(found, key=lambda c: c.kind.pays_from)

    def _time(
        self,
        candidate: Candidate,
        backbone: Backbone,
        places: Sequence[Place],
        example: State,
        weights: str,
        truth: dict[Place, Tensor] | None = None,
    ) -> tuple[dict[Place, Tensor], float]:
        """Features of the example, and the best of some rounds in seconds; of one, where they are not the `truth`."""
        engine = self.make(candidate, backbone, places, example, weights)
        made, seconds = {}, []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            made = engine.run(example)
            seconds.append(time.perf_counter() - start)
            if len(seconds) > 1 and sum(seconds) > ENOUGH:
                break
            if truth is not None and not all(least_cosine(truth[p], made[p]) >= LEAST_COSINE for p in places):
                break
        return made, min(seconds)

    # -- remembering -----------------------------------------------------------------------------------------------

    def _key(self, backbone: Backbone, weights: str, device: torch.device) -> str:
        about = [self.asked, str(self.dtype), weights, repr(backbone.input_spec), str(device), torch.get_num_threads()]
        about += [Candidate(n, torch.float32).key(device) for n in names("engine") if is_installed(n)]
        return hashlib.blake2b(json.dumps(about).encode(), digest_size=16).hexdigest()

    def _recall(self, key: str) -> tuple[Candidate, int] | None:
        if self.remembered is None:
            return None
        try:
            kept: dict[str, Any] = json.loads((self.remembered / f"{key}.json").read_text())
            found = Candidate(kept["name"], getattr(torch, kept["dtype"])), int(kept["count"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if kept.get("note"):
            self._note(str(kept["note"]))
        return found

    def _remember(self, key: str, candidate: Candidate, count: int) -> None:
        if self.remembered is None:
            return
        with suppress(OSError, StoreError):  # it only saves time
            self.remembered.mkdir(parents=True, exist_ok=True)
            about = {"name": candidate.name, "dtype": format_name(candidate.dtype), "count": count}
            write_json(self.remembered / f"{key}.json", about | {"note": self.notes[-1] if self.notes else ""})

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            progress().say(text)


def least_cosine(a: Tensor, b: Tensor) -> float:
    """The smallest cosine between rows; rows that are zero in both agree.

    >>> least_cosine(torch.eye(2), torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    1.0
    """
    if not bool(torch.isfinite(b).all()):
        return -1.0
    both = (a.norm(dim=1) == 0) & (b.norm(dim=1) == 0)
    return float(torch.where(both, 1.0, torch.cosine_similarity(a.double(), b.double(), dim=1)).min())


def probe_differs(a: Tensor, b: Tensor, labels: Tensor) -> bool:
    """Whether the leave-one-out accuracies of ridge probes on both differ by more than two standard errors."""
    known = labels >= 0
    if int(known.sum()) < 2:
        return False
    y = labels[known]
    target = indicators(y, int(y.max()) + 1)
    right = [(fit_ridge(x[known], target).held_out.argmax(1) == y).double() for x in (a, b)]
    change = right[1] - right[0]
    return bool(change.mean().abs() > 2 * change.std() / len(change) ** 0.5)


def is_installed(name: str) -> bool:
    """Whether an engine's library is there."""
    return name not in MODULES or find_spec(MODULES[name]) is not None


def check_engine(name: str) -> None:
    """Refuse engines that are not there.

    Raises
    ------
    ConfigError
        An unknown name, or a library that is not installed.
    """
    if name == "auto":
        return
    known = names("engine")
    if name not in known:
        raise ConfigError(f"There is no engine {name!r}.", did_you_mean(name, [*known, "auto"]))
    if not is_installed(name):
        raise ConfigError(
            f"The engine {name!r} is not installed.", f"pip install 'headstart[fast]' brings {MODULES[name]}."
        )


def middle_batch(lengths: np.ndarray | None, count: int, size: int) -> np.ndarray:
    """Positions of a batch that stands for all: of middle length where samples differ, else evenly spread."""
    size = min(size, count)
    if lengths is None:
        return np.linspace(0, count - 1, size).round().astype(int)
    order = np.argsort(lengths, kind="stable")
    start = (count - size) // 2
    return order[start : start + size]
