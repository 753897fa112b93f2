"""Series from an array or a long table to a model that predicts series, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.verbs.words_and_curves import CURVES, arrays, curves, recordings, table

LONG = ("--series", "ax,ay", "--id", "rec", "--time", "time", "--label", "activity")
CUT = ("--window", "1s", "--stride", "500ms")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with long.csv, held.csv, a run on windows of them, and a run on whole.npz."""
    from headstart.cli.main import _run

    root = tmp_path_factory.mktemp("series")
    recordings(root / "long.csv")
    recordings(root / "held.csv", people=2, start=50)
    arrays(root / "whole.npz")
    arrays(root / "held.npz", 12, start=900)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        options = ("--group", "person", "--strategy", "full", "--out", "windows")
        assert _run(["fit", "long.csv", *CURVES, *LONG, *CUT, *options]) == 0
        assert _run(["fit", "whole.npz", *CURVES, "--test", "held.npz", "--strategy", "full", "--out", "whole"]) == 0
    return root


def report_of(run: str | Path) -> dict[str, Any]:
    return json.loads((Path(run) / "report.json").read_text(encoding="utf-8"))


def test_what_is_printed_stays_within_80_columns(here: Any, tmp_path: Path) -> None:
    arrays(tmp_path / "s.npz")
    said = here("fit", "s.npz", *CURVES, "--strategy", "probe")
    assert said.code == 0, said
    assert max(map(len, said.out.splitlines())) <= 80
    assert "Logistic regression, mean/std/min/max per" in said.out
    assert "headstart predict runs/s SERIES" in said.out
    for leaked in ("Warning", "warn(", "Traceback"):
        assert leaked not in said.err


def test_dry_run_of_a_long_table_writes_nothing(here: Any, tmp_path: Path) -> None:
    recordings(tmp_path / "long.csv")
    said = here("fit", "long.csv", *CURVES, *LONG, *CUT, "--dry-run", "--json")
    assert said.code == 0, said
    # 12 recordings of 120 rows, 25 a second: windows of 25 rows every 12, the last incomplete one left out.
    assert sum(json.loads(said.out)["data"]["parts"].values()) == 12 * 8
    assert not (tmp_path / "runs").exists()


def test_windows_of_one_person_stand_on_one_side_of_the_split(home: Path) -> None:
    split = json.loads((home / "windows" / "data.json").read_text())["split"]
    people = {name: set() for name in ("train", "test")}
    ids = pd.read_parquet(home / "windows" / "predictions.parquet")
    for part, name in (("validation", "train"), ("test", "test")):
        rows = ids[ids["part"] == part]["id"]
        people[name] = {int(row.partition("@")[0].removeprefix("r")) // 2 for row in rows}
    assert people["train"]
    assert people["test"]
    assert not people["train"] & people["test"]
    assert split


def test_the_report_shows_the_hardest_series_as_curves(home: Path) -> None:
    report = report_of(home / "whole")
    worst = report["worst"]
    assert [w["loss"] for w in worst] == sorted((w["loss"] for w in worst), reverse=True)
    held, _ = curves(12, start=900)
    shown = np.array(worst[0]["series"]["values"]).T
    assert min(np.abs(held - shown).max((1, 2))) < 1e-4
    assert (home / "whole" / "report.html").read_text(encoding="utf-8").count("<svg") > len(worst)


def test_the_report_weighs_time_steps_and_channels(home: Path) -> None:
    rows = report_of(home / "whole")["importance"]
    assert rows
    for row in rows:
        weights = np.array(row["values"])
        assert weights.shape == (2, 24)
        assert (weights >= 0).all()
        assert weights.sum() > 0


def test_the_report_has_a_histogram_of_lengths_where_they_differ(here: Any, tmp_path: Path, home: Path) -> None:
    rows = []
    for i in range(32):
        x, y = curves(1, 12 + i % 9, start=i)
        rows += [(f"s{i}", float(a), float(b), int(y[0])) for a, b in x[0]]
    table(tmp_path / "t.csv", ("rec", "ax", "ay", "label"), rows)
    options = ("--series", "ax,ay", "--id", "rec", "--strategy", "probe", "--out", "run")
    assert here("fit", "t.csv", *CURVES, *options).code == 0
    lengths = report_of("run")["data"]["lengths"]
    assert (lengths["unit"], lengths["truncated"]) == ("time steps", 0)
    assert lengths["edges"][0] == 12
    assert lengths["edges"][-1] == 20
    assert "How long they are" in Path("run/report.html").read_text(encoding="utf-8")
    assert report_of(home / "whole")["data"]["lengths"] is None


def test_predict_gives_a_row_per_series_in_their_order(here: Any, at_home: Path) -> None:
    kept = pd.read_parquet("whole/predictions.parquet").query("part == 'test'")
    rows = json.loads(here("predict", "whole", "held.npz", "--json").out)
    assert len(rows) == 12
    assert [row["predicted"] for row in rows] == kept["predicted"].tolist()
    assert [row["confidence"] for row in rows] == pytest.approx(kept["confidence"].tolist(), abs=1e-5)


def test_predict_cuts_a_table_as_training_did(here: Any, at_home: Path, tmp_path: Path) -> None:
    said = here("predict", "windows", "held.csv", "--csv")
    assert said.code == 0, said
    rows = said.out.splitlines()
    assert rows[0] == "id,predicted,confidence"
    assert len(rows) == 1 + 4 * 8
    assert rows[1].startswith("r100@0,")


def test_predict_needs_neither_labels_nor_groups(here: Any, at_home: Path, tmp_path: Path) -> None:
    whole = pd.read_csv("held.csv")
    whole.drop(columns=["activity", "person"]).to_csv(tmp_path / "bare.csv", index=False)
    both = [here("predict", "windows", path, "--json").out for path in ("held.csv", tmp_path / "bare.csv")]
    assert json.loads(both[0]) == json.loads(both[1])


def test_evaluate_says_the_number_of_the_run(here: Any, at_home: Path) -> None:
    found = json.loads(here("evaluate", "whole", "held.npz", "--json").out)
    for name, value in report_of("whole")["metrics"]["test"].items():
        assert found["metrics"][name]["value"] == pytest.approx(value["value"], abs=1e-5), name


def test_evaluate_reads_a_long_table_as_training_did(here: Any, at_home: Path) -> None:
    said = here("evaluate", "windows", "held.csv", "--json")
    assert said.code == 0, said
    found = json.loads(said.out)
    assert found["n"] == 4 * 8
    assert [row["class"] for row in found["per_class"]] == ["fast", "slow"]


def test_a_series_with_gaps_is_learned_from_and_predicted(here: Any, tmp_path: Path) -> None:
    x, y = curves(32)
    x[::3, 5:9, 1] = np.nan
    np.savez(tmp_path / "s.npz", x=x, y=y)
    assert here("fit", "s.npz", *CURVES, "--strategy", "full", "--out", "run").code == 0
    rows = json.loads(here("predict", "run", "s.npz", "--json").out)
    assert all(0 <= row["confidence"] <= 1 for row in rows)


def test_a_convolutional_network_of_our_own(here: Any, tmp_path: Path) -> None:
    arrays(tmp_path / "s.npz")
    options = (
        "--model",
        "scratch:inception-time",
        "--arch",
        "filters=4,bottleneck=4,blocks=1",
        "--epochs",
        "1",
        "--out",
        "run",
    )
    said = here("fit", "s.npz", *options, "--strategy", "full", "--json")
    assert said.code == 0, said
    assert json.loads(said.out)["model"]["family"] == "cnn"
    assert here("predict", "run", "s.npz").code == 0


def test_a_number_is_predicted_of_every_series(here: Any, tmp_path: Path) -> None:
    x, _ = curves(32)
    np.savez(tmp_path / "s.npz", x=x, y=x.std((1, 2)) + np.linspace(0, 1, 32))
    said = here("fit", "s.npz", *CURVES, "--strategy", "full", "--out", "run", "--json")
    assert said.code == 0, said
    assert json.loads(said.out)["task"]["kind"] == "regression"
    rows = json.loads(here("predict", "run", "s.npz", "--json").out)
    assert all(isinstance(row["predicted"], float) and "confidence" not in row for row in rows)
