"""Long tables of series, and recordings cut into windows that leak neither over gaps nor between people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.errors import ConfigError, HeadstartError
from headstart.core.notes import Notes
from headstart.data.dataset import Dataset
from headstart.data.load import load_data, load_inputs
from headstart.data.series_windows import Piece, cut_windows, window_steps
from headstart.data.split import SplitOptions, make_splits

HZ = 50
STEPS = 200
WINDOWED: dict[str, Any] = {
    "series": "x,y",
    "id": "rec",
    "time": "t",
    "label": "activity",
    "window": "1s",
    "stride": "0.5s",
}


def recordings(count: int = 4, steps: int = STEPS) -> pd.DataFrame:
    """Recordings of `steps` rows at 50 Hz, half walking and half sitting; two of each person."""
    random = np.random.default_rng(0)
    parts = []
    for r in range(count):
        values = random.normal(size=(steps, 2))
        part = pd.DataFrame({"rec": f"r{r}", "t": np.arange(steps) / HZ, "x": values[:, 0], "y": values[:, 1]})
        part["activity"] = np.where(np.arange(steps) < steps // 2, "walk", "sit")
        part["person"] = f"p{r // 2}"
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def series(count: int = 12) -> pd.DataFrame:
    """Series of 3, 4, 5 ... rows with one label each."""
    rows = [(f"s{i}", k, i + k / 10, "ab"[i % 2]) for i in range(count) for k in range(3 + i)]
    return pd.DataFrame(rows, columns=["id", "k", "v", "label"])


def said(data: Dataset) -> str:
    return " ".join(note.text for note in data.notes.items)


def refused(source: Any, **options: Any) -> HeadstartError:
    with pytest.raises(HeadstartError) as caught:
        load_data(source, **options)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


# -- a series per id ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl", "frame", "datasets"])
def test_rows_of_one_id_are_one_series(tmp_path: Path, suffix: str) -> None:
    table = series().sample(frac=1, random_state=0).sort_values("k")
    source: Any = table
    if suffix == "datasets":
        source = datasets.Dataset.from_pandas(table, preserve_index=False)
    elif suffix.startswith("."):
        source = tmp_path / f"t{suffix}"
        write: dict[str, Any] = {
            ".csv": lambda: table.to_csv(source, index=False),
            ".parquet": lambda: table.to_parquet(source, index=False),
            ".jsonl": lambda: table.to_json(source, orient="records", lines=True),
        }
        write[suffix]()
    data = load_data(source, series="v", id="id", time="k", label="label")
    assert sorted(data.ids) == sorted(f"s{i}" for i in range(12))
    at = data.ids.index("s4")
    np.testing.assert_allclose(data.read(at).inputs[:, 0], [4.0, 4.1, 4.2, 4.3, 4.4, 4.5, 4.6], rtol=1e-6)
    assert data.schema.task().classes[data.labels()[at]] == "a"
    assert data.schema.reading == {"id": "id", "time": "k"}


def test_channels_and_label_are_guessed_and_said() -> None:
    data = load_data(series(), id="id", time="k")
    assert data.schema.inputs == ("v",)
    assert "Channels of the series: v" in said(data)
    assert "Labels are taken from the column 'label'" in said(data)


def test_empty_cells_are_missing_values(tmp_path: Path) -> None:
    table = series()
    table.loc[[1, 5], "v"] = np.nan
    table.to_csv(tmp_path / "t.csv", index=False)
    data = load_data(tmp_path / "t.csv", id="id", time="k")
    assert np.isnan(data.read(0).inputs[:, 0]).tolist() == [False, True, False]


def test_a_dictionary_of_tables_gives_parts() -> None:
    parts = {"train": series(), "test": series(4)}
    data = load_data(parts, series="v", id="id", time="k", label="label")
    assert {name: len(rows) for name, rows in data.given_parts.items()} == {"train": 12, "test": 4}


def test_a_test_table_given_apart_leaves_the_way_of_reading() -> None:
    data = load_data(series(), series="v", id="id", time="k", label="label", test=series(4))
    assert data.schema.reading == {"id": "id", "time": "k"}
    assert len(data.part("test")) == 4


def test_a_group_keeps_series_together() -> None:
    table = series(40)
    table["farm"] = table["id"].str[-1]
    data = load_data(table, series="v", id="id", label="label", group="farm")
    parts = make_splits(data, SplitOptions(seed=0))
    assert data.groups is not None
    assert not set(data.groups[parts.test]) & set(data.groups[parts.train])


@pytest.mark.parametrize("column", ["label", "farm"])
def test_a_label_or_group_that_differs_within_a_series_is_refused(column: str) -> None:
    table = series().assign(farm="f")
    table.loc[4, column] = "other"
    what = refused(table, series="v", id="id", label="label", group="farm").what
    assert "'s1'" in what
    assert f"several values of '{column}'" in what


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["seconds", "dates", "timestamps", "durations"])
def test_times_may_be_seconds_dates_or_durations(kind: str) -> None:
    table = recordings()
    if kind == "durations":
        table["t"] = pd.to_timedelta(table["t"], unit="s")
    elif kind != "seconds":
        stamps = pd.to_datetime(table["t"] + 1.7e9, unit="s")
        table["t"] = stamps if kind == "timestamps" else stamps.astype(str)
    data = load_data(table, **WINDOWED)
    assert data.schema.period == pytest.approx(1 / HZ, rel=1e-4)
    assert set(data.sizes[:, 0]) == {HZ}


@pytest.mark.parametrize(("time", "reason"), [(0.0, "lies before"), (249 % STEPS / HZ, "repeats")])
def test_time_that_does_not_grow_is_refused_with_its_row(time: float, reason: str) -> None:
    table = recordings()
    table.loc[250, "t"] = time
    what = refused(table, **WINDOWED).what
    assert "row 250: the time of rec 'r1'" in what
    assert reason in what


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "row 250: there is no time"), ("soon", "cannot be read")])
def test_a_row_without_a_time_is_refused(value: Any, reason: str) -> None:
    table = recordings().astype({"t": object})
    table.loc[250, "t"] = value
    assert reason in refused(table, **WINDOWED).what


def test_clocks_that_start_again_ask_for_the_id() -> None:
    error = refused(recordings(), **{**WINDOWED, "id": None})
    assert "row 200" in error.what
    assert "--id" in error.hint


# -- windows -----------------------------------------------------------------------------------------------------------


def test_recordings_are_cut_by_window_and_stride() -> None:
    table = recordings()
    data = load_data(table, **WINDOWED)
    each = (STEPS - HZ) // (HZ // 2) + 1
    assert len(data) == 4 * each
    values = table.loc[table["rec"] == "r1", ["x", "y"]].to_numpy(np.float32)
    np.testing.assert_array_equal(data.read(data.ids.index("r1@2")).inputs, values[HZ : 2 * HZ])


def test_windows_may_be_given_in_steps_without_times() -> None:
    data = load_data(recordings(), **{**WINDOWED, "time": None, "window": "40", "stride": None, "series": "x"})
    assert (len(data), data.sizes[0].tolist()) == (20, [40, 1])


def test_a_window_has_the_label_of_most_of_its_rows() -> None:
    data = load_data(recordings(1), **WINDOWED)
    labels = [data.schema.task().classes[k] for k in data.labels()]
    # Walking ends after 100 rows: windows start at 0, 25, 50, 75 (half of each, the later one counts), 100 ...
    assert labels[:7] == ["walk", "walk", "walk", "sit", "sit", "sit", "sit"]


def test_no_window_reaches_over_a_gap_in_time() -> None:
    table = recordings(2)
    table.loc[table.index[60:200], "t"] += 10
    data = load_data(table, **{**WINDOWED, "stride": "0.1s"})
    starts = table.loc[table["rec"] == "r0", "x"].to_numpy(np.float32)
    after = {float(v) for v in starts[60:]}
    for i in [k for k, name in enumerate(data.ids) if name.startswith("r0@")]:
        assert len({float(v) in after for v in data.read(i).inputs[:, 0]}) == 1


def test_what_fills_no_window_is_counted() -> None:
    data = load_data(recordings(2, 120), **{**WINDOWED, "stride": None})
    assert len(data) == 4
    assert "40 of 240 time steps fill no whole window of 50 steps" in said(data)


def test_rows_that_a_long_stride_skips_are_not_said_to_be_lost() -> None:
    data = load_data(recordings(2), **{**WINDOWED, "stride": "2s"})
    assert len(data) == 4
    assert "fill no whole window" not in said(data)


def test_windows_of_one_recording_stay_on_one_side() -> None:
    data = load_data(recordings(10), **WINDOWED)
    parts = make_splits(data, SplitOptions(seed=0))
    names = np.array([name.split("@")[0] for name in data.ids])
    assert len(parts.test)
    assert not set(names[parts.test]) & set(names[parts.train])
    assert "stay on one side" in said(data)


def test_windows_of_one_person_stay_on_one_side_where_the_group_says_so() -> None:
    data = load_data(recordings(12), **WINDOWED, group="person")
    parts = make_splits(data, SplitOptions(seed=0))
    people = np.array([int(name.split("@")[0][1:]) // 2 for name in data.ids])
    assert len(parts.test)
    assert not set(people[parts.test]) & set(people[parts.train])


def test_people_are_recordings_of_their_own_where_no_id_is_named() -> None:
    """Each with a clock that starts at 0, as in the command that the docs show."""
    table = recordings(8)
    table["person"] = table["rec"]
    data = load_data(table.drop(columns="rec"), **{**WINDOWED, "id": None}, group="person")
    assert len(data) == 8 * 7
    assert data.groups is not None
    assert sorted(set(data.groups)) == [f"r{i}" for i in range(8)]


def test_no_window_holds_rows_of_two_people() -> None:
    table = recordings(2).assign(rec="one", t=np.arange(2 * STEPS) / HZ)
    table["person"] = np.where(np.arange(2 * STEPS) < 130, "ann", "bob")
    data = load_data(table, **{**WINDOWED, "stride": "0.1s"}, group="person")
    of = dict(zip(table["x"].astype(np.float32), table["person"], strict=True))
    for i in range(len(data)):
        assert len({of[v] for v in data.read(i).inputs[:, 0]}) == 1


def test_one_recording_alone_is_warned_of() -> None:
    data = load_data(recordings(1), **WINDOWED)
    warned = [note.text for note in data.notes.items if note.level == "warning"]
    assert any("flatters" in text for text in warned)


def test_a_test_recording_given_apart_leaves_the_others_together() -> None:
    data = load_data(recordings(8), **WINDOWED, test=recordings(1).assign(rec="new"))
    assert "flatters" not in said(data)
    parts = make_splits(data, SplitOptions(seed=0))
    names = np.array([name.split("@")[0] for name in data.ids])
    assert set(names[parts.test]) == {"test:new"}
    assert parts.folds
    for fitted, held in parts.folds:
        assert not set(names[fitted]) & set(names[held])


def test_windows_are_views_of_the_recording() -> None:
    data = load_data(recordings(1), **WINDOWED)
    one, other = data.read(0).inputs, data.read(1).inputs
    assert np.shares_memory(one[HZ // 2 :], other[: HZ // 2])


@given(st.integers(1, 60), st.integers(1, 25), st.integers(1, 30))
def test_windows_are_every_one_that_fits(steps: int, length: int, stride: int) -> None:
    values = np.arange(steps, dtype=np.float32)[:, None]
    piece = Piece("r", values, None, [values[:, 0].astype(object)], None)
    made = cut_windows([piece], str(length), str(stride), None, Notes())
    found = [window.values[:, 0].tolist() for _, window in made]
    assert found == [list(range(a, a + length)) for a in range(0, steps - length + 1, stride)]
    assert [name for name, _ in made] == [f"r@{i}" for i in range(len(made))]


@pytest.mark.parametrize(
    ("text", "steps"), [("2s", 100), ("500 ms", 25), ("1min", 3000), ("0.1h", 18000), ("128", 128), (" 2S ", 100)]
)
def test_lengths_of_time_become_steps(text: str, steps: int) -> None:
    assert window_steps(text, 0.02, "--window") == steps


@pytest.mark.parametrize("text", ["", "two", "2 fortnights", "-3", "2.5", "0", "0s", "1ms", "nan"])
def test_lengths_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--window"):
        window_steps(text, 0.02, "--window")


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"time": None}, "no column of times"),
        ({"window": None}, "there is no window"),
        ({"window": None, "stride": None, "id": None}, "Which rows"),
        ({"window": "10s"}, "shorter than the window"),
        ({"series": "x,z"}, "no column 'z'"),
        ({"id": "recc"}, "no column 'recc'"),
        ({"series": "x,person"}, "row 0: 'person' is 'p0', not a number"),
        ({"split_by": "t"}, "not split by time"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], reason: str) -> None:
    assert reason in refused(recordings(), **{**WINDOWED, **options}).what


def test_a_word_among_numbers_is_refused_with_its_row() -> None:
    table = recordings().astype({"y": object})
    table.loc[123, "y"] = "oops"
    assert "row 123: 'y' is 'oops'" in refused(table, **WINDOWED).what


@pytest.mark.parametrize("value", [None, np.nan, " "])
def test_a_row_without_an_id_is_refused(value: Any) -> None:
    table = recordings()
    table.loc[123, "rec"] = value
    assert "row 123: there is no value in 'rec'" in refused(table, **WINDOWED).what


def test_a_channel_without_values_is_refused_by_name() -> None:
    assert "the channel 'y' has no value" in refused(recordings().assign(y=np.nan), **WINDOWED).what


def test_an_empty_table_is_refused() -> None:
    assert "empty" in refused(recordings()[:0], **WINDOWED).what


# -- without labels ----------------------------------------------------------------------------------------------------


def test_a_table_to_predict_on_is_cut_as_the_training_data_were() -> None:
    learned = load_data(recordings(), **WINDOWED)
    new = recordings(2).drop(columns=["activity", "person"])
    data = load_inputs(new, "sequence", learned.schema.inputs, learned.schema.reading)
    assert data.ids == [name for name in learned.ids if name[:2] in ("r0", "r1")]
    np.testing.assert_array_equal(data.read(5).inputs, learned.read(5).inputs)


def test_a_new_recording_needs_no_column_of_people() -> None:
    table = recordings(8).assign(person=lambda t: t["rec"]).drop(columns="rec")
    learned = load_data(table, **{**WINDOWED, "id": None}, group="person")
    again = load_inputs(table, "sequence", learned.schema.inputs, learned.schema.reading)
    alone = load_inputs(table[["t", "x", "y"]][:STEPS], "sequence", learned.schema.inputs, learned.schema.reading)
    assert (len(again), len(alone)) == (len(learned), 7)


def test_an_id_that_series_were_told_apart_by_is_needed_again() -> None:
    learned = load_data(series(), series="v", id="id", time="k", label="label")
    with pytest.raises(HeadstartError, match="no column 'id'"):
        load_inputs(series().drop(columns="id"), "sequence", learned.schema.inputs, learned.schema.reading)


def test_a_column_without_values_is_left_out_and_named() -> None:
    data = load_data(series().assign(broken=np.nan), id="id", time="k")
    assert data.schema.inputs == ("v",)
    assert "Columns without a value in their first rows are left out: broken." in said(data)


def test_channels_of_a_test_table_stand_in_the_order_of_training(tmp_path: Path) -> None:
    """Channels that were guessed follow the columns: other orders would be read as other channels."""
    given = {name: WINDOWED[name] for name in ("id", "time", "label", "window", "stride")}
    train = recordings(4)[["rec", "t", "x", "y", "activity"]]
    held = recordings(1).assign(rec="new")[["rec", "t", "y", "x", "activity"]]
    data = load_data(train, **given, test=held)
    assert data.schema.inputs == ("x", "y")
    np.testing.assert_allclose(data.part("test").read(0).inputs, held[["x", "y"]][:HZ], rtol=1e-6)
    error = refused({"train": train, "test": held}, **given)
    assert "in y, x, the training data in x, y" in error.what
    assert "no column 'y'" in refused(train, **given, test=held.drop(columns="y")).what


def test_lengths_may_be_numbers_of_steps() -> None:
    given = {**WINDOWED, "window": HZ, "stride": HZ // 2}
    assert load_data(recordings(), **given).ids == load_data(recordings(), **WINDOWED).ids
