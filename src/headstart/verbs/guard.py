"""What transfer brought against the cheap baselines, in words and numbers. It reports; it changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from headstart.measure import Metric, mcnemar, paired_difference

NAMES = {
    "majority": "always guessing the majority (or the mean)",
    "linear_probe": "a linear probe on the last layer",
    "scratch": "the same network from random weights",
}


WORDS = {
    True: {
        "positive": "Transfer helps",
        "negative": "Transfer hurts",
        "inconclusive": "Whether transfer helps is open",
    },
    False: {
        "positive": "The network helps",
        "negative": "The network hurts",
        "inconclusive": "Whether the network helps is open",
    },
}
"""Of a network that somebody trained, and of one with random weights, which transfers nothing."""


def verdict(
    metric: Metric,
    labels: np.ndarray,
    ours: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    part: str,
    raw: str,
    pretrained: bool = True,
    subject: str = "the model",
) -> dict[str, Any]:
    """Compare the model with the best baseline that uses no pretrained network; `raw` names "raw_features" in words.

    `subject` names what is compared, where it is not the model that is handed back.

    Returns
    -------
    dict
        `verdict` "positive", "inconclusive" or "negative" by the 95% interval of the paired gap (in the direction
        of better), `gap`, `compared_with`, `mcnemar` (exact p-value that both are right equally often; None where there
        are no single classes), `text`.
    """
    sign = 1 if metric.higher_is_better else -1
    own = {n: o for n, o in baselines.items() if n in ("raw_features", "majority", "scratch")}
    name = max(own, key=lambda n: sign * float(metric.function(labels, own[n])))
    gap = paired_difference(metric, labels, ours, own[name])
    value, low, high = gap.value, gap.low, gap.high
    if value is None or low is None or high is None:
        return {
            "verdict": "inconclusive",
            "gap": gap.as_json(),
            "compared_with": name,
            "mcnemar": None,
            "part": part,
            "text": f"{metric.name} is not defined on the {part} part.",
        }
    if sign < 0:
        value, low, high = -value, -high, -low
    said = "positive" if low > 0 else "negative" if high < 0 else "inconclusive"
    text = (
        f"{WORDS[pretrained][said]}: on the {part} part {subject} is {abs(value):.3f} "
        f"{'better' if value >= 0 else 'worse'} in {metric.name} than {NAMES.get(name, raw)} "
        f"(95% interval of the gain {low:+.3f} to {high:+.3f}"
    )
    p = _mcnemar(labels, ours, own[name])
    text += ")." if p is None else f"; McNemar's exact p = {p:.2g})."
    return {
        "verdict": said,
        "gap": {"value": value, "low": low, "high": high},
        "compared_with": name,
        "mcnemar": p,
        "part": part,
        "text": text,
    }


def _mcnemar(labels: np.ndarray, ours: np.ndarray, baseline: np.ndarray) -> float | None:
    """McNemar's exact p-value over the labelled samples; None where samples have no single class."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or ours.ndim != 2:
        return None
    known = labels >= 0
    a, b = (outputs.argmax(axis=1)[known] == labels[known] for outputs in (ours, baseline))
    return mcnemar(int((a & ~b).sum()), int((~a & b).sum()))
