"""A run that is killed, anywhere, ends as one that never was: the same weights to the last bit, the same metrics."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

OPTIONS = (
    *("--model", "scratch:timm:test_resnet", "--image-size", "32", "--stage", "last", "--strategy", "lp-ft"),
    *("--epochs", "4", "--batch-size", "4", "--device", "cpu", "--seed", "3"),
    # What is measured of the machine may turn out otherwise in another run; a resumed run keeps what was measured.
    *("--precision", "float32", "--views", "fresh", "--engine", "torch"),
)
Start = Callable[..., "subprocess.Popen[str]"]
Condition = Callable[[Path], bool]


@pytest.fixture(scope="module")
def uninterrupted(shapes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data and the run that nobody stopped."""
    from headstart.cli.main import _run

    root = tmp_path_factory.mktemp("uninterrupted")
    shapes.folder(root / "p", 14)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert _run(["fit", "p", *OPTIONS, "--out", "run"]) == 0
    return root


def lines(run: Path, kind: str, fold: int | None) -> int:
    """Records of training so far."""
    path = run / "metrics.jsonl"
    if not path.exists():
        return 0
    whole = [line for line in path.read_text().splitlines() if line.endswith("}")]
    return sum(r["kind"] == kind and r["fold"] == fold for r in map(json.loads, whole))


MOMENTS: dict[str, Condition] = {
    "while screening": lambda run: (run / "data.json").exists(),
    "between the folds": lambda run: lines(run, "epoch", 0) >= 4,
    "inside an epoch, training on all": lambda run: lines(run, "step", None) >= 8,
    "while writing the model": lambda run: (run / "predictions.parquet").exists(),
}


def stop(process: subprocess.Popen[str], when: Condition, run: Path, how: int) -> None:
    """Send a signal at a moment."""
    end = time.monotonic() + 120
    while not when(run):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(how)


def same(a: Path, b: Path) -> None:
    for name in ("model.safetensors", "head.safetensors"):
        assert (a / "bundle" / name).read_bytes() == (b / "bundle" / name).read_bytes()
    tables = [pd.read_parquet(run / "predictions.parquet") for run in (a, b)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    reports = [json.loads((run / "report.json").read_text()) for run in (a, b)]
    for key in ("metrics", "baselines", "guard", "calibration", "strategy", "screen", "per_class"):
        assert reports[0][key] == reports[1][key], key
    records = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (a, b)]
    for one in (r for both in records for r in both):
        one.pop("seconds")
    assert records[0] == records[1]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of Unix")
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed(moment: str, uninterrupted: Path, start: Start, here: Any, tmp_path: Path) -> None:
    shutil.copytree(uninterrupted / "p", tmp_path / "p")
    process = start("fit", "p", *OPTIONS, "--out", "run")
    stop(process, MOMENTS[moment], tmp_path / "run", signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run" / "report.json").exists()
    said = here("predict", "run", "p/box/000.png")
    if not (tmp_path / "run" / "bundle" / "bundle.json").exists():
        assert said.code == 2
        assert "headstart resume run" in said.err
    said = here("resume", "run")
    assert said.code == 0, said
    same(tmp_path / "run", uninterrupted / "run")
    assert not list((tmp_path / "run").rglob("*.tmp"))
    again = here("resume", "run")
    assert again.code == 0
    assert "has ended already" in again.err


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of Unix")
def test_ctrl_c_says_how_to_go_on(uninterrupted: Path, start: Start, here: Any, tmp_path: Path) -> None:
    shutil.copytree(uninterrupted / "p", tmp_path / "p")
    process = start("fit", "p", *OPTIONS, "--out", "run")
    stop(process, lambda run: lines(run, "step", 0) >= 5, tmp_path / "run", signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "headstart resume run" in err
    assert "Traceback" not in err
    assert not (tmp_path / "run" / ".lock").exists()
    # Other data than those the run was started with are refused; the run stays as it was.
    picture = tmp_path / "p" / "box" / "000.png"
    whole = picture.read_bytes()
    shutil.copy(tmp_path / "p" / "disc" / "001.png", picture)
    said = here("resume", "run")
    assert said.code == 2
    assert "have changed since" in said.err
    picture.write_bytes(whole)
    assert here("resume", "run").code == 0
    same(tmp_path / "run", uninterrupted / "run")
