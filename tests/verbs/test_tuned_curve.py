"""--curve full: fine-tuning on nested subsets, scored on the same samples, part of the report."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

import headstart as hs


@pytest.mark.parametrize("given", [False, True], ids=["two folds", "a validation part"])
def test_the_curve_of_fine_tuning(given: bool, shapes: ModuleType, tmp_path: Path) -> None:
    more = {"valid": shapes.arrays(20, start=300)} if given else {}
    data = hs.load_data(shapes.arrays(40), test=shapes.arrays(8, start=500), **more)
    options = {**shapes.QUICK, "strategy": "full", "guard": "off", "examples": False, "curve": "full"}
    run = hs.fit(data, **options, out=tmp_path / "run")
    curve = run.data["tuned_curve"]
    whole = 80 if given else 40
    assert [p["n"] for p in curve["points"]] == [n for n in (whole // 8, whole // 4, whole // 2, whole) if n >= 8]
    tried = next(row for row in run.data["tried"] if row["name"] == "full")
    assert curve["points"][-1]["value"] == pytest.approx(tried["validation"]["value"])
    assert all(g["value"] >= 0 for g in curve["gains"])
    page = (run.path / "report.html").read_text()
    assert "To fine-tuning" in page
    assert any(name.startswith("curve") for name in run.data["cost"]["parts"])


def test_a_probe_has_no_curve_of_fine_tuning(shapes: ModuleType, tmp_path: Path) -> None:
    run = hs.fit(shapes.arrays(24), **shapes.QUICK, strategy="probe", curve="full", out=tmp_path / "run")
    assert run.data["tuned_curve"] is None
    assert "nothing was fine-tuned" in " ".join(run.data["strategy"]["reasons"])
