"""The whole program as it is typed: in a process of its own, or quicker in this one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch

from headstart.cli import failures
from headstart.cli.main import _run

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SHAPES = _load(TESTS / "verbs" / "shapes.py")


@pytest.fixture(scope="session")
def shapes() -> ModuleType:
    """The module that draws tiny pictures."""
    return SHAPES


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@dataclass
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Here = Callable[..., Said]


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    """`here(ARGUMENTS...)` runs a command line in this process."""

    def run(*arguments: object) -> Said:
        typed = [str(a) for a in arguments]
        capsys.readouterr()
        code = failures.guard(lambda: _run(typed), typed)
        caught = capsys.readouterr()
        return Said(code, caught.out, caught.err)

    return run


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the folder of the runs that a file's tests share: its own fixture `home`."""
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def refused(here: Here, tmp_path: Path) -> Callable[..., str]:
    """`refused(ARGUMENTS...)`: the message of a refused fit, after checking that it is one and leaves no run."""

    def run(*arguments: object) -> str:
        before = sorted(p for p in tmp_path.rglob("*"))
        said = here(*arguments)
        assert said.code == 2, said
        assert said.out == ""
        error = said.err[said.err.index("Error: ") :]
        assert "Traceback" not in said.err
        what, *hint = error.strip().splitlines()
        assert what.endswith((".", ":", "?")), what
        assert hint, f"no word on what to do: {error}"
        assert sorted(p for p in tmp_path.rglob("*")) == before
        return error

    return run


def environment(**more: str) -> dict[str, str]:
    """Of a process of its own: this source, one thread."""
    return {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", **more}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start(ARGUMENTS..., NAME=VALUE...)` starts `headstart` in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: object, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "headstart.cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd=tmp_path,
            env=environment(**more),
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
