"""What transfer brought against the cheap baselines, in words and numbers. It reports; it changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from headstart.measure import Metric, paired_difference

NAMES = {
    "majority": "always guessing the majority (or the mean)",
    "linear_probe": "a linear probe on the last layer",
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
) -> dict[str, Any]:
    """Compare the model with the best baseline that uses no pretrained network; `raw` names "raw_features" in words.

    Returns
    -------
    dict
        `verdict` "positive", "inconclusive" or "negative" by the 95% interval of the paired gap (in the direction
        of better), `gap`, `compared_with`, `text`.
    """
    sign = 1 if metric.higher_is_better else -1
    own = {n: o for n, o in baselines.items() if n in ("raw_features", "majority")}
    name = max(own, key=lambda n: sign * float(metric.function(labels, own[n])))
    gap = paired_difference(metric, labels, ours, own[name])
    value, low, high = gap.value, gap.low, gap.high
    if value is None or low is None or high is None:
        return {
            "verdict": "inconclusive",
            "gap": gap.as_json(),
            "compared_with": name,
            "part": part,
            "text": f"{metric.name} is not defined on the {part} part.",
        }
    if sign < 0:
        value, low, high = -value, -high, -low
    said = "positive" if low > 0 else "negative" if high < 0 else "inconclusive"
    text = (
        f"{WORDS[pretrained][said]}: on the {part} part the model is {abs(value):.3f} "
        f"{'better' if value >= 0 else 'worse'} in {metric.name} than {NAMES.get(name, raw)} "
        f"(95% interval of the gain {low:+.3f} to {high:+.3f})."
    )
    return {
        "verdict": said,
        "gap": {"value": value, "low": low, "high": high},
        "compared_with": name,
        "part": part,
        "text": text,
    }
