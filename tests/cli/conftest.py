"""Runs the command line: in a process of its own, as a user does, or quicker in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.cli import failures
from headstart.cli.main import _run

SOURCE = Path(__file__).parents[2] / "src"

Here = Callable[..., int]
Headstart = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def headstart(tmp_path: Path) -> Headstart:
    """`headstart(ARGUMENTS...)` in an empty folder: what it printed, and its exit code."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "headstart.cli", *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=120,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
        )

    return run


@pytest.fixture
def here() -> Here:
    """`here(ARGUMENTS...)` runs a command line in this process and returns its exit code."""

    def run(*arguments: str) -> int:
        return failures.guard(lambda: _run(list(arguments)), arguments)

    return run
