"""Mistakes with texts and series: one message each (what, where, what to do), and nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.verbs.words_and_curves import CURVES, WORDS, arrays, curves, label, recordings, reviews, table, text

Refused = Callable[..., str]
LONG = ("--series", "ax,ay", "--id", "rec", "--time", "time", "--label", "activity")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on texts (words), one on arrays (waves) and one on a long table (long)."""
    from headstart.cli.main import _run

    root = tmp_path_factory.mktemp("runs")
    reviews(root / "t.csv")
    arrays(root / "s.npz")
    recordings(root / "long.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert _run(["fit", "t.csv", *WORDS, "--strategy", "probe", "--out", "words"]) == 0
        assert _run(["fit", "s.npz", *CURVES, "--strategy", "probe", "--out", "waves"]) == 0
        assert _run(["fit", "long.csv", *CURVES, *LONG, "--window", "1s", "--strategy", "probe", "--out", "long"]) == 0
    return root


def long_table(path: Path, change: Callable[[list[list[str]]], None]) -> Path:
    """A long table in which something was changed; the first of its rows is the header."""
    recordings(path)
    rows = [line.split(",") for line in path.read_text().splitlines()]
    change(rows)
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")
    return path


# -- texts -----------------------------------------------------------------------------------------------------------


def test_texts_that_are_all_empty(refused: Refused, tmp_path: Path) -> None:
    table(tmp_path / "t.csv", ("text", "label"), [(" " * (i % 3), label(i)) for i in range(20)])
    error = refused("fit", "t.csv", *WORDS, "--text", "text")
    assert "20 of 20 texts" in error
    assert "empty" in error


def test_a_few_empty_texts_are_left_out_and_named(here: Any, tmp_path: Path) -> None:
    rows = [("" if i == 5 else text(i), label(i)) for i in range(32)]
    table(tmp_path / "t.csv", ("text", "label"), rows)
    said = here("fit", "t.csv", *WORDS, "--strategy", "probe")
    assert said.code == 0, said
    assert "1 of 32 texts cannot be read: row 5: it is empty" in " ".join(said.out.split())


def test_a_table_that_is_not_utf8_names_the_line(refused: Refused, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv", 20)
    lines = (tmp_path / "t.csv").read_bytes().splitlines(keepends=True)
    lines[13] = lines[13].replace(b"n12", "café".encode("latin-1"))
    (tmp_path / "t.csv").write_bytes(b"".join(lines))
    error = refused("fit", "t.csv", *WORDS)
    assert "t.csv, line 14 is not UTF-8 (byte 0xe9)" in error
    assert "iconv" in error


def test_text_files_that_are_not_utf8_name_file_and_line(here: Any, refused: Refused, tmp_path: Path) -> None:
    for i in range(32):
        path = tmp_path / "mail" / label(i) / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(i))
    (tmp_path / "mail/neg/old.txt").write_bytes("one\ntwo\ncafé\n".encode("latin-1"))
    where = f"mail{'/'}neg/old.txt: line 3 is not UTF-8"
    assert where in refused("fit", "mail", *WORDS, "--bad-samples", "refuse")
    said = here("fit", "mail", *WORDS, "--strategy", "probe", "--out", "run", "--json")
    assert where in " ".join(n["text"] for n in json.loads(said.out)["data"]["notes"])


def test_a_label_column_that_is_an_id(refused: Refused, tmp_path: Path) -> None:
    table(tmp_path / "t.csv", ("text", "label"), [(text(i), f"user-{i}") for i in range(60)])
    error = refused("fit", "t.csv", *WORDS)
    assert "60 different values in 60 rows" in error
    assert "looks like an id" in error


def test_a_network_for_pictures(refused: Refused, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv")
    assert "for pictures" in refused("fit", "t.csv", "--model", "timm:test_resnet")


def test_columns_that_are_not_there(refused: Refused, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv")
    assert "'review'" in refused("fit", "t.csv", *WORDS, "--text", "revew")
    assert "'sentiment'" in refused("fit", "t.csv", *WORDS, "--label", "sentimant")
    assert "'writer'" in refused("fit", "t.csv", *WORDS, "--group", "riter")


@pytest.mark.parametrize(
    ("options", "near"),
    [
        (("--image-size", "32"), "--image-size"),
        (("--augment", "light"), "--augment"),
        (("--mixup", "0.2"), "--mixup"),
        (("--pooling", "cls"), "mean"),
        (("--pooling", "men"), "mean"),
        (("--long", "window"), "windows"),
        (("--max-length", "2"), "4"),
        (("--arch", "widht=8"), "'width'"),
        (("--arch", "width=wide"), "width=2"),
        (("--model", "scratch:inception-time"), "scratch:awd-lstm"),
        (("--model", "scratch:gru", "--reinit", "9"), "2 stages"),
        (("--text", "review,writer,nr"), "2"),
    ],
)
def test_options_that_texts_have_not(options: tuple[str, ...], near: str, refused: Refused, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv")
    assert near in refused("fit", "t.csv", *WORDS, "--strategy", "full", *options)


# -- series ----------------------------------------------------------------------------------------------------------


def test_series_without_time_steps(refused: Refused, tmp_path: Path) -> None:
    x, y = curves(20)
    np.savez(tmp_path / "s.npz", x=x[:, :0], y=y)
    error = refused("fit", "s.npz", *CURVES)
    assert "20 of 20 series" in error
    assert "no time steps" in error


def test_a_channel_that_is_all_nan(refused: Refused, tmp_path: Path) -> None:
    x, y = curves(20)
    x[:, :, 1] = np.nan
    np.savez(tmp_path / "s.npz", x=x, y=y)
    error = refused("fit", "s.npz", *CURVES)
    assert "channel '1' has no value at all" in error


def test_one_series_that_is_all_nan_is_left_out_and_named(here: Any, tmp_path: Path) -> None:
    x, y = curves(32)
    x[7] = np.nan
    np.savez(tmp_path / "s.npz", x=x, y=y)
    said = here("fit", "s.npz", *CURVES, "--strategy", "probe")
    assert said.code == 0, said
    assert "row 7: all its values are missing" in " ".join(said.out.split())


def test_time_that_goes_back(refused: Refused, tmp_path: Path) -> None:
    def back(rows: list[list[str]]) -> None:
        rows[1 + 120 + 7][1] = "0.001"  # row 7 of the second recording

    long_table(tmp_path / "t.csv", back)
    error = refused("fit", "t.csv", *CURVES, *LONG)
    assert "row 127" in error
    assert "r1" in error


def test_time_that_stands_still(refused: Refused, tmp_path: Path) -> None:
    def still(rows: list[list[str]]) -> None:
        rows[6][1] = rows[5][1]

    long_table(tmp_path / "t.csv", still)
    assert "repeats" in refused("fit", "t.csv", *CURVES, *LONG)


def test_a_value_that_is_no_number(refused: Refused, tmp_path: Path) -> None:
    def broken(rows: list[list[str]]) -> None:
        rows[4][2] = "broken"

    long_table(tmp_path / "t.csv", broken)
    error = refused("fit", "t.csv", *CURVES, *LONG)
    assert "'ax'" in error
    assert "'broken'" in error


def test_windows_longer_than_every_recording(refused: Refused, tmp_path: Path) -> None:
    recordings(tmp_path / "t.csv")
    assert "shorter than the window" in refused("fit", "t.csv", *CURVES, *LONG, "--window", "1min")
    assert "2s" in refused("fit", "t.csv", *CURVES, *LONG, "--window", "long")


@pytest.mark.parametrize(
    ("options", "near"),
    [
        (("--max-length", "16"), "--max-length"),
        (("--long", "windows"), "--long"),
        (("--image-size", "32"), "--image-size"),
        (("--strategy", "ulmfit"), "learns from texts"),
        (("--model", "scratch:awd-lstm"), "scratch:gru"),
        (("--model", "sample:all-minilm-l6-v2"), "scratch:gru"),
        (("--arch", "width=7"), "even"),
        (("--pooling", "cls"), "mean"),
        (("--label", "activity"), "table"),
    ],
)
def test_options_that_series_have_not(options: tuple[str, ...], near: str, refused: Refused, tmp_path: Path) -> None:
    arrays(tmp_path / "s.npz")
    assert near in refused("fit", "s.npz", *CURVES, *options)


# -- models of something else ----------------------------------------------------------------------------------------


def test_a_run_of_another_modality_is_no_start(refused: Refused, runs: Path, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv")
    arrays(tmp_path / "s.npz")
    error = refused("fit", "t.csv", "--model", f"run:{runs / 'waves'}")
    assert "'sequence'" in error
    assert "'text'" in error
    assert "'sequence'" in refused("fit", "s.npz", "--model", f"run:{runs / 'words'}")


def test_a_run_on_other_channels_is_no_start(refused: Refused, runs: Path, tmp_path: Path) -> None:
    x, y = curves(32)
    np.savez(tmp_path / "s.npz", x=x[..., :1], y=y)
    error = refused("fit", "s.npz", "--model", f"run:{runs / 'waves'}")
    assert "2 channels" in error


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
@pytest.mark.parametrize(
    ("model", "data", "near"),
    [
        ("words", "lacks.csv", "'review'"),
        ("words", "s.npz", "text"),
        ("words", "gone.csv", "gone.csv"),
        ("waves", "one.npz", "2 channels"),
        ("long", "lacks.csv", "column"),
        ("long", "t.csv", "column"),
        ("long", "gone.csv", "gone.csv"),
    ],
)
def test_data_that_a_model_cannot_take(
    verb: str, model: str, data: str, near: str, here: Any, runs: Path, tmp_path: Path
) -> None:
    table(tmp_path / "lacks.csv", ("words", "label"), [(text(i), label(i)) for i in range(20)])
    reviews(tmp_path / "t.csv")
    arrays(tmp_path / "s.npz")
    x, y = curves(8)
    np.savez(tmp_path / "one.npz", x=x[..., :1], y=y)
    said = here(verb, runs / model, data)
    assert said.code == 2, said
    assert "Traceback" not in said.err
    assert near in said.err
