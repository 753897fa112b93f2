"""Series out of arrays: shapes, gaps, lengths, what is refused, and the statistics that normalise them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.errors import ConfigError, DataError, HeadstartError
from headstart.data.dataset import Dataset
from headstart.data.load import load_data, load_inputs
from headstart.data.series import SeriesSource, channel_statistics
from headstart.data.split import SplitOptions, make_splits

N = 20
LABELS = ["a", "b"] * (N // 2)


def walks(n: int = N, t: int = 15, c: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, t, c)).astype(np.float32)


def load(x: Any, y: Any = LABELS, **options: Any) -> Dataset:
    return load_data((x, y), modality="sequence", **options)


def refused(x: Any, y: Any = LABELS, **options: Any) -> HeadstartError:
    with pytest.raises(HeadstartError) as caught:
        load(x, y, **options)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


def said(data: Any) -> str:
    return " ".join(note.text for note in data.notes.items)


# -- what is read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, list], ids=["array", "tensor", "list"])
def test_series_of_equal_length_come_back_as_they_are(kind: Any) -> None:
    x = walks()
    data = load(kind(x))
    assert (len(data), data.schema.modality, data.schema.channels) == (N, "sequence", 3)
    np.testing.assert_array_equal(data.read(7).inputs, x[7])
    assert data.read(7).inputs.dtype == np.float32
    assert data.labels().tolist() == [0, 1] * (N // 2)


def test_an_array_of_two_axes_is_one_channel() -> None:
    x = walks(c=1)[..., 0]
    data = load(x)
    assert data.schema.channels == 1
    np.testing.assert_array_equal(data.read(2).inputs, x[2][:, None])


@pytest.mark.parametrize("tensors", [False, True])
def test_series_of_unequal_length_keep_their_lengths(tensors: bool) -> None:
    x = [values[: 4 + i] for i, values in enumerate(walks(t=30))]
    data = load([torch.from_numpy(v) for v in x] if tensors else x)
    assert data.sizes[:, 0].tolist() == [4 + i for i in range(N)]
    np.testing.assert_array_equal(data.read(9).inputs, x[9])


def test_an_array_of_objects_holds_series_of_unequal_length() -> None:
    x = np.empty(N, dtype=object)
    for i in range(N):
        x[i] = walks(t=30)[i, : 4 + i]
    assert load(x).sizes[-1].tolist() == [23, 3]


def test_missing_values_stay_missing() -> None:
    x = walks()
    x[3, 2:5, 1] = np.nan
    read = load(x).read(3).inputs
    np.testing.assert_array_equal(np.isnan(read), np.isnan(x[3]))


def test_a_channel_may_be_missing_from_some_series() -> None:
    x = walks()
    x[3, :, 1] = np.nan
    assert len(load(x)) == N


@pytest.mark.parametrize("labels", [np.array(LABELS), torch.arange(N) % 2, np.eye(2)[np.arange(N) % 2]])
def test_labels_may_be_names_numbers_or_one_hot(labels: Any) -> None:
    data = load(walks(), labels)
    assert data.schema.task().kind == "single-label"
    assert data.labels().tolist() == [0, 1] * (N // 2)


def test_numbers_are_regression() -> None:
    assert load(walks(), np.linspace(0, 1, N)).schema.task().kind == "regression"


def test_copies_of_series_are_found_and_stay_on_one_side() -> None:
    x = walks(n=40)
    x[::4] = x[0]
    labels = ["a", "b"] * 20
    data = load(x, labels)
    parts = make_splits(data, SplitOptions(seed=0))
    copies = set(range(0, 40, 4))
    assert sum(bool(copies & set(np.asarray(rows).tolist())) for rows in (parts.train, parts.test)) == 1


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (20,), (20, 3, 4, 5)], ids=str)
def test_arrays_of_another_rank_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    error = refused(np.ones(shape))
    assert str(shape) in error.what
    assert "(N, T, C)" in error.hint


def test_a_series_of_another_rank_is_named() -> None:
    assert "Series 4 has the shape (2, 2, 2)" in refused([*walks()[:4], np.ones((2, 2, 2)), *walks()[5:]]).what


@pytest.mark.parametrize("odd", [["a", "b"], [[1, 2], [3]], [1j]], ids=["words", "ragged", "complex"])
def test_a_series_that_is_no_numbers_is_named(odd: Any) -> None:
    assert "Series 1 is no array of numbers" in refused([walks()[0], odd, *walks()[2:]]).what


def test_a_series_without_time_steps_is_named_and_left_out() -> None:
    data = load([walks()[0], np.zeros((0, 3)), *walks()[2:]])
    assert len(data) == N - 1
    assert "row 1: it has no time steps" in said(data)


def test_nothing_but_series_without_time_steps_is_refused() -> None:
    assert "it has no time steps" in refused([np.zeros((0, 3))] * N).what


def test_a_series_of_nothing_but_gaps_is_named_and_left_out() -> None:
    x = walks()
    x[2] = np.nan
    assert "row 2: all its values are missing" in said(load(x))


@pytest.mark.parametrize("value", [np.inf, 1e300])
def test_values_without_a_finite_float32_are_named(value: float) -> None:
    x = walks().astype(np.float64)
    x[5, 1, 0] = value
    data = load(x)
    assert "5" not in data.ids
    assert "row 5: it contains infinite values" in said(data)


def test_a_channel_without_any_value_is_refused_by_name() -> None:
    x = walks()
    x[:, :, 1] = np.nan
    assert "the channel '1' has no value" in refused(x).what


def test_series_of_different_channels_are_refused_with_both_counts() -> None:
    what = refused([*walks()[:6], walks()[6, :, :2], *walks()[7:]]).what
    assert "row 0 has 3, row 6 has 2" in what


@pytest.mark.parametrize("labels", [LABELS[1:], 3, np.ones((N, 2, 2))], ids=["short", "single", "cube"])
def test_labels_that_do_not_fit_are_refused(labels: Any) -> None:
    assert "abels" in refused(walks(), labels).what


def test_no_series_at_all_is_refused() -> None:
    assert "empty" in refused(walks()[:0], []).what


@pytest.mark.parametrize("option", ["group", "series", "window"])
def test_options_of_tables_are_refused_beside_arrays(option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        load(walks(), **{option: "5"})


@pytest.mark.parametrize("option", ["group", "label", "window", "split_by"])
def test_options_of_tables_are_refused_beside_files_of_series(option: str, tmp_path: Path) -> None:
    """A group that was asked for and not kept together would be a leak."""
    np.savez(tmp_path / "s.npz", x=walks(), y=LABELS)
    with pytest.raises(ConfigError, match=option):
        load_data(tmp_path / "s.npz", **{option: "5"})


# -- without labels ----------------------------------------------------------------------------------------------------


def test_arrays_to_predict_on_need_no_labels() -> None:
    x = walks()
    for given_ in (x, list(x), torch.from_numpy(x)):
        np.testing.assert_array_equal(load_inputs(given_, "sequence").read(1).inputs, x[1])


def test_nothing_readable_to_predict_on_is_refused() -> None:
    with pytest.raises(DataError, match="None of the 2 series"):
        load_inputs(np.full((2, 4, 1), np.inf), "sequence")


# -- normalisation -----------------------------------------------------------------------------------------------------


def statistics(series: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    labels = [i % 2 for i in range(len(series))]
    mean, std = channel_statistics(load(series, labels))
    return np.array(mean), np.array(std)


def test_statistics_are_numpys_over_all_steps_of_unequal_series_with_gaps() -> None:
    series = [(50 + 3 * v[: 5 + i]).astype(np.float32) for i, v in enumerate(walks(t=40))]
    for i, values in enumerate(series):
        values[i % 4, i % 3] = np.nan
    mean, std = statistics(series)
    steps = np.concatenate(series).astype(np.float64)
    np.testing.assert_allclose(mean, np.nanmean(steps, 0), rtol=1e-9)
    np.testing.assert_allclose(std, np.nanstd(steps, 0), rtol=1e-9)


@given(st.floats(-1e5, 1e5, width=32), st.floats(0.25, 1000, width=32))
def test_statistics_follow_shift_and_scale(shift: float, scale: float) -> None:
    x = walks(n=6).astype(np.float64)
    mean, std = statistics(list(x))
    moved_mean, moved_std = statistics(list((x * scale + shift).astype(np.float32)))
    # float32 keeps seven digits of the offset.
    room = 1e-6 * (abs(shift) + 10 * scale)
    np.testing.assert_allclose(moved_mean, mean * scale + shift, atol=room)
    np.testing.assert_allclose(moved_std, std * scale, atol=room)


def test_a_constant_channel_is_divided_by_one() -> None:
    x = walks()
    x[:, :, 2] = 1013.25
    _, std = statistics(list(x))
    assert std[2] == 1.0


def test_statistics_of_a_part_do_not_know_the_rest() -> None:
    x = walks()
    x[10:] += 100
    data = load(x)
    mean, _ = channel_statistics(data.subset(range(10)))
    assert np.abs(mean).max() < 1


def test_a_channel_that_a_part_never_recorded_is_left_as_it_is() -> None:
    x = walks()
    x[:10, :, 0] = np.nan
    mean, std = channel_statistics(load(x).subset(range(10)))
    assert (mean[0], std[0]) == (0.0, 1.0)


def test_a_series_that_is_read_is_the_one_in_memory() -> None:
    x = list(walks())
    assert np.shares_memory(SeriesSource(x).read(0), x[0])
