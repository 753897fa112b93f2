"""What fine-tuning did to what the network knew: nothing where nothing moved, told where it did."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax
from tests.verbs.test_fit_tasks import people
from tests.verbs.test_guard import save_timm

import headstart as hs
from headstart.verbs.forgetting import drift_of


def test_drift_is_zero_of_equal_answers_and_the_divergence_by_definition() -> None:
    r = np.random.default_rng(0)
    a, b = (log_softmax(r.normal(size=(50, 7)), axis=1) for _ in range(2))
    assert drift_of(a, a) == {"n": 50, "same": 1.0, "divergence": 0.0}
    p, q = np.exp(a), np.exp(b)
    assert drift_of(a, b)["divergence"] == pytest.approx(np.mean((p * np.log(p / q)).sum(1)))
    assert drift_of(a, b)["same"] == (a.argmax(1) == b.argmax(1)).mean()


def options(shapes: ModuleType, **more: Any) -> dict[str, Any]:
    return {**shapes.QUICK, "guard": "off", "examples": False, "augment": "none", "strategy": "full", **more}


def test_answers_of_the_pretrained_classifier_move_with_the_rate(shapes: ModuleType, tmp_path: Path) -> None:
    start = {"model": f"file:{save_timm(tmp_path / 'w.safetensors')}", "arch": "test_resnet"}
    found = {}
    for lr in (1e-12, 0.05):
        run = hs.fit(shapes.arrays(24), **options(shapes, **start, lr=lr), out=tmp_path / f"run{lr}")
        found[lr] = run.data["forgetting"]["drift"]
    assert found[1e-12]["same"] == 1.0
    assert found[1e-12]["divergence"] < 1e-4 < found[0.05]["divergence"]
    page = (tmp_path / "run0.05" / "report.html").read_text()
    assert "What it forgot" in page


def test_a_run_is_asked_about_its_own_test_part(shapes: ModuleType, tmp_path: Path) -> None:
    data = shapes.folder(tmp_path / "data", 30)
    first = hs.fit(data, **options(shapes, epochs=3), out=tmp_path / "first")
    other = shapes.folder(tmp_path / "other", 24, shapes.KINDS)
    more = options(shapes, model=f"run:{first.path}", lr=0.05)
    second = hs.fit(other, **more, out=tmp_path / "second")
    source = second.data["forgetting"]["source"]
    assert (source["part"], source["metric"]) == ("test", "accuracy")
    assert source["before"] == pytest.approx(first.metrics["test"]["accuracy"]["value"])
    assert source["n"] == first.data["data"]["parts"]["test"]
    still = hs.fit(other, **options(shapes, model=f"run:{first.path}", lr=1e-12), out=tmp_path / "still")
    assert still.data["forgetting"]["source"]["after"] == source["before"]
    assert "where the network comes from" in (second.path / "report.html").read_text()
    shutil.rmtree(data)  # without its data the run cannot be asked any more
    assert hs.fit(other, **more, out=tmp_path / "third").data["forgetting"] is None


def test_a_probe_forgets_nothing(shapes: ModuleType, tmp_path: Path) -> None:
    run = hs.fit(shapes.arrays(24), **options(shapes, strategy="probe"), out=tmp_path / "run")
    assert run.data["forgetting"] is None


def test_a_run_of_several_tasks_is_not_asked(shapes: ModuleType, tmp_path: Path) -> None:
    """It has no metric in one number; what starts from it must end all the same."""
    first = hs.fit(people(shapes, tmp_path), **options(shapes, labels=("kind", "even")), out=tmp_path / "first")
    second = hs.fit(shapes.arrays(24, start=50), **options(shapes, model=f"run:{first.path}"), out=tmp_path / "second")
    assert second.data["status"] == "finished"
    assert (second.data["forgetting"] or {}).get("source") is None
