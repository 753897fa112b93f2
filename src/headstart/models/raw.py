"""Features that no network makes, as backbones: a linear model on them is a model like any other.

Pixels of pictures and summary statistics of series are here, counted words in `raw_words`. They are what cheap
baselines read, what a fit falls back on where transfer hurts, and what a network's answers are blended with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import nn

from headstart.data.schema import Sample
from headstart.models.backbone import InputSpec, Provenance, StagedBackbone, State
from headstart.models.pictures import square

FAMILY = "linear"
"""Of backbones without a network: nothing in them can be fine-tuned."""

SIDES = {1: 28, 3: 16}
"""Channels -> side in pixels that raw pictures are shrunk to."""

_BATCH = 256


class AsTheyAre(nn.Module):
    """The only stage of features that nothing is computed of."""

    def forward(self, s: State) -> State:
        return s


def provenance_of(architecture: str, **arguments: object) -> Provenance:
    """Where features without a network come from."""
    return Provenance(
        reference=architecture,
        architecture=architecture,
        library="headstart",
        source="no network",
        licence="yours",
        arguments=arguments,
        notes=("A linear model without a network.",),
    )


class RawPixels(StagedBackbone):
    """(B, side² · channels) pixels in [0, 1] of the centre square, 28 px for grey pictures and 16 px for colour.

    Made for grey pictures it takes colour ones by their brightness, made for colour ones it repeats grey: it answers
    beside networks that take both.
    """

    def __init__(self, channels: int) -> None:
        super().__init__({"pixels": AsTheyAre()}, FAMILY, cuts=())
        side = SIDES.get(channels, 16)
        none, one = (0.0,) * channels, (1.0,) * channels
        self.input_spec = InputSpec("image", channels, side, side, True, none, one)
        self.provenance = provenance_of("raw-pixels")

    def settle(self, sample: Sample) -> Sample:
        return replace(sample, inputs=square(sample.inputs, self.input_spec.size))

    def preprocess(self, sample: Sample, view: str, seed: int) -> State:
        picture = sample.inputs
        if picture.shape[2] == 1 < self.input_spec.channels:
            picture = np.repeat(picture, self.input_spec.channels, axis=2)
        elif picture.shape[2] == 3 and self.input_spec.channels == 1:
            picture = grey_of(picture)
        flat = picture.reshape(-1).astype(np.float32) / (255 if picture.dtype == np.uint8 else 1)
        return {"x": torch.from_numpy(flat)}

    def batch_size(self) -> int:
        return _BATCH


def grey_of(picture: np.ndarray) -> np.ndarray:
    """(H, W, 1) of an RGB picture (H, W, 3), in its type, weighed as Pillow does (ITU-R 601).

    >>> grey_of(np.array([[[200, 200, 200], [255, 0, 0]]], np.uint8)).tolist()
    [[[200], [76]]]
    """
    if picture.dtype == np.uint8:
        return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).convert("L"))[..., None]
    return (picture @ np.array([0.299, 0.587, 0.114], picture.dtype))[..., None]


class RawSummary(StagedBackbone):
    """(B, 4C): mean, deviation, least and largest value of each channel of a series.

    Parameters
    ----------
    mean, std
        What channels are standardised by, so that each counts whatever its unit; as they are if not given.
    """

    def __init__(self, channels: int, mean: Sequence[float] = (), std: Sequence[float] = ()) -> None:
        super().__init__({"summary": AsTheyAre()}, FAMILY, cuts=())
        none, one = tuple(mean) or (0.0,) * channels, tuple(std) or (1.0,) * channels
        self.input_spec = InputSpec("sequence", channels, 0, 0, True, none, one)
        self.provenance = provenance_of("raw-summary")

    def preprocess(self, sample: Sample, view: str, seed: int) -> State:
        series = (sample.inputs.astype(np.float64) - self.input_spec.mean) / self.input_spec.std
        return {"x": torch.from_numpy(summary(series).astype(np.float32))}

    def batch_size(self) -> int:
        return _BATCH


def summary(series: np.ndarray) -> np.ndarray:
    """Mean, deviation, least and largest value of each channel, missing values left out.

    Parameters
    ----------
    series
        (T, C).

    Returns
    -------
    np.ndarray
        (4C,): all means, then all deviations, minima, maxima; 0 for a channel without values.

    >>> summary(np.array([[1.0, 5.0], [3.0, np.nan]])).tolist()
    [2.0, 5.0, 1.0, 0.0, 1.0, 5.0, 3.0, 5.0]
    """
    known = ~np.isnan(series)
    count = np.maximum(known.sum(0), 1)
    filled = np.where(known, series, 0.0)
    mean = filled.sum(0) / count
    deviation = np.sqrt((np.where(known, series - mean, 0.0) ** 2).sum(0) / count)
    low = np.where(known.any(0), np.where(known, series, np.inf).min(0), 0.0)
    high = np.where(known.any(0), np.where(known, series, -np.inf).max(0), 0.0)
    return np.concatenate([mean, deviation, low, high])
