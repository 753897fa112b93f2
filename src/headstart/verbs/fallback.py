"""The guard that acts: where held-out samples say that a cheap baseline is better, the baseline is handed back.

The test part has no say in it. Its verdict on the network is reported beside the model that is handed back.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from headstart.data.schema import missing
from headstart.measure import paired_difference
from headstart.models.model import Model
from headstart.verbs.evaluation import calibrated
from headstart.verbs.guard import words_of
from headstart.verbs.mixture import constant_logits, temperature_of

if TYPE_CHECKING:
    from headstart.verbs.frozen import FrozenProbe
    from headstart.verbs.job import Job
    from headstart.verbs.modalities import RawBaseline


@dataclass
class Fallback:
    """The baseline that is handed back instead of the network.

    Attributes
    ----------
    name
        "raw_features", "linear_probe", "scratch" or "majority".
    logits
        (N, K) of the held-out samples.
    text
        Why, in a sentence.
    """

    name: str
    logits: np.ndarray
    text: str


def fall_back(
    job: Job,
    chosen: str,
    logits: np.ndarray,
    baselines: dict[str, np.ndarray],
    labels: np.ndarray,
) -> tuple[Fallback | None, str]:
    """The best baseline that is better than the model chosen, beyond doubt, or None; and in words why.

    Beyond doubt: the paired 95% bootstrap interval of model - baseline in the deciding metric lies wholly on the
    baseline's side.

    Parameters
    ----------
    chosen
        What the model is called.
    logits, baselines
        (N, K) held-out logits of the model, and of each baseline, of the same protocol.
    labels
        (N,) or (N, K).

    Returns
    -------
    Fallback or None, str
        The words are empty where no baseline could be compared.
    """
    sign = 1 if job.metric.higher_is_better else -1
    found: list[tuple[float, Fallback]] = []
    kept: list[tuple[float, str]] = []
    where = "out of folds" if job.few else "on validation"
    for name, theirs in baselines.items():
        have = ~(np.isnan(logits).any(1) | np.isnan(theirs).any(1) | missing(labels))
        y = labels[have]
        ours, other = (calibrated(job.task, z[have], temperature_of(job.task, y, z[have])) for z in (logits, theirs))
        gap = paired_difference(job.metric, y, ours, other)
        if gap.value is None or gap.low is None or gap.high is None:
            continue
        low, high = sorted((sign * gap.low, sign * gap.high))
        value, own = (float(job.metric.function(y, z)) for z in (other, ours))
        text = (
            f"{where}, {job.metric.name} is {own:.3f} for {chosen} and {value:.3f} for "
            f"{words_of(name, job.modality.raw_words, job.task.kind == 'regression')}"
        )
        interval = f"(95% interval of the difference {low:+.3f} to {high:+.3f})"
        if high < 0:
            found.append((sign * value, Fallback(name, theirs, f"The network is not handed back: {text} {interval}.")))
        elif not np.array_equal(ours, other):
            kept.append((sign * value, f"The guard keeps the network: {text}, the best baseline {interval}."))
    if found:
        fallback = max(found, key=lambda pair: pair[0])[1]
        return fallback, fallback.text
    return None, max(kept, key=lambda pair: pair[0])[1] if kept else ""


def held_out_baselines(
    job: Job, raw: RawBaseline, last: FrozenProbe, labels: np.ndarray, halves: bool
) -> dict[str, np.ndarray]:
    """Name -> (N, K) held-out logits of the baselines; out of two folds, as fine-tuning is judged, or out of five."""
    two = halves and raw.halves is not None and last.halves is not None
    constant = np.tile(constant_logits(job.task, job.labels("train")), (len(labels), 1))
    return {
        "raw_features": raw.halves if two and raw.halves is not None else raw.validation,
        "linear_probe": last.halves if two and last.halves is not None else last.validation,
        "majority": constant,
    }


def constant_model(job: Job, raw: Model) -> Model:
    """The model that always gives the same answer, as a model that a bundle can hold."""
    model = copy.deepcopy(raw)
    head = model.head()
    with torch.no_grad():
        head.linear.weight.zero_()  # type: ignore[operator,union-attr]
        logits = constant_logits(job.task, job.labels("train"))
        shift, spread = head.shift, head.spread
        head.linear.bias.copy_((torch.from_numpy(logits) - shift) / spread)  # type: ignore[operator,union-attr]
    return model
