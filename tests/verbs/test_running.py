"""What every verb does around its work: one writer, nothing left of what failed, paths that stay valid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import headstart as hs
from headstart.core.errors import DataError, StoreError
from headstart.store.runfolder import RunFolder
from headstart.verbs.running import absolute, named_paths, tidy

HOLD = """
import sys
from pathlib import Path
from headstart.store.runfolder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_who_comes_second_leaves_the_first_ones_run_alone(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "run")
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    try:
        (folder.path / "half").mkdir()
        with pytest.raises(StoreError, match="in use by another process"), tidy(folder, [tmp_path]):
            raise AssertionError("two writers")
        assert (folder.path / "half").is_dir()
    finally:
        other.kill()
        other.communicate()


@pytest.mark.parametrize("there", [True, False])
def test_a_failed_start_leaves_only_what_was_there(tmp_path: Path, there: bool) -> None:
    root = tmp_path / "a"
    known = [root, tmp_path] if there else [tmp_path]
    folder = RunFolder.create(root / "b" / "run", "run")

    def work() -> None:
        folder.write_config({})
        (folder.path / "checkpoints").mkdir()
        raise DataError("No.", "Never.")

    with pytest.raises(DataError), tidy(folder, known):
        work()
    assert list(tmp_path.rglob("*")) == ([root] if there else [])


def test_what_was_measured_stays(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "run")

    def work() -> None:
        folder.write_config({})
        folder.step("probe", dict)
        raise DataError("No.", "Never.")

    with pytest.raises(DataError), tidy(folder, [tmp_path]):
        work()
    assert folder.config.exists()
    assert not folder.lock.exists()


def test_paths_mean_the_same_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert absolute("~/flowers") == absolute(Path("~/flowers")) == str(tmp_path / "flowers")
    assert absolute("flowers") == str(Path.cwd() / "flowers")
    assert absolute("sample:mnist5k") == "sample:mnist5k"
    assert named_paths({"a": "~/x", "b": "sample:mnist5k"}) == [f"a={tmp_path / 'x'}", "b=sample:mnist5k"]


def test_a_run_of_data_at_home_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shapes, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    shapes.folder(tmp_path / "train", 8)
    shapes.folder(tmp_path / "held", 4, start=40)
    run = hs.fit("~/train", test="~/held", **shapes.QUICK, strategy="probe", out=tmp_path / "run")
    config = yaml.safe_load((run.path / "config.yaml").read_text(encoding="utf-8"))
    assert (config["data"], config["test"]) == (str(tmp_path / "train"), str(tmp_path / "held"))
    (run.path / "report.json").unlink()
    assert hs.resume(run.path).metrics == run.metrics
