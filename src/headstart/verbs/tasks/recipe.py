"""What is trained for several tasks, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from headstart.models.model import Model
from headstart.train.phase import Strategy


@dataclass
class Trained:
    """A trained model, but for its weights.

    Attributes
    ----------
    validation
        Task -> (n, K) held-out logits of the task's samples: of the validation part, or out of two folds.
    cosines
        (epoch, (T, T) mean cosines of the tasks' gradients with respect to the features).
    """

    strategy: Strategy
    validation: dict[str, np.ndarray]
    cosines: list[tuple[int, Tensor]]
    trained: int
    notes: list[str]


@dataclass(frozen=True)
class Recipe:
    """What is trained.

    Attributes
    ----------
    name
        Of the step, of its weights (steps/NAME-weights) and checkpoints.
    title
        Shown with the progress.
    build
        ("probe" or "random" heads, the fold that is held out or None) -> a fresh model.
    after
        The stage up to which the network stays as it is; None where all of it may be trained.
    epochs
        Factor on the strategy's epochs.
    keep
        Stage up to which the weights of either fold are kept, too (steps/NAME-fold0-weights); None keeps none.
    """

    name: str
    title: str
    build: Callable[[str, int | None], Model]
    after: str | None = None
    epochs: float = 1.0
    keep: str | None = None
