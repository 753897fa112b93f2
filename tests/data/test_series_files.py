"""Files of series: `.ts` line by line, `.npz`, and the samples of the UEA and UCR archives."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.core.errors import HeadstartError
from headstart.data.dataset import Dataset
from headstart.data.load import load_data, load_inputs
from headstart.data.samples import list_samples
from headstart.data.split import SplitOptions, make_splits

HEADER = """# made by hand
@problemName demo
@timestamps false
@univariate false
@dimensions 2
@equalLength false
@classLabel true a b
@data
"""
GOOD = "1,2,3:4,5,6:a\n7,?:8,NaN:b\n" * 6
LINE = HEADER.count("\n") + GOOD.count("\n") + 1
"""Where a line stands that follows them."""


def ts(folder: Path, text: str, name: str = "demo.ts", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def said(data: Dataset) -> str:
    return " ".join(note.text for note in data.notes.items)


def refused(path: Path) -> HeadstartError:
    with pytest.raises(HeadstartError) as caught:
        load_data(path)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    assert path.name in caught.value.what
    return caught.value


# -- .ts ---------------------------------------------------------------------------------------------------------------


def test_ts_gives_series_gaps_and_labels(tmp_path: Path) -> None:
    data = load_data(ts(tmp_path, HEADER + GOOD))
    assert (len(data), data.schema.modality, data.schema.channels) == (12, "sequence", 2)
    np.testing.assert_array_equal(data.read(0).inputs, np.array([[1, 4], [2, 5], [3, 6]], np.float32))
    np.testing.assert_array_equal(data.read(1).inputs, np.array([[7, 8], [np.nan, np.nan]], np.float32))
    assert data.schema.task().classes == ("a", "b")
    assert data.labels().tolist() == [0, 1] * 6


def test_ts_may_be_written_in_capitals_with_a_mark_and_windows_line_ends(tmp_path: Path) -> None:
    text = "\ufeff" + (HEADER.replace("@data", "@DATA").replace("@classLabel true", "@CLASSLABEL TRUE") + GOOD)
    data = load_data(ts(tmp_path, text.replace("\n", "\r\n")))
    assert len(data) == 12
    assert data.schema.task().classes == ("a", "b")


def test_ts_of_targets_is_regression(tmp_path: Path) -> None:
    lines = "".join(f"1,2:{i / 7}\n" for i in range(15))
    data = load_data(ts(tmp_path, f"@targetlabel true\n@data\n{lines}"))
    assert data.schema.task().kind == "regression"
    np.testing.assert_allclose(data.labels(), np.arange(15) / 7, rtol=1e-6)


@pytest.mark.parametrize("label", ["", "?"])
def test_a_label_that_is_missing_from_ts_is_missing(tmp_path: Path, label: str) -> None:
    data = load_data(ts(tmp_path, f"{HEADER}{GOOD}1:2:{label}\n"))
    assert data.labels().tolist()[-1] == -1
    assert "1 of 13 rows have no label" in said(data)


def test_a_test_file_beside_is_the_test_part(tmp_path: Path) -> None:
    path = ts(tmp_path, HEADER + GOOD, "demo_TRAIN.ts")
    ts(tmp_path, HEADER + GOOD[: len(GOOD) // 2], "demo_TEST.ts")
    data = load_data(path)
    assert {name: len(rows) for name, rows in data.given_parts.items()} == {"train": 12, "test": 6}
    assert "demo_TEST.ts" in said(data)
    assert len(load_inputs(path, "sequence")) == 12


def test_series_to_predict_on_need_no_labels(tmp_path: Path) -> None:
    data = load_inputs(ts(tmp_path, "@data\n1,2,3\n4,5\n"), "sequence")
    assert data.sizes.tolist() == [[3, 1], [2, 1]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,x:2,3:a", "could not convert string to float: 'x'"),
        ("1,,3:1,2,3:a", "a value is empty"),
        ("1,2,:1,2,3:a", "a value is empty"),
        ("(0,1),(1,2):(0,1),(1,2):a", "could not convert"),
        ("1,2:3,4,5:a", "different lengths (2, 3)"),
        ("1,2:a", "1 dimensions, 2 in the lines above"),
        ("1,2:3,4:5,6:a", "3 dimensions, 2 in the lines above"),
        ("1,2:3,4", "the label '3,4' is none of those"),
        ("1,2:3,4:c", "the label 'c' is none of those"),
        ("1,2", "there is no colon"),
    ],
)
def test_a_malformed_line_of_ts_is_named(tmp_path: Path, line: str, reason: str) -> None:
    what = refused(ts(tmp_path, f"{HEADER}{GOOD}{line}\n{GOOD}")).what
    assert f"demo.ts, line {LINE}" in what
    assert reason in what


def test_a_target_that_is_no_number_is_named(tmp_path: Path) -> None:
    what = refused(ts(tmp_path, "@targetlabel true\n@data\n1,2:0.5\n3,4:much\n")).what
    assert "line 4: the label 'much' is not a number" in what


def test_a_line_of_ts_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    what = refused(ts(tmp_path, f"{HEADER}{GOOD}1:2:caf\xe9\n", encoding="latin-1")).what
    assert f"line {LINE} is not UTF-8 (byte 0xe9)" in what


def test_time_stamps_within_ts_are_refused_with_their_line(tmp_path: Path) -> None:
    error = refused(ts(tmp_path, HEADER.replace("@timestamps false", "@timestamps true") + GOOD))
    assert "line 3: time stamps" in error.what
    assert "long table" in error.hint


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"", "there is no @data"),
        (b"@problemName x\n@classLabel true a\n", "there is no @data"),
        (b"export const a: number = 1;\n", "line 1"),
        (b"@data\n", "holds no series"),
        (bytes([0x47, 0x40, 0x00, 0x10, 0xFF]) * 50, "line 1 is not UTF-8"),
        (b"TsFile\x04" + bytes(40), "line 1"),
    ],
    ids=["empty", "header", "typescript", "no lines", "video", "apache"],
)
def test_other_files_that_end_in_ts_are_refused(tmp_path: Path, content: bytes, where: str) -> None:
    (tmp_path / "demo.ts").write_bytes(content)
    assert where in refused(tmp_path / "demo.ts").what


def test_a_ts_series_without_time_steps_is_named_and_left_out(tmp_path: Path) -> None:
    data = load_data(ts(tmp_path, f"{HEADER}{GOOD}::a\n"))
    assert len(data) == 12
    assert "it has no time steps" in said(data)


def test_a_ts_channel_without_values_is_refused(tmp_path: Path) -> None:
    assert "channel '1' has no value" in refused(ts(tmp_path, HEADER + "1,2:?,?:a\n3:?:b\n")).what


# -- .npz --------------------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(12, 9, 2)).astype(np.float32)
Y = np.array(["a", "b"] * 6)


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "demo.npz", **arrays)
    return folder / "demo.npz"


@pytest.mark.parametrize("names", [("x", "y"), ("X", "Y"), ("data", "labels"), ("series", "target")])
def test_npz_gives_series_and_labels(tmp_path: Path, names: tuple[str, str]) -> None:
    data = load_data(npz(tmp_path, **{names[0]: X, names[1]: Y}))
    np.testing.assert_array_equal(data.read(4).inputs, X[4])
    assert data.labels().tolist() == [0, 1] * 6


@pytest.mark.parametrize("valid", ["validation", "valid", "val"])
def test_npz_may_hold_parts(tmp_path: Path, valid: str) -> None:
    parts = {"x_train": X, "y_train": Y, f"x_{valid}": X[:4], f"y_{valid}": Y[:4], "x_test": X[:6], "y_test": Y[:6]}
    data = load_data(npz(tmp_path, **parts))
    found = {name: len(rows) for name, rows in data.given_parts.items()}
    assert found == {"train": 12, "validation": 4, "test": 6}
    np.testing.assert_array_equal(data.part("test").read(5).inputs, X[5])


def test_npz_parts_of_different_channels_are_refused_in_words_that_can_be_followed(tmp_path: Path) -> None:
    error = refused(npz(tmp_path, x_train=X, y_train=Y, x_test=X[:, :, :1], y_test=Y))
    assert "different numbers of channels" in error.what
    assert "--series" not in error.hint


@pytest.mark.parametrize("end", ["", "_train"])
def test_npz_of_unequal_series_is_cut_by_lengths(tmp_path: Path, end: str) -> None:
    lengths = np.arange(12) + 3
    arrays = {f"x{end}": X.reshape(-1, 2)[: lengths.sum()], f"y{end}": Y, f"lengths{end}": lengths}
    data = load_data(npz(tmp_path, **arrays))
    assert data.sizes[:, 0].tolist() == lengths.tolist()
    np.testing.assert_array_equal(data.read(1).inputs, X.reshape(-1, 2)[3:7])


def test_npz_to_predict_on_needs_no_labels(tmp_path: Path) -> None:
    assert len(load_inputs(npz(tmp_path, x=X), "sequence")) == 12


def test_npz_labels_may_be_one_hot(tmp_path: Path) -> None:
    assert load_data(npz(tmp_path, x=X, y=np.eye(2)[[0, 1] * 6])).labels().tolist() == [0, 1] * 6


class Boom:
    """Unpickling it would be noticed."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return pytest.fail, ("the pickle was executed",)


def test_npz_with_python_objects_is_refused_unopened(tmp_path: Path) -> None:
    error = refused(npz(tmp_path, x=np.array([Boom(), Boom()], dtype=object), y=Y[:2]))
    assert "Python objects" in error.what
    assert "lengths" in error.hint


def test_a_bare_pickle_called_npz_is_refused_unopened(tmp_path: Path) -> None:
    (tmp_path / "demo.npz").write_bytes(pickle.dumps(Boom()))
    assert "no NPZ file" in refused(tmp_path / "demo.npz").what


@pytest.mark.parametrize("damage", ["empty", "words", "npy", "cut", "flipped"])
def test_a_damaged_npz_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "demo.npz"
    np.savez_compressed(path, x=X, y=Y)
    content = bytearray(path.read_bytes())
    if damage == "npy":
        with open(path, "wb") as file:
            np.save(file, X)
    else:
        start = content.index(b"x.npy") + len(b"x.npy")
        content[start + 20 : start + 60] = b"\xff" * 40
        whole = {"empty": b"", "words": b"hello", "cut": bytes(content[:300]), "flipped": bytes(content)}
        path.write_bytes(whole[damage])
    assert "NPZ" in refused(path).what


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.float32(1), "y": Y}, "shape ()"),
        ({"x": np.ones(12), "y": Y}, "shape (12,)"),
        ({"x": np.ones((12, 3, 4, 5)), "y": Y}, "shape (12, 3, 4, 5)"),
        ({"x": X, "y": np.array(1)}, "single value"),
        ({"x": X, "y": Y[:5]}, "12 series, but 5 labels"),
        ({"x": X}, "without labels"),
        ({"z": X, "y": Y}, "no array of series; it has: z, y"),
        ({"x": X.reshape(-1, 2), "y": Y, "lengths": np.full(12, 8)}, "adds up to 96"),
        ({"x": X.reshape(-1, 2), "y": Y[:3], "lengths": np.array([-4, 4, 108])}, "whole numbers"),
        ({"x": X, "y": Y, "lengths": np.full(12, 5)}, "adds up to 60"),
        ({"x_train": X, "y_train": Y[:11], "x_test": X, "y_test": np.r_[Y, Y[:1]]}, "'x_train': There are 12"),
    ],
)
def test_arrays_in_npz_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    assert reason in refused(npz(tmp_path, **arrays)).what


# -- samples -----------------------------------------------------------------------------------------------------------

SAMPLES = {
    "japanese-vowels": (270, 370, 9, 12),
    "gunpoint": (50, 150, 2, 1),
    "arrowhead": (36, 175, 3, 1),
    "basic-motions": (40, 40, 4, 6),
    "osuleaf": (200, 242, 6, 1),
    "italy-power-demand": (67, 1029, 2, 1),
}
"""Training and test series, classes and channels as the archives' site lists them."""


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_has_its_official_split(name: str) -> None:
    train, test, classes, channels = SAMPLES[name]
    data = load_data(f"sample:{name}")
    assert (len(data.part("train")), len(data.part("test"))) == (train, test)
    assert (data.schema.task().outputs, data.schema.channels) == (classes, channels)
    listed = next(row for row in list_samples() if row["name"] == name)
    assert (listed["samples"], listed["classes"], listed["fetched"]) == (len(data), classes, True)
    for seed in (0, 1):
        assert make_splits(data, SplitOptions(seed=seed)).test.tolist() == data.given_parts["test"].tolist()


def test_japanese_vowels_have_unequal_lengths() -> None:
    lengths = load_data("sample:japanese-vowels").sizes[:, 0]
    assert (lengths.min(), lengths.max()) == (7, 29)


def test_gunpoint_is_normalised_in_the_archive() -> None:
    data = load_data("sample:gunpoint")
    for i in (0, 60, 199):
        values = data.read(i).inputs
        assert abs(values.mean()) < 1e-3
        assert values.std() == pytest.approx(1, abs=0.01)
