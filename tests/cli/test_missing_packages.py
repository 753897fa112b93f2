"""A test that is skipped because a package is missing fails the session; other skips do not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("pytest.importorskip('no_such_package')\ndef test_x(): pass", 1),
        ("def test_x(): pytest.importorskip('no_such_package')\ndef test_y(): pass", 1),
        ("def test_x(): pytest.skip('no CUDA device here')\ndef test_y(): pass", 0),
    ],
    ids=["module", "test", "other reason"],
)
def test_a_skip_for_a_package_fails_the_session(tmp_path: Path, body: str, code: int) -> None:
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_it.py").write_text(f"import pytest\n{body}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert done.returncode == code, done.stdout
    assert ("this fails the session" in done.stdout) is bool(code)
