"""`compare`: two runs on the same samples, against counts made by hand from their predictions."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import headstart as hs
from headstart.core.errors import HeadstartError
from headstart.measure import mcnemar
from headstart.verbs.compare import compare


@pytest.fixture(scope="module")
def runs(shapes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs on the same data and split, and one on other data."""
    root = tmp_path_factory.mktemp("runs")
    data = shapes.folder(root / "data", 30, shapes.KINDS)
    made = []
    for name, more in (("a", {"strategy": "probe"}), ("b", {"strategy": "full", "epochs": 3})):
        made.append(hs.fit(data, **{**shapes.QUICK, "guard": "off", **more}, examples=False, out=root / name).path)
    other = shapes.folder(root / "other", 16)
    made.append(hs.fit(other, **{**shapes.QUICK, "strategy": "probe"}, examples=False, out=root / "c").path)
    return made


def test_counts_and_gain_are_those_of_the_predictions(runs: list[Path]) -> None:
    found = compare(runs[:2])
    assert (found["part"], found["left_out"]) == ("test", 0)
    tables = [pd.read_parquet(run / "predictions.parquet").query("part == 'test'").set_index("id") for run in runs[:2]]
    a, b = (t["predicted"] == t["label"] for t in tables)
    b = b[a.index]
    pair = found["pairs"][0]
    assert found["samples"] == len(a)
    assert pair["gain"]["value"] == pytest.approx(b.mean() - a.mean())
    assert pair["fixed"] == {"count": int((~a & b).sum()), "ids": list(a.index[~a & b])}
    assert pair["broken"] == {"count": int((a & ~b).sum()), "ids": list(a.index[a & ~b])}
    assert pair["mcnemar"] == pytest.approx(mcnemar(int((a & ~b).sum()), int((~a & b).sum())))
    low, high = pair["gain"]["low"], pair["gain"]["high"]
    assert pair["verdict"] == ("better" if low > 0 else "worse" if high < 0 else "too near to tell")
    assert [row["strategy"] for row in found["runs"]] == ["probe", "full"]
    assert json.loads(json.dumps(found)) == found


def test_a_run_equals_itself(runs: list[Path]) -> None:
    pair = compare([runs[0], runs[0]])["pairs"][0]
    assert pair["gain"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert (pair["verdict"], pair["mcnemar"]) == ("too near to tell", 1.0)
    assert pair["fixed"]["count"] == pair["broken"]["count"] == 0


def test_swapping_the_runs_turns_the_gain(runs: list[Path]) -> None:
    one, other = compare(runs[:2])["pairs"][0], compare(runs[1::-1])["pairs"][0]
    assert one["gain"]["value"] == pytest.approx(-other["gain"]["value"])
    assert one["fixed"] == other["broken"]


def test_by_an_error_a_gain_is_still_an_improvement(runs: list[Path]) -> None:
    found = compare(runs[:2], metric="log_loss")
    before, after = (row["metrics"]["log_loss"]["value"] for row in found["runs"])
    assert found["pairs"][0]["gain"]["value"] == pytest.approx(before - after)


@pytest.mark.parametrize("kind", ["regression", "multi-label"])
def test_numbers_and_several_labels_are_compared_too(
    kind: str, shapes: ModuleType, tmp_path: Path, capsys: Any
) -> None:
    from headstart.cli.compare import print_comparison

    x, names = shapes.arrays(30, shapes.KINDS)
    bright = x.reshape(len(x), -1).mean(1)
    y: Any = bright
    if kind == "multi-label":
        y = np.stack([names == "disc", bright > np.median(bright)], 1).astype(float)
    data = hs.load_data((x, y), task=kind)
    given = {**shapes.QUICK, "guard": "off", "examples": False}
    a = hs.fit(data, **given, strategy="probe", out=tmp_path / "a")
    b = hs.fit(data, **{**given, "epochs": 3}, strategy="full", out=tmp_path / "b")
    found = compare([a.path, b.path])
    metric = found["metric"]
    for run, row in zip((a, b), found["runs"], strict=True):
        assert row["metrics"][metric]["value"] == pytest.approx(run.metrics["test"][metric]["value"])
    gain = found["pairs"][0]["gain"]["value"]
    sign = -1 if kind == "regression" else 1
    assert gain == pytest.approx(sign * (b.metrics["test"][metric]["value"] - a.metrics["test"][metric]["value"]))
    assert found["pairs"][0]["mcnemar"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    print_comparison(found)
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 80


def test_samples_that_not_all_have_are_left_out_and_counted(runs: list[Path], tmp_path: Path) -> None:
    import shutil

    short = shutil.copytree(runs[1], tmp_path / "short")
    table = pd.read_parquet(short / "predictions.parquet")
    gone = table[table["part"] == "test"].index[:2]
    table.drop(gone).to_parquet(short / "predictions.parquet")
    found = compare([runs[0], short])
    assert found["left_out"] == 2
    assert found["samples"] == compare(runs[:2])["samples"] - 2


def test_what_cannot_be_compared_is_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(HeadstartError, match="nothing to compare"):
        compare(runs[:1])
    with pytest.raises(HeadstartError, match="other tasks"):
        compare([runs[0], runs[2]])
    with pytest.raises(HeadstartError):
        compare([runs[0], tmp_path])
    with pytest.raises(HeadstartError, match="no predictions for the part 'holdout'"):
        compare(runs[:2], part="holdout")


def test_other_labels_for_the_same_samples_are_refused(runs: list[Path], tmp_path: Path) -> None:
    import shutil

    odd = shutil.copytree(runs[1], tmp_path / "odd")
    table = pd.read_parquet(odd / "predictions.parquet")
    table["label"] = np.roll(table["label"].to_numpy(), 1)
    table.to_parquet(odd / "predictions.parquet")
    with pytest.raises(HeadstartError, match="other labels"):
        compare([runs[0], odd])


def test_a_person_reads_it_within_80_columns(runs: list[Path], capsys: Any) -> None:
    from headstart.cli.main import _run

    assert _run(["compare", *map(str, runs[:2])]) == 0
    said = capsys.readouterr().out
    assert "McNemar p" in said
    for row in compare(runs[:2])["runs"]:
        low, high = (f"{row['metrics']['accuracy'][end]:.3f}" for end in ("low", "high"))
        assert f"{low} to {high}" in said, "no number is cut off"
    assert "accuracy" in said
    lines = [line for line in said.splitlines() if str(runs[0].parent) not in line]
    assert max(map(len, lines)) <= 80
