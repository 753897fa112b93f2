"""ULMFiT on the command line: the target's language first, then the labels, and neither is lost to a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.verbs.words_and_curves import reviews


def report_of(run: str) -> dict[str, Any]:
    return json.loads((Path(run) / "report.json").read_text(encoding="utf-8"))


def test_ulmfit_learns_the_language_first_and_then_unfreezes_from_the_top(here: Any, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv", 32)
    arch = ("--arch", "layers=2,width=12,words=200")
    # --epochs is for the labelled part.
    options = ("--model", "scratch:awd-lstm", *arch, "--epochs", "4", "--max-length", "16", "--strategy", "ulmfit")
    said = here("fit", "t.csv", *options, "--out", "run", "--json")
    assert said.code == 0, said
    phases = json.loads(said.out)["strategy"]["phases"]
    assert [p["objective"] for p in phases] == ["pretraining", *["supervised"] * 4]
    assert [len(p["rates"]) for p in phases[1:]] == [1, 2, 3, 4]
    assert {p["schedule"] for p in phases} == {"slanted-triangular"}
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    run = dict.fromkeys(r["phase"] for r in records if r["kind"] == "step")
    assert list(run) == ["target texts", "head", "last 1", "last 2", "all"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of Unix")
def test_a_fit_that_was_killed_ends_as_one_that_was_not(
    start: Callable[..., subprocess.Popen[str]], here: Any, tmp_path: Path
) -> None:
    """Killed in the language modelling of ulmfit, the part that text alone has."""
    reviews(tmp_path / "t.csv", 40)
    arch = ("--arch", "layers=1,width=12,words=200", "--epochs", "2", "--max-length", "16", "--device", "cpu")
    options = ("fit", "t.csv", "--model", "scratch:awd-lstm", *arch, "--strategy", "ulmfit")
    options += ("--precision", "float32", "--views", "fresh", "--engine", "torch")
    assert here(*options, "--out", "whole").code == 0
    process = start(*options, "--out", "killed")
    log, end = tmp_path / "killed" / "metrics.jsonl", time.monotonic() + 120
    while not (log.exists() and log.read_text().count('"step"') >= 4):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "report.json").exists()
    assert here("resume", "killed").code == 0
    for name in ("model.safetensors", "head.safetensors"):
        assert (tmp_path / "killed/bundle" / name).read_bytes() == (tmp_path / "whole/bundle" / name).read_bytes()
    whole, resumed = report_of("whole"), report_of("killed")
    for key in ("data", "metrics", "strategy", "worst", "importance", "guard", "model"):
        assert whole[key] == resumed[key], key
