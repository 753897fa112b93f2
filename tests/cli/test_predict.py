"""How predictions are printed: as a table, as CSV, with errors named."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from headstart.cli import predict
from headstart.verbs.predict_table import with_predictions, write_table

CLASSES = [
    {
        "id": "new/a,b.jpg",
        "predicted": "rose",
        "confidence": 0.91,
        "top": [{"class": "rose", "probability": 0.91}, {"class": "daisy", "probability": 0.06}],
    },
    {"id": "new/broken.jpg", "error": "truncated"},
]
NUMBERS = [{"id": "a.png", "predicted": 12.3456}]
SEVERAL = [
    {"id": "a.png", "predicted": ["3", "7"], "confidence": 0.8, "top": [{"class": "3", "probability": 0.9}]},
    {"id": "b.png", "predicted": [], "confidence": 0.7, "top": [{"class": "3", "probability": 0.2}]},
]


def as_csv(rows: list[dict], top: int, path: Path) -> list[dict[str, str]]:
    write_table(with_predictions([Path(row["id"]) for row in rows], rows, top), path)
    shown = path.read_text()
    assert "\r" not in shown
    return list(csv.DictReader(io.StringIO(shown)))


def test_csv_of_classes(tmp_path: Path) -> None:
    first, broken = as_csv(CLASSES, 2, tmp_path / "a.csv")
    assert first == {
        "id": "new/a,b.jpg",
        "predicted": "rose",
        "confidence": "0.91",
        "class_2": "daisy",
        "probability_2": "0.06",
        "error": "",
    }
    assert (broken["predicted"], broken["error"]) == ("", "truncated")


def test_csv_with_more_asked_than_there_are(tmp_path: Path) -> None:
    first, broken = as_csv(CLASSES, 4, tmp_path / "a.csv")
    assert (first["class_2"], first["class_3"], first["probability_4"]) == ("daisy", "", "")
    assert broken["error"] == "truncated"


def test_csv_of_numbers_keeps_their_precision(tmp_path: Path) -> None:
    assert as_csv(NUMBERS, 1, tmp_path / "a.csv") == [{"id": "a.png", "predicted": "12.3456"}]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (CLASSES, ["rose", "0.910", "daisy 0.060", "truncated"]),
        (NUMBERS, ["a.png", "12.346"]),
        (SEVERAL, ["3, 7", "none"]),
    ],
)
def test_tables_say_it_all_in_80_columns(
    rows: list[dict], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    predict._print_rows(rows, 2)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for word in words:
        assert word in shown


@pytest.mark.parametrize(
    ("path", "shown"),
    [("a/b.png", "a/b.png"), ("long/" * 20 + "b.png", "…/b.png"), ("x" * 90, "…" + "x" * 39)],
)
def test_long_paths_leave_room(path: str, shown: str) -> None:
    assert predict._short(path) == shown
