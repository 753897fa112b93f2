"""The scale of pictures of floating point: one for all that are given together, and kept for what comes later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import headstart as hs
from headstart.core.errors import ConfigError, DataError
from headstart.data.joint import join_datasets
from headstart.data.load import load_data, load_inputs

Y = np.arange(12) % 2


def pictures(low: float, high: float, shape: tuple[int, ...] = (12, 5, 6, 3)) -> np.ndarray:
    x = np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)
    x.reshape(-1)[:2] = low, high
    x[1] = x[1] * 0.1
    return x


def as_array(x: np.ndarray) -> Any:
    return x


def as_list(x: np.ndarray) -> Any:
    return list(x)


def as_frame(x: np.ndarray) -> Any:
    return pd.DataFrame({"picture": list(x), "y": Y[: len(x)]})


def as_items(x: np.ndarray) -> Any:
    return torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(Y[: len(x)]))


KINDS = [as_array, as_list, as_frame, as_items]
RANGES = [((-2.0, 3.0), (-2.0, 3.0)), ((0.0, 1.0), (0.0, 1.0)), ((0.0, 200.0), (0, 255)), ((0.0, 4095.0), (0, 65535))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("values", "scale"), RANGES)
def test_pictures_have_one_scale_which_new_ones_are_read_on(kind: Any, values: Any, scale: Any) -> None:
    x = pictures(*values)
    expected = (x - scale[0]) / (scale[1] - scale[0])
    given = kind(x)
    data = load_data((given, Y) if kind in (as_array, as_list) else given)
    assert data.schema.reading == {"scale": f"{float(scale[0])},{float(scale[1])}"}
    # The second is so dark that alone it would be on another scale.
    for row in range(12):
        np.testing.assert_allclose(data.read(row).inputs, expected[row], atol=1e-6)
    new = load_inputs(kind(x[1:2]), "image", data.schema.inputs, data.schema.reading)
    np.testing.assert_allclose(new.read(0).inputs, expected[1], atol=1e-6)
    assert new.content_hashes == data.subset([1]).content_hashes
    assert new.schema.reading == data.schema.reading


def test_parts_that_are_given_apart_are_on_the_scale_of_the_training_data() -> None:
    x = pictures(-2, 3)
    data = load_data((x, Y), test=(x[[1, 1]] * 2, [0, 1]), valid=(4 * x[:2], [0, 1]))
    assert data.schema.reading == {"scale": "-2.0,3.0"}
    np.testing.assert_allclose(data.part("test").read(0).inputs, (x[1] * 2 + 2) / 5, atol=1e-6)
    np.testing.assert_allclose(data.part("validation").read(0).inputs, (4 * x[0] + 2) / 5, atol=1e-6)


def test_a_scale_may_be_said() -> None:
    x = pictures(0, 0.9)
    for scale in ((0, 255), "0,255"):
        np.testing.assert_allclose(load_data((x, Y), scale=scale).read(3).inputs, x[3] / 255, rtol=1e-5)
    wrong: list[Any] = ["wide", 255, (255,), (0, 1, 2), (255, 0), "1,1", np.array([0, np.nan])]
    for scale in wrong:
        with pytest.raises(ConfigError, match="scale cannot be"):
            load_data((x, Y), scale=scale)


def test_pictures_that_can_only_be_on_another_scale_are_refused() -> None:
    learned = load_data((pictures(0, 1), Y))
    for kind in KINDS:
        with pytest.raises(DataError, match="reach from 0 to 255, on a scale of 0 to 1"):
            load_inputs(kind(pictures(0, 255)[:1]), "image", (), learned.schema.reading)
    other = load_data((pictures(-2, 3), Y))
    with pytest.raises(DataError, match=r"on the scale -2\.0,3\.0; those that the model learned from, on 0\.0,1\.0"):
        load_inputs(other, "image", (), learned.schema.reading)
    assert load_inputs(other).schema.reading == other.schema.reading


def test_bytes_have_no_scale() -> None:
    data = load_data((np.zeros((12, 5, 6), np.uint8), Y))
    assert data.schema.reading == {}
    kept = load_inputs(np.full((1, 5, 6), 9, np.uint8), "image", (), {"scale": "0.0,1.0"})
    assert kept.read(0).inputs.max() == 9


def test_a_picture_with_a_gap_has_no_say_in_the_scale() -> None:
    x = pictures(0, 1)
    x[3, 0, 0] = np.nan, 900, 0
    for given in (x, list(x)):
        data = load_data((given, Y))
        assert len(data) == 11
        assert data.schema.reading == {"scale": "0.0,1.0"}


def test_joined_data_keep_a_scale_that_is_that_of_all() -> None:
    one, same, other = (load_data((pictures(*span), Y)) for span in ((0, 1), (0, 0.5), (-1, 1)))
    assert join_datasets({"a": one, "b": same}).schema.reading == {"scale": "0.0,1.0"}
    assert join_datasets({"a": one, "b": other}).schema.reading == {}


def test_a_model_reads_a_part_as_it_reads_the_whole(tmp_path: Path) -> None:
    x = pictures(-2, 3, (60, 3, 32, 32))
    x *= np.linspace(0.1, 1, 60, dtype=np.float32)[:, None, None, None]
    y = np.linspace(0.1, 1, 60)
    options = {"model": "scratch:timm:test_resnet", "image_size": 32, "stage": "last", "strategy": "probe"}
    run = hs.fit((x, y), **options, out=tmp_path / "run")
    whole = np.array([row["predicted"] for row in run.predict(x)])
    assert np.ptp(whole) > 0.1
    for rows in (slice(0, 5), slice(1, 2)):
        for part in (x[rows], list(x[rows])):
            assert [row["predicted"] for row in run.predict(part)] == pytest.approx(whole[rows].tolist(), abs=1e-4)
    found = run.evaluate((x[:5], y[:5]))["metrics"]["mae"]["value"]
    assert found == pytest.approx(np.abs(whole[:5] - y[:5]).mean(), abs=1e-4)
    assert run.evaluate(load_data((x, y)))["n"] == 60


def test_pictures_that_are_nearly_black_on_the_scale_of_the_model_are_remarked() -> None:
    reading = {"scale": "0.0,255.0"}
    dark = load_inputs(np.full((3, 8, 8), 0.9, np.float32), "image", (), reading)
    assert "nearly black" in " ".join(note.text for note in dark.notes.items)
    assert not load_inputs(np.full((3, 8, 8), 90.0, np.float32), "image", (), reading).notes.items
    said = load_data((pictures(0, 1), Y), scale=(0, 255)).notes.items
    assert "nearly black" in " ".join(note.text for note in said)


def test_a_part_on_a_smaller_scale_is_refused() -> None:
    """It would be read as nearly black, and its metrics mean nothing."""
    with pytest.raises(DataError, match="parts of the data are on different scales"):
        load_data((pictures(0, 255), Y), test=(pictures(0, 1), Y))
    black = load_data((pictures(0, 255), Y), test=(np.zeros((2, 5, 6, 3), np.float32), [0, 1]))
    assert "nearly black" in " ".join(note.text for note in black.notes.items), "two may be black by chance"
    dark = load_data((pictures(0, 0.015), Y))
    assert len(dark) == 12, "where all are dark, there is nothing that they could be compared with"
    # What was read by itself is on 0 to 1 whatever it was on before: a model of either takes the other.
    small, large = (load_data((pictures(0, top), Y)) for top in (1, 255))
    assert load_inputs(small, "image", (), large.schema.reading).read(3).inputs.max() > 0.5


def test_values_that_fill_no_usual_scale_are_on_their_own() -> None:
    data = load_data((pictures(0, 3), Y))
    assert data.schema.reading == {"scale": "0.0,3.0"}


def test_a_bad_first_cell_of_a_column_on_disk_has_no_say() -> None:
    import datasets

    x = pictures(0, 255)
    x[0] = np.nan
    data = load_data(datasets.Dataset.from_dict({"image": x.tolist(), "label": Y.tolist()}), image="image")
    assert data.schema.reading == {"scale": "0.0,255.0"}
    assert len(data) == 11


def test_parts_of_items_on_another_scale_are_named_before_anything_is_read() -> None:
    """Facts were taken before the scale was known."""

    def items(top: float) -> list[tuple[np.ndarray, str]]:
        return [(np.full((8, 8), top, np.float32) * (i % 3 + 1) / 3, "ab"[i % 2]) for i in range(6)]

    with pytest.raises(DataError, match="on a scale of 0 to 1"):
        load_data(items(1.0), test=items(255.0))
