"""metrics.jsonl as curves: one run of epochs and steps for each candidate and fold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Curve:
    """Training of one candidate on one fold (None: on all of the training part).

    `phases` holds (first epoch, name). Missing values are None; epochs count from 1 across phases.
    """

    stage: str
    fold: int | None
    metric: str = ""
    epochs: list[int] = field(default_factory=list)
    train_loss: list[float | None] = field(default_factory=list)
    validation_loss: list[float | None] = field(default_factory=list)
    validation_metric: list[float | None] = field(default_factory=list)
    ema_metric: list[float | None] = field(default_factory=list)
    phases: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class Rates:
    """Learning rates of one candidate: `lines` maps a stage of the network to (step, rate) pairs."""

    stage: str
    lines: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    phases: list[tuple[int, str]] = field(default_factory=list)


def curves(events: list[dict[str, Any]]) -> list[Curve]:
    """Epoch events as curves, in the order in which training began.

    An epoch that stands twice (a run was killed and resumed) counts once, as it was last.
    """
    latest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in events:
        if event.get("kind") == "epoch":
            key = (event.get("stage"), event.get("fold"), event.get("phase"), event.get("epoch"))
            latest[key] = event
    found: dict[tuple[Any, Any], Curve] = {}
    for (stage, fold, phase, _), event in latest.items():
        curve = found.setdefault((stage, fold), Curve(str(stage), fold))
        epoch = len(curve.epochs) + 1
        if not curve.phases or curve.phases[-1][1] != str(phase):
            curve.phases.append((epoch, str(phase)))
        curve.metric = str(event.get("metric") or curve.metric)
        curve.epochs.append(epoch)
        for name in ("train_loss", "validation_loss", "validation_metric", "ema_metric"):
            getattr(curve, name).append(_number(event.get(name)))
    return list(found.values())


def rates(events: list[dict[str, Any]], most: int = 200) -> list[Rates]:
    """Step events as learning rates: of each candidate the run on all data, or else its first fold.

    Steps of later phases are counted on; at most about `most` points are kept for a line.
    """
    steps = [e for e in events if e.get("kind") == "step" and isinstance(e.get("rates"), dict)]
    found = []
    for stage in dict.fromkeys(e.get("stage") for e in steps):
        folds = list(dict.fromkeys(e.get("fold") for e in steps if e.get("stage") == stage))
        fold = None if None in folds else folds[0]
        mine = [e for e in steps if e.get("stage") == stage and e.get("fold") == fold]
        found.append(_one_run(str(stage), mine, most))
    return found


def _one_run(stage: str, events: list[dict[str, Any]], most: int) -> Rates:
    latest = {(e.get("phase"), e.get("step")): e for e in events}
    run, offset, last, phase_now = Rates(stage), 0, -1, None
    kept = list(latest.items())
    every = max(1, len(kept) // most)
    for i, ((phase, step), event) in enumerate(kept):
        step = int(step or 0)
        if phase != phase_now:
            if step + offset <= last:
                offset = last + 1 - step
            run.phases.append((step + offset, str(phase)))
            phase_now = phase
        last = step + offset
        if i % every and i != len(kept) - 1:
            continue
        for name, value in event["rates"].items():
            rate = _number(value)
            # On a logarithmic axis a rate of zero (the first step of a warm-up) has no place.
            if rate is not None and rate > 0:
                run.lines.setdefault(str(name), []).append((last, rate))
    return run


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
