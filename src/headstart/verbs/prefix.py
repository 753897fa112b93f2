"""Whether the frozen first part of a network is run once and kept, or at every step: decided by what it would cost.

Kept activations are read instead of computed. With augmentation they are those of a fixed number of views of each
sample, so what is saved is all but that number of the epochs' passes through the frozen part.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from headstart.features.cache import limit
from headstart.models.backbone import Backbone
from headstart.models.model import Model
from headstart.multitask.architectures import Architecture
from headstart.train.attention import attention_in_parts
from headstart.train.phase import Phase, Strategy
from headstart.train.precision import autocast
from headstart.train.reader import Reader
from headstart.verbs.job import Job

LEAST_VIEWS = 4
"""Fewer views than this of a sample are no augmentation worth its name."""

SHARE_OF_EPOCHS = 3
"""One view is kept for so many epochs."""

LEAST_SAVING = 0.2
"""Share of a phase's time that keeping must save."""

READING = 1e9
"""Bytes a second that kept activations are read at: a cautious figure for a page cache."""

ROUNDS = 3


@dataclass(frozen=True)
class Costs:
    """Seconds and bytes of one sample.

    Attributes
    ----------
    frozen
        Through the frozen part at a training step.
    kept
        Through the frozen part when activations are kept (float32).
    trained
        Forward and backward through the rest.
    size
        Bytes of the state at the cut.
    """

    frozen: float
    kept: float
    trained: float
    size: int


def cut_of(backbone: Backbone, phase: Phase, common: int | None = None) -> tuple[str | None, list[str]]:
    """The last place before which everything is frozen and from which training can resume, and the frozen stages.

    `common` is how many stages all tasks run as one, where they part later: behind those there is no one state to keep.
    """
    names = list(backbone.stages)
    first = next((i for i, name in enumerate(names) if name in phase.rates), len(names))
    first = first if common is None else min(first, common)
    return next((n for n in reversed(names[:first]) if n in backbone.cuts), None), names[:first]


def views_for(asked: int | str, epochs: int, drawn: bool, bytes_per_view: int, budget: int) -> int | None:
    """How many views are kept; None where nothing should be kept.

    Parameters
    ----------
    asked
        A number, "auto" or "fresh".
    drawn
        Whether views are drawn at random.

    Examples
    --------
    >>> views_for("auto", 30, True, 10, 1000)
    10
    >>> views_for("auto", 30, True, 10, 60)
    6
    >>> views_for("auto", 30, True, 10, 30) is None
    True
    >>> views_for("auto", 30, False, 10, 30)
    1
    """
    room = budget // max(1, bytes_per_view)
    if asked == "fresh" or room < 1:
        return None
    if not drawn:
        return 1
    if isinstance(asked, int):
        return min(asked, epochs, room)
    wanted = min(epochs, max(LEAST_VIEWS, math.ceil(epochs / SHARE_OF_EPOCHS)))
    found = min(wanted, room)
    return found if found >= min(LEAST_VIEWS, epochs) else None


def decide(phase: Phase, cut: str, costs: Costs, samples: int, views: int | None, asked: bool) -> tuple[Phase, str]:
    """The phase with or without a cut, and why.

    Parameters
    ----------
    asked
        Whether the number of views was asked for: then it is kept whatever it saves.
    """
    epochs = min(phase.epochs, phase.stop_after or phase.epochs)
    where = f"In the phase {phase.name!r} everything up to {cut} is frozen"
    if views is None:
        return phase, f"{where}; it is run at every step (there is no room for enough views)."
    without = epochs * samples * (costs.frozen + costs.trained)
    with_ = samples * (views * costs.kept + epochs * (costs.trained + costs.size / READING))
    saving = 1 - with_ / without
    what = f"{views} views of each sample" if views > 1 else "each sample"
    size = f"{views * samples * costs.size / 1e6:,.0f} MB"
    if not asked and saving < LEAST_SAVING:
        return phase, f"{where}; it is run at every step: keeping {what} would save {max(0.0, saving):.0%}."
    return replace(phase, cut=cut, views=views), (
        f"{where}: activations of {what} are kept ({size}) and only the rest is run, about {with_:.0f} s instead of "
        f"{without:.0f} s."
    )


def with_kept_prefix(
    job: Job, strategy: Strategy, make: Callable[[], tuple[Model, Reader, str]]
) -> tuple[Strategy, list[str]]:
    """The strategy with cuts where they pay (a durable step: a resumed run goes on in the same way).

    Parameters
    ----------
    make
        Gives a fresh model, a reader, and the view that training takes.
    """

    def plan() -> dict[str, Any]:
        phases, notes = [], []
        model, reader, view = make()
        for phase in strategy.phases:
            planned, why = _plan(job, model, reader, view, phase)
            phases.append(planned.as_json())
            notes += [why] if why else []
        return {"phases": phases, "notes": notes}

    kept = job.folder.step(f"{strategy.name}-prefix", plan)
    return replace(strategy, phases=tuple(Phase.from_json(p) for p in kept["phases"])), kept["notes"]


def _plan(job: Job, model: Model, reader: Reader, view: str, phase: Phase) -> tuple[Phase, str]:
    backbone = model.backbone
    cut, frozen = cut_of(backbone, phase, _common(model))
    if not frozen or phase.objective == "pretraining" or job.options.views == "fresh":
        return phase, ""
    if job.options.mixup or job.options.cutmix:
        return phase, "The frozen stages are run at every step: mixed inputs cannot be kept."
    if backbone.input_spec.long != "truncate":  # a text is several rows behind a stage, and has no one state
        return phase, "The frozen stages are run at every step: states of texts in windows cannot be kept."
    if cut is None:
        return phase, (
            f"In the phase {phase.name!r} the first stages are frozen, but the network cannot be resumed behind them: "
            "they are run at every step."
        )
    drawn = view in backbone.augmentations
    samples = len(reader.parts["train"])
    costs = measure(job, model, reader, phase, cut)
    budget = min(limit(), shutil.disk_usage(job.folder.path).free // 2)
    epochs = min(phase.epochs, phase.stop_after or phase.epochs)
    views = views_for(job.options.views, epochs, drawn, samples * costs.size, budget)
    planned, why = decide(phase, cut, costs, samples, views, isinstance(job.options.views, int))
    if drawn and planned.cut and planned.views == 1:
        why += " One view of each sample is no augmentation."
    return planned, why


def _common(model: Model) -> int | None:
    if not isinstance(model, Architecture):
        return None
    return 0 if model.common is None else list(model.backbone.stages).index(model.common) + 1


def measure(job: Job, model: Model, reader: Reader, phase: Phase, cut: str) -> Costs:
    """Time a batch of the phase's size, frozen part and rest apart."""
    backbone = model.backbone.eval()
    count = min(phase.batch_size, len(reader.parts["train"]))
    batch = reader.batch("train", range(count), ("plain",), labels=False).to(job.device)
    names = list(backbone.stages)
    for name, stage in backbone.stages.items():
        stage.requires_grad_(names.index(name) > names.index(cut) and name in phase.rates)
    begun = backbone.begin(batch.views["plain"])

    def timed(run: Callable[[], Any]) -> float:
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            run()
            if job.device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        return min(seconds) / count

    def frozen(dtype: torch.dtype) -> float:
        with torch.no_grad(), autocast(dtype, job.device):
            return timed(lambda: backbone.run(begun, upto=cut))

    with torch.no_grad():
        state = {k: v.detach() for k, v in backbone.run(begun, upto=cut).items()}

    def rest() -> None:
        with torch.enable_grad(), autocast(job.training_dtype, job.device), attention_in_parts(backbone, job.device):
            features = backbone.pool(backbone.run(state, after=cut), model.grid)
            loss = sum(head(features).float().square().mean() for head in model.heads)
        loss.backward()

    size = sum(x.numel() * x.element_size() for x in state.values()) // count
    if backbone.by_length:  # all are kept with as much room as the longest takes
        lengths = reader.lengths("train")
        size = int(size * lengths.max() / max(1, lengths[:count].max()))
    return Costs(frozen(job.training_dtype), frozen(torch.float32), timed(rest), size)
