"""Time series in a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.data import Dataset
from headstart.models.backbone import Backbone
from headstart.models.raw import RawSummary
from headstart.verbs.modalities.base import Modality, RawBaseline, raw_probe

if TYPE_CHECKING:
    from headstart.verbs.job import Job

_POINTS = 200


class Series(Modality):
    """No size to choose, summary statistics as the baseline, curves in the report."""

    name = "sequence"
    default_model = "scratch:gru"
    offline_models = ("scratch:gru", "scratch:lstm", "scratch:inception-time")
    unit = ""
    raw_title = "{model}, mean/std/min/max per channel"
    raw_words = "a linear model on mean, deviation, least and largest value of each channel"
    foreign = frozenset(
        {"image", "image_size", "augment", "mixup", "cutmix", "text", "max_length", "long", "vocabulary"}
    )

    def sizes(self, job: Job, backbone: Backbone) -> list[int]:
        return [backbone.input_spec.size]

    def raw_baseline(self, job: Job) -> RawBaseline:
        return raw_probe(job, RawSummary(job.dataset.schema.channels or 1, *job.channel_statistics))

    def facets(self, data: Dataset, most: int) -> dict[str, np.ndarray]:
        gaps = np.full(len(data), np.nan)
        for i in range(min(most, len(data))):
            gaps[i] = np.isnan(data.read(i).inputs).mean()
        return {"time steps": np.asarray(data.sizes)[:, 0], "share missing": gaps}

    def shown(self, job: Job, data: Dataset, i: int) -> dict[str, Any]:
        values = data.read(i).inputs
        every = max(1, -(-len(values) // _POINTS))
        thin = values[::every].T
        period = data.schema.period
        return {
            "series": {
                "values": [[None if np.isnan(v) else float(v) for v in rounded(channel)] for channel in thin],
                "channels": list(data.schema.inputs) or [str(c) for c in range(len(thin))],
                "period": None if period is None else period * every,
            }
        }

    def weighed(self, job: Job, data: Dataset, i: int, backbone: Backbone, values: np.ndarray) -> dict[str, Any]:
        every = max(1, -(-len(values) // _POINTS))
        summed = [np.abs(values[k : k + every]).sum(0) for k in range(0, len(values), every)]
        return {**self.shown(job, data, i), "values": rounded(np.stack(summed).T).tolist()}

    def lengths(self, job: Job, backbone: Backbone) -> dict[str, Any] | None:
        counts = np.asarray(job.parts["train"].sizes)[:, 0]
        if len(np.unique(counts)) < 2:
            return None
        histogram, edges = np.histogram(counts, bins=min(40, int(np.ptp(counts)) + 1))
        return {
            "unit": "time steps",
            "edges": [round(float(e), 1) for e in edges],
            "counts": histogram.tolist(),
            "limit": None,
            "truncated": 0,
            "lost_share": 0.0,
            "long": "truncate",
        }


def rounded(values: np.ndarray) -> np.ndarray:
    """Values to a ten-thousandth of their range, whatever their unit: a curve shows no more, and a page is to be small.

    >>> rounded(np.array([0.0, 1.23456e-9, 2e-9])).tolist(), rounded(np.array([100000.0, 100001.234567])).tolist()
    ([0.0, 1.2346e-09, 2e-09], [100000.0, 100001.2346])
    """
    known = values[np.isfinite(values)]
    span = float(np.ptp(known)) if len(known) else 0.0
    if not span:
        return values
    return np.round(values.astype(np.float64), 4 - int(np.floor(np.log10(span))))
