from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headstart.report.folder import read_run_folder
from headstart.report.render import page
from headstart.report.sections.seeds import seeds

OVER: dict[str, Any] = {
    "part": "test",
    "best": 1,
    "runs": [
        {"seed": 0, "run": "seed-0", "strategy": "lp-ft", "validation": 0.961, "test": 0.958, "seconds": 61.0},
        {"seed": 1, "run": "seed-1", "strategy": "lp-ft", "validation": 0.972, "test": 0.969, "seconds": 60.0},
    ],
    "metrics": {
        "validation": {"accuracy": {"mean": 0.9665, "std": 0.0078, "low": 0.8966, "high": 1.0}},
        "test": {
            "auroc": {"mean": None, "std": None, "low": None, "high": None},
            "accuracy": {"mean": 0.9635, "std": 0.0078, "low": 0.8936, "high": 1.0},
            "log_loss": {"mean": 0.1234, "std": 0.0123, "low": 0.0, "high": 0.2345},
        },
    },
    "gaps": [
        {
            "baseline": "linear_probe",
            "value": 0.051,
            "low": -0.013,
            "high": 0.115,
            "seed_error": 0.0,
            "sample_error": 0.012,
        },
        {"baseline": "majority", "value": None, "low": None, "high": None, "seed_error": None, "sample_error": None},
    ],
}


def test_seeds_metrics_and_gaps_are_shown(make_run: Callable[[str], Path]) -> None:
    folder = make_run("digits")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    report["over_seeds"] = OVER
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    run = read_run_folder(folder)
    values = seeds(run)[0].values
    assert [row["kept"] for row in values["runs"]] == [False, True]
    assert [row["title"] for row in values["metrics"]] == ["Accuracy", "AUROC", "Log loss"]
    assert values["metrics"][0]["cells"] == [("96.7% ± 0.8", "89.7% to 100.0%"), ("96.4% ± 0.8", "89.4% to 100.0%")]
    assert values["metrics"][1]["cells"] == [("–", ""), ("–", "")]
    assert values["metrics"][2]["cells"][1] == ("0.1234 ± 0.012", "0 to 0.2345")
    (gap,) = values["gaps"]
    assert (gap["value"], gap["range"], gap["of_seeds"], gap["of_samples"]) == ("+5.1", "-1.3 to +11.5", "0.0", "1.2")
    html = page(run)
    assert 'id="seeds"' in html
    assert "Seed 1 is the best on validation" in html


def test_one_seed_has_no_section(pages: Callable[[str], Any]) -> None:
    run, html = pages("digits")
    assert seeds(run) == []
    assert 'id="seeds"' not in html
