"""What holds for every test: an own cache, few threads, and no skips because a package is missing."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import pytest

# Before anything imports torch. Fetched samples (HEADSTART_HOME) are used again; what can be computed is not.
os.environ.setdefault("OMP_NUM_THREADS", "2")
_cache = tempfile.mkdtemp(prefix="headstart-test-cache-")
os.environ["HEADSTART_CACHE"] = _cache

_MISSING = ("could not import", "no module named")
_skipped_for_a_package: list[str] = []


def _note_skip(report: Any) -> None:
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if any(words in reason.lower() for words in _MISSING):
        _skipped_for_a_package.append(f"{report.nodeid}: {reason}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note_skip(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note_skip(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """`make setup` installs all that the tests need, so a test skipped for a package is a fault of it."""
    if _skipped_for_a_package:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _skipped_for_a_package:
        terminalreporter.section("skipped because a package is missing: this fails the session")
        for line in _skipped_for_a_package:
            terminalreporter.line(line)


def pytest_unconfigure() -> None:
    shutil.rmtree(_cache, ignore_errors=True)
