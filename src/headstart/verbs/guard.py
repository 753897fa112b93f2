"""What transfer brought against the cheap baselines, in words and numbers. It reports; it changes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.measure import Metric, mcnemar, paired_difference

NAMES = {
    "majority": "always guessing the commonest answer",
    "mean": "always guessing the mean",
    "linear_probe": "a linear probe on the last layer",
    "scratch": "the same network from random weights",
}

WITHOUT_TRANSFER = ("raw_features", "majority", "scratch")
"""Baselines that use no pretrained network. A linear probe transfers too: it is no measure of whether transfer pays."""

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

Gap = Mapping[str, float | None]
"""`value`, `low` and `high`: how much better the model is, above zero also where lower values are better."""


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
    """Compare the model with the best baseline that uses no pretrained network, and with the linear probe beside.

    Parameters
    ----------
    metric, labels, ours, baselines
        (N, K) probabilities, or (N,) numbers, of the model and of each baseline by name.
    part
        What the samples are called.
    raw
        "raw_features" in words.
    pretrained
        Whether somebody trained the network.
    subject
        What is compared, where it is not the model that is handed back.

    Returns
    -------
    dict
        `verdict` "positive", "inconclusive" or "negative" by the 95% interval of the paired gap (in the direction
        of better), `gap`, `compared_with`, `mcnemar` (exact p-value that both are right equally often; None where there
        are no single classes), `text`, `part`. `over_probe` has `gap`, `mcnemar` and `text` of the linear probe on the
        last layer; it is None where the model is that probe.
    """
    sign = 1 if metric.higher_is_better else -1
    own = [n for n in baselines if n in WITHOUT_TRANSFER]
    name = max(own, key=lambda n: sign * float(metric.function(labels, baselines[n])))
    gap, p = _gap(metric, labels, ours, baselines[name]), _mcnemar(labels, ours, baselines[name])
    who = f"on the {part} part {subject}"
    found = _judged(metric.name, gap, name, f"{who} is", words_of(name, raw, ours.ndim == 1), pretrained, p)
    probe, over = baselines.get("linear_probe"), None
    scale = 1.0 if ours.ndim > 1 else float(np.nanstd(labels))
    if probe is not None and not np.allclose(ours, probe, rtol=0, atol=1e-5 * scale):
        over = _over_probe(metric.name, _gap(metric, labels, ours, probe), who, _mcnemar(labels, ours, probe))
    return found | {"part": part, "over_probe": over}


def verdict_over_seeds(
    metric: str,
    gaps: Sequence[Mapping[str, Any]],
    seeds: int,
    part: str,
    raw: str,
    pretrained: bool = True,
    subject: str = "the model",
    numbers: bool = False,
) -> dict[str, Any]:
    """The verdict over several seeds, by gaps that are sure of seeds and samples.

    Parameters
    ----------
    metric
        The deciding metric's name.
    gaps
        Of each baseline: `baseline`, and a gap's `value`, `low` and `high`.
    seeds, part, raw, pretrained, subject
        How many seeds; the others as for `verdict`.
    numbers
        Whether labels are numbers.

    Returns
    -------
    dict
        As of `verdict`; without McNemar's test, which is of one pair of models.
    """
    found: dict[str, Gap] = {gap["baseline"]: {end: gap[end] for end in ("value", "low", "high")} for gap in gaps}

    def nearness(name: str) -> float:
        value = found[name]["value"]
        return math.inf if value is None else value

    # All gaps are those of the same models: the smallest is to the best baseline.
    name = min((n for n in found if n in WITHOUT_TRANSFER), key=nearness)
    who = f"over {seeds} seeds, on the {part} part, {subject}"
    said = _judged(metric, found[name], name, f"{who} is on average", words_of(name, raw, numbers), pretrained, None)
    over = _over_probe(metric, found["linear_probe"], who, None) if "linear_probe" in found else None
    return said | {"part": part, "over_probe": over}


def words_of(name: str, raw: str, numbers: bool) -> str:
    """A baseline in a sentence; `raw` stands for raw features, and numbers have a mean in place of a majority."""
    return NAMES.get("mean" if numbers and name == "majority" else name, raw)


def _judged(
    metric: str, gap: Gap, name: str, who: str, baseline: str, pretrained: bool, p: float | None
) -> dict[str, Any]:
    value, low, high = gap["value"], gap["low"], gap["high"]
    if value is None or low is None or high is None:
        said, text = "inconclusive", f"{metric} is not defined on these samples."
    else:
        said = "positive" if low > 0 else "negative" if high < 0 else "inconclusive"
        text = f"{WORDS[pretrained][said]}: {who} {_better(metric, gap)} than {baseline}{_doubt(gap, p)}."
    return {"verdict": said, "gap": dict(gap), "compared_with": name, "mcnemar": p, "text": text}


def _over_probe(metric: str, gap: Gap, who: str, p: float | None) -> dict[str, Any] | None:
    """The gap to the linear probe, in numbers and words; None where it is not defined, or where there is none."""
    low, high = gap["low"], gap["high"]
    if low is None or high is None or not any(gap.values()):
        return None
    sure = low > 0 or high < 0
    text = f"Beside {NAMES['linear_probe']}, {who} is {_better(metric, gap)}{_doubt(gap, p)}"
    return {"gap": dict(gap), "mcnemar": p, "text": f"{text}." if sure else f"{text}, which may be chance."}


def _better(metric: str, gap: Gap) -> str:
    value = gap["value"] or 0.0
    return f"{abs(value):.3f} {'better' if value >= 0 else 'worse'} in {metric}"


def _doubt(gap: Gap, p: float | None) -> str:
    said = f" (95% interval of the gain {gap['low']:+.3f} to {gap['high']:+.3f}"
    return f"{said})" if p is None else f"{said}; McNemar's exact p = {p:.2g})"


def _gap(metric: Metric, labels: np.ndarray, ours: np.ndarray, baseline: np.ndarray) -> Gap:
    found = paired_difference(metric, labels, ours, baseline)
    if metric.higher_is_better or found.value is None or found.low is None or found.high is None:
        return found.as_json()
    return {"value": -found.value, "low": -found.high, "high": -found.low}


def _mcnemar(labels: np.ndarray, ours: np.ndarray, baseline: np.ndarray) -> float | None:
    """McNemar's exact p-value over the labelled samples; None where samples have no single class."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or ours.ndim != 2:
        return None
    known = labels >= 0
    a, b = (outputs.argmax(axis=1)[known] == labels[known] for outputs in (ours, baseline))
    return mcnemar(int((a & ~b).sum()), int((~a & b).sum()))
