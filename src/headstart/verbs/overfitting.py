"""Overfitting, watched: did validation get worse while training went on to get better, and what was done about it?"""

from __future__ import annotations

from collections.abc import Mapping
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
    epochs = [e for e in history.epochs if e["phase"] == kept["phase"] and "validation_loss" in e]
    if len(epochs) < 3:
        return ""
    lowest, last = min(epochs, key=lambda e: e["validation_loss"]), epochs[-1]
    low, end = lowest["validation_loss"], last["validation_loss"]
    if end - low > CLEAR * low and last["train_loss"] < lowest["train_loss"]:
        return (
            f"Overfitting: the loss on validation was lowest in epoch {lowest['epoch'] + 1} ({low:.3f}) and {end:.3f} "
            f"after epoch {last['epoch'] + 1}, while that of training went on falling: {_kept(kept, last)}."
        )
    return f"No overfitting: after {len(epochs)} epochs the loss on validation is {end:.3f}, its lowest {low:.3f}."


def _kept(kept: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    """What was done."""
    if kept["weights"] == "average":
        return f"the averaged weights of epoch {kept['epoch'] + 1} were kept"
    if kept["epoch"] < last["epoch"]:
        return f"the weights of epoch {kept['epoch'] + 1} were kept"
    return "the last weights were kept, since the metric did not fall"
