"""Overfitting, watched: did validation get worse while training went on to get better, and what was done about it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.train.loop import History

CLEAR = 0.05
"""Share of its lowest value by which the loss on validation must rise to be called a rise."""


def overfitting(history: History) -> str:
    """What the last phase's losses show, in a sentence; "" where fewer than three epochs were validated.

    Losses of training are taken with augmentation and dropout, so only their direction is compared.
    """
    if not history.kept:
        return ""
    kept = history.kept[-1]
    epochs = _validated(history, kept["phase"])
    return _said(epochs, "on validation", _kept(kept, epochs[-1])) if epochs else ""


def overfitting_of_folds(histories: Sequence[History], epoch: int, kind: str) -> str:
    """The same out of folds, by the mean of their losses; `epoch` and `kind` of the weights are what they chose."""
    phase = histories[0].kept[-1]["phase"]
    each = [{e["epoch"]: e for e in _validated(history, phase)} for history in histories]
    both = sorted(set.intersection(*(set(rows) for rows in each)))
    names = ("validation_loss", "train_loss")
    epochs = [{"epoch": e, **{n: sum(rows[e][n] for rows in each) / len(each) for n in names}} for e in both]
    if not epochs:
        return ""
    done = f"training on all samples was ended after epoch {epoch + 1}"
    if epoch == epochs[-1]["epoch"]:
        done = "the last epoch was kept: in the second half none was better beyond a standard error"
    if kind != "raw":
        done += ", with averaged weights" if kind == "average" else ", with weights half-way to the probe's"
    return _said(epochs, "out of folds", done)


def _validated(history: History, phase: str) -> list[dict[str, Any]]:
    return [e for e in history.epochs if e["phase"] == phase and "validation_loss" in e]


def _said(epochs: Sequence[Mapping[str, Any]], where: str, done: str) -> str:
    """What the losses of the validated epochs show, and what was `done`."""
    if len(epochs) < 3:
        return ""
    lowest, last = min(epochs, key=lambda e: e["validation_loss"]), epochs[-1]
    low, end = lowest["validation_loss"], last["validation_loss"]
    if end - low > CLEAR * low and last["train_loss"] < lowest["train_loss"]:
        return (
            f"Overfitting: the loss {where} was lowest in epoch {lowest['epoch'] + 1} ({low:.3f}) and {end:.3f} "
            f"after epoch {last['epoch'] + 1}, while that of training went on falling: {done}."
        )
    if end - low > CLEAR * low:
        return (
            f"Training did not settle: the loss {where} was lowest in epoch {lowest['epoch'] + 1} ({low:.3f}) and "
            f"{end:.3f} after epoch {last['epoch'] + 1}, and that of training did not fall: {done}."
        )
    return f"No overfitting: after {last['epoch'] + 1} epochs the loss {where} is {end:.3f}, its lowest {low:.3f}."


def _kept(kept: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    """What was done."""
    if kept["weights"] == "average":
        return f"the averaged weights of epoch {kept['epoch'] + 1} were kept"
    if kept["epoch"] < last["epoch"]:
        return f"the weights of epoch {kept['epoch'] + 1} were kept"
    return "the last weights were kept, since the metric did not fall"
