"""Predictions as columns of the table that was asked about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.verbs.words_and_curves import label, recordings, reviews, table, text

import headstart as hs
from headstart.cli.failures import guard
from headstart.cli.main import _run
from headstart.verbs.predict_table import with_predictions, write_table

TINY = {"model": "scratch:gru", "arch": "layers=1,width=12,embedding=12", "epochs": 1, "max_length": 32}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> hs.Run:
    root = tmp_path_factory.mktemp("table")
    return hs.fit(str(reviews(root / "t.csv")), **TINY, strategy="probe", out=root / "run")


@pytest.fixture
def new(tmp_path: Path) -> Iterator[pd.DataFrame]:
    """new.csv in the current folder, as a frame; its third text is empty."""
    reviews(tmp_path / "new.csv", 12, start=700)
    frame = pd.read_csv(tmp_path / "new.csv")
    frame.loc[2, "review"] = ""
    frame.to_csv(tmp_path / "new.csv", index=False)
    yield frame
    # What was asked about is never changed.
    assert pd.read_csv(tmp_path / "new.csv", keep_default_na=False).equals(frame)


def typed(*arguments: object) -> int:
    words = [str(a) for a in arguments]
    return guard(lambda: _run(words), words)


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".jsonl":
        return pd.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", keep_default_na=False)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_kind_of_table_keeps_its_columns_and_order_and_gains_predictions(
    suffix: str, run: hs.Run, new: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / f"out{suffix}"
    assert typed("predict", run.path, "new.csv", "--out", out) == 0
    found = read(out)
    assert list(found.columns) == [*new.columns, "predicted", "confidence", "error"]
    assert found["nr"].tolist() == new["nr"].tolist()
    rows = run.predict([Path("new.csv")])
    for i, row in enumerate(rows):
        if i != 2:
            assert found["predicted"][i] == row["predicted"]
            assert float(found["confidence"][i]) == pytest.approx(row["confidence"])


def test_a_row_without_a_text_keeps_its_place_and_says_why(run: hs.Run, new: pd.DataFrame, tmp_path: Path) -> None:
    assert typed("predict", run.path, "new.csv", "--out", "out.csv") == 0
    found = read(tmp_path / "out.csv")
    assert len(found) == len(new)
    assert found["error"].map(bool).tolist() == [i == 2 for i in range(len(new))]
    assert "empty" in found["error"][2]
    assert (found["predicted"][2], found["confidence"][2]) == ("", "")


def test_columns_that_are_there_already_keep_their_content(run: hs.Run, tmp_path: Path) -> None:
    rows = [(text(i), "mine", i) for i in range(6)]
    table(tmp_path / "t.csv", ("review", "predicted", "confidence"), rows)
    assert typed("predict", run.path, "t.csv", "--out", "out.csv") == 0
    found = read(tmp_path / "out.csv")
    assert list(found.columns) == ["review", "predicted", "confidence", "predicted_", "confidence_"]
    assert set(found["predicted"]) == {"mine"}
    assert set(found["predicted_"]) <= {"pos", "neg"}


ANSWERS = [{"id": str(i), "predicted": "pos", "confidence": 0.123456789012345} for i in range(3)]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_what_stands_in_a_table_is_written_as_it_stands(suffix: str, tmp_path: Path) -> None:
    lines = ["id,n,x,w,word,flag", "00123,3,0.1,1e-05,NA,True", "00007,,2.50,0.25,null,False", ",4,1e5,2.0,,True"]
    lines = [line.replace(",", "\t" if suffix == ".tsv" else ",") for line in lines]
    (tmp_path / f"t{suffix}").write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    frame = with_predictions(tmp_path / f"t{suffix}", ANSWERS)
    write_table(frame, tmp_path / f"out{suffix}")
    written = (tmp_path / f"out{suffix}").read_text().splitlines()
    assert [line[: len(own)] for line, own in zip(written, lines, strict=True)] == lines
    # What is written the same as a number is one where a file tells numbers from texts.
    write_table(frame, tmp_path / "out.jsonl")
    found = read(tmp_path / "out.jsonl").to_dict("records")
    assert [row["id"] for row in found] == ["00123", "00007", ""]
    assert [row["w"] for row in found] == [1e-05, 0.25, 2.0]
    assert [row["flag"] for row in found] == [True, False, True]


RECORDS = [
    {"id": "00123", "when": "2024-01-01T00:00:00", "day": "2024-01-01", "n": 3, "x": 0.1234567890123, "of": [1, 2]},
    {"id": "1", "when": "2024-01-02T00:00:00", "day": None, "n": None, "x": 1e-12, "of": []},
    {"id": "2", "when": "2024-01-02T00:00:00+01:00", "day": None, "n": 2**53 + 1, "x": 1e300, "of": [3]},
]


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_values_of_json_stay_as_they_are(name: str, tmp_path: Path) -> None:
    lines = [json.dumps(record) for record in RECORDS]
    (tmp_path / name).write_text("\n".join(lines) if name == "t.jsonl" else json.dumps(RECORDS, indent=1))
    frame = with_predictions(tmp_path / name, ANSWERS)
    write_table(frame, tmp_path / "out.jsonl")
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        {**record, "predicted": "pos", "confidence": 0.123456789012345} for record in RECORDS
    ]
    write_table(frame, tmp_path / "out.csv")
    assert read(tmp_path / "out.csv")["n"].tolist() == ["3", "", str(2**53 + 1)]


def test_dates_are_written_as_dates(tmp_path: Path) -> None:
    frame = with_predictions(pd.DataFrame({"day": pd.date_range("2024-01-01", periods=3)}), ANSWERS)
    write_table(frame, tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl")["day"].str[:10].tolist() == ["2024-01-01", "2024-01-02", "2024-01-03"]


def test_further_classes_are_columns_of_their_own(run: hs.Run, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv", 6, start=700)
    assert typed("predict", run.path, "t.csv", "--top", "2", "--out", "out.csv") == 0
    found = read(tmp_path / "out.csv")
    assert (found["class_2"] != found["predicted"]).all()
    assert ((found["confidence"] + found["probability_2"]) - 1).abs().max() < 1e-6


def test_csv_on_standard_output_is_the_file(run: hs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reviews(tmp_path / "t.csv", 6, start=700)
    assert typed("predict", run.path, "t.csv", "--out", "out.csv") == 0
    capsys.readouterr()
    assert typed("predict", run.path, "t.csv", "--csv") == 0
    assert capsys.readouterr().out == (tmp_path / "out.csv").read_text()


def test_a_table_without_labels_is_enough(run: hs.Run, tmp_path: Path) -> None:
    table(tmp_path / "bare.csv", ("id", "review"), [(i, text(i)) for i in range(5)])
    assert typed("predict", run.path, "bare.csv", "--out", "out.csv") == 0
    assert list(read(tmp_path / "out.csv").columns) == ["id", "review", "predicted", "confidence"]


def test_a_frame_gives_a_frame_with_columns_added(run: hs.Run) -> None:
    frame = pd.DataFrame({"review": [text(i) for i in range(4)], "who": list("abcd")}, index=[9, 8, 7, 6])
    rows = run.predict(frame)
    found = with_predictions(frame, rows)
    assert list(found.columns) == ["review", "who", "predicted", "confidence"]
    assert found["who"].tolist() == list("abcd")
    assert list(frame.columns) == ["review", "who"]


def test_files_have_their_names_where_a_table_has_its_columns(run: hs.Run, tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text(text(i))
    assert typed("predict", run.path, "0.txt", "1.txt", "2.txt", "--out", "out.csv") == 0
    assert read(tmp_path / "out.csv")["id"].tolist() == ["0.txt", "1.txt", "2.txt"]


def test_series_of_many_rows_have_a_row_each(tmp_path: Path) -> None:
    recordings(tmp_path / "long.csv")
    columns = {"series": "ax,ay", "id": "rec", "time": "time", "label": "activity"}
    small = {"model": "scratch:gru", "arch": "layers=1,width=8", "strategy": "probe"}
    run = hs.fit("long.csv", **columns, **small, out="run")
    assert typed("predict", run.path, "long.csv", "--out", "out.csv") == 0
    found = read(tmp_path / "out.csv")
    assert found["id"].tolist() == [f"r{i}" for i in range(12)]
    assert set(found["predicted"]) <= {"slow", "fast"}


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (("lacks.csv",), "no column 'review'"),
        (("gone.csv",), "gone.csv"),
        (("new.csv", "--out", "new.csv"), "is there already"),
        (("new.csv", "--out", "x.xlsx"), ".parquet"),
        (("new.csv", "--out", "gone/x.csv"), "no folder"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    arguments: tuple[str, ...],
    near: str,
    run: hs.Run,
    new: pd.DataFrame,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table(tmp_path / "lacks.csv", ("words", "sentiment"), [(text(i), label(i)) for i in range(4)])
    before: list[Any] = sorted(tmp_path.rglob("*"))
    assert typed("predict", run.path, *arguments) == 2
    said = capsys.readouterr()
    assert near in said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert sorted(tmp_path.rglob("*")) == before
