"""Summary statistics of series: numpy's, with gaps left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

import headstart as hs
from headstart.data.load import load_data
from headstart.data.schema import Sample
from headstart.models.raw import RawPixels, RawSummary, summary
from headstart.verbs.modalities.base import features_of


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.floats(-1e3, 1e3)))
def test_without_gaps_it_is_numpy(series: np.ndarray) -> None:
    expected = np.concatenate([series.mean(0), series.std(0), series.min(0), series.max(0)])
    np.testing.assert_allclose(summary(series), expected, atol=1e-9)


def test_gaps_are_left_out() -> None:
    series = np.random.default_rng(0).normal(5, 2, (30, 4))
    series[np.random.default_rng(1).random(series.shape) < 0.4] = np.nan
    parts = [f(series, axis=0) for f in (np.nanmean, np.nanstd, np.nanmin, np.nanmax)]
    np.testing.assert_allclose(summary(series), np.concatenate(parts))


def test_a_channel_without_values_is_zero() -> None:
    series = np.column_stack([np.arange(4.0), np.full(4, np.nan)])
    assert summary(series)[1::2].tolist() == [0, 0, 0, 0]


def test_order_in_time_does_not_matter() -> None:
    series = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_allclose(summary(series), summary(series[::-1]))


@pytest.mark.parametrize("channels", [1, 6])
def test_a_data_set_of_unequal_series_gives_one_table(channels: int) -> None:
    random = np.random.default_rng(0)
    series = [random.normal(size=(3 + i, channels)).astype(np.float32) for i in range(10)]
    data = load_data((series, ["a", "b"] * 5), modality="sequence")
    table = features_of(RawSummary(channels), data)
    assert table.shape == (10, 4 * channels)
    np.testing.assert_allclose(table[7].numpy(), summary(series[7]), rtol=1e-6)


@pytest.mark.parametrize("floating", [False, True])
def test_grey_pixels_of_colour_are_its_brightness(floating: bool) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 50, 1), dtype=np.uint8)
    grey = grey.astype(np.float32) / 255 if floating else grey
    backbone = RawPixels(1)

    def pixels(picture: np.ndarray) -> np.ndarray:
        return backbone.preprocess(backbone.settle(Sample("0", picture)), "plain", 0)["x"].numpy()

    assert pixels(grey).shape == (28 * 28,)
    np.testing.assert_allclose(pixels(np.repeat(grey, 3, axis=2)), pixels(grey), atol=1e-6)
    colour = np.random.default_rng(1).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(colour).convert("L"), np.float32).ravel() / 255
    given = colour.astype(np.float32) / 255 if floating else colour
    np.testing.assert_allclose(pixels(given), expected, atol=1.1 / 255)


def test_a_channel_counts_whatever_its_unit(tmp_path: Path) -> None:
    """Only the tiny channel tells the classes apart: currents in ampere beside pressures in pascal."""
    r = np.random.default_rng(0)
    y = np.arange(80) % 2
    tiny = 1e-12 * (r.normal(size=(80, 12)) + 2 * y[:, None])
    series = np.stack([1e5 + 1e3 * r.normal(size=(80, 12)), tiny], axis=2)
    options: dict[str, Any] = {"model": "scratch:gru", "arch": "layers=1,width=8", "epochs": 1, "strategy": "probe"}
    run = hs.fit(load_data((series, y), modality="sequence"), **options, guard="off", out=tmp_path / "run")
    assert run.data["baselines"]["raw_features"]["test"]["accuracy"]["value"] > 0.9
    assert run.metrics["test"]["accuracy"]["value"] > 0.8
