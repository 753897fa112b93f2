"""Are the rates low enough for this start? A few steps on a model that is thrown away tell."""

from __future__ import annotations

import numpy as np

from headstart.models.model import Model
from headstart.train.loop import Settings, Work
from headstart.train.reader import Reader
from headstart.train.trial import trial

FACTORS = (1.0, 0.3, 0.1, 0.03)
"""Of the rates, tried in this order."""

RISING, STEPS = 8, 16
"""Steps in which the rate rises to the phase's own, and steps in all."""

LIMIT = 1.25
"""Times the loss of guessing that the loss of the last steps (their median) may be."""


def steadier(model: Model, reader: Reader, work: Work, settings: Settings, guessing: float) -> tuple[float, str]:
    """The largest factor on the rates with which the first steps do not blow up.

    A head that was solved on frozen features can be so steep that the first updates throw its answers far off: the loss
    stays above that of guessing, and what the network had learnt is lost with it. EfficientNet-Lite0's last layer on
    300 digits of 64 px and 8 epochs: .100 test accuracy at the default rates, .855 at .3 of them.

    Parameters
    ----------
    guessing
        The loss of guessing, such as ln(classes).

    Returns
    -------
    factor, reason
        The reason is empty where the factor is 1.
    """
    rising = np.minimum(1.0, (np.arange(STEPS) + 1) / RISING)
    ended: dict[float, float] = {}
    for factor in FACTORS:
        losses = [loss for loss, _ in trial(model, reader, work, settings, factor * rising)]
        last = np.nan_to_num(losses[STEPS // 2 :], nan=np.inf)
        ended[factor] = float(np.median(last))
        if ended[factor] <= LIMIT * guessing:
            break
    taken = min(ended, key=lambda f: (ended[f], f))
    if taken == FACTORS[0]:
        return taken, ""
    return taken, (
        f"Rates are {taken:g} times the usual ones: with those the loss is {ended[FACTORS[0]]:.1f} after a few steps, "
        f"more than that of guessing ({guessing:.1f}); with these {ended[taken]:.1f}."
    )
