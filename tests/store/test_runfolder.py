"""The run folder: one writer, nothing overwritten, steps computed once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.core.errors import StoreError
from headstart.store.runfolder import JsonLines, RunFolder


def test_a_taken_folder_is_refused(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError) as caught:
        RunFolder.create(taken, "run")
    assert str(taken) in str(caught.value)
    assert [p.name for p in taken.iterdir()] == ["thesis.tex"]


def test_an_empty_or_missing_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert RunFolder.create(tmp_path / "empty", "x").path == tmp_path / "empty"
    assert RunFolder.create(tmp_path / "a" / "b", "x").path.is_dir()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        RunFolder.create(tmp_path / "file", "x")
    with pytest.raises(StoreError, match="file"):
        RunFolder.create(tmp_path / "file" / "below", "x")


def test_names_are_numbered_and_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = [RunFolder.create(None, name).path for name in ("my photos/", "my photos/", "../..", "sample:mnist5k")]
    assert [p.as_posix() for p in made] == ["runs/my-photos", "runs/my-photos-2", "runs/run", "runs/sample-mnist5k"]
    assert all(p.resolve().parent == tmp_path / "runs" for p in made)


def test_other_folders_are_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="is not a run folder"):
        RunFolder.existing(tmp_path)
    folder = RunFolder.create(None, "flowers")
    folder.write_config({"model": "sample:efficientnet_lite0", "name": "Blüten"})
    assert RunFolder.existing(folder.path).read_config() == {"model": "sample:efficientnet_lite0", "name": "Blüten"}
    with pytest.raises(StoreError, match="Runs here: runs/flowers"):
        RunFolder.existing("runs/flower")


HOLD = """
import sys
from pathlib import Path
from typing import Any
from headstart.store.runfolder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_writer_is_kept_out(tmp_path: Path) -> None:
    """The lock is held by another process, and falls when that process is killed."""
    folder = RunFolder.create(tmp_path / "run", "run")
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    try:
        with pytest.raises(StoreError, match="in use by another process"), folder.locked():
            raise AssertionError("locked twice")
    finally:
        other.kill()
        other.communicate()
    with folder.locked():
        pass


def test_the_lock_is_released_when_work_fails(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "run")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), folder.locked():
            raise ZeroDivisionError
    assert list(folder.path.iterdir()) == []


def test_steps_are_computed_once(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "run")
    calls = []

    def compute() -> dict[str, object]:
        calls.append(1)
        return {"features": torch.arange(3), "pair": (1, 2)}

    # The first answer already is what a resumed run reads: tuples have become lists.
    first, again = folder.step("screen", compute), RunFolder(folder.path).step("screen", compute)
    assert len(calls) == 1
    assert first["pair"] == again["pair"] == [1, 2]
    assert torch.equal(first["features"], again["features"])
    assert folder.has_step("screen")
    assert not folder.has_step("probe")

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.step("probe", fail)
    assert not folder.has_step("probe")


def test_checkpoints_are_cleared_and_what_a_killed_process_left(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "run")
    folder.step("probe", dict)
    half = folder.steps / ".answers.safetensors.x1.tmp"
    half.write_bytes(b"half")
    folder.checkpoint("lp-ft").write_bytes(b"x")
    assert folder.checkpoint("lp-ft").parent == folder.checkpoints
    folder.clear_checkpoints()
    folder.clear_checkpoints()
    assert not folder.checkpoints.exists()
    assert not half.exists()
    assert folder.has_step("probe")


def test_metrics_are_rewound(tmp_path: Path) -> None:
    """A resumed run overwrites what its checkpoint does not know, a half-written line included."""
    log = JsonLines(tmp_path / "metrics.jsonl")
    assert log.position() == 0
    log.rewind(0)
    log.write({"step": 0})
    log.write({"step": 1, "phase": "köpfe"})
    mark = log.position()
    log.write({"step": 2})
    with open(log.path, "a") as file:
        file.write('{"step": 3, "lo')
    log.rewind(mark)
    log.write({"step": 2, "again": True})
    lines = log.path.read_text(encoding="utf-8").splitlines()
    import json

    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2]
    assert json.loads(lines[2])["again"]


def test_reports_round_trip(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "run")
    report = {"schema": 1, "task": {"classes": ["ä", "b"]}, "metrics": {"test": {"auroc": None}}}
    folder.write_report(report)
    assert folder.read_report() == report


def test_two_starts_at_once_get_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    real, others = Path.mkdir, [Path("runs/flowers"), Path("runs/flowers-2")]

    def late(path: Path, *arguments: Any, **named: Any) -> None:
        """Another process is quicker, twice."""
        if path in others:
            others.remove(path)
            real(path, parents=True)
        real(path, *arguments, **named)

    monkeypatch.setattr(Path, "mkdir", late)
    assert RunFolder.create(None, "flowers").path == Path("runs/flowers-3")


def test_runs_that_cannot_be_made_are_no_endless_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").symlink_to("nowhere")
    with pytest.raises(StoreError, match="Cannot write"):
        RunFolder.create(None, "flowers")
