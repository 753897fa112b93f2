from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from headstart.core import memory
from headstart.core.memory import peak_memory_mb


def test_it_is_a_peak() -> None:
    block = np.ones(60 << 17)  # 60 MB
    held = peak_memory_mb()
    del block
    assert peak_memory_mb() > held - 5  # Linux counts in batches
    assert 80 < held < 100_000


@pytest.mark.skipif(sys.platform != "linux", reason="the counter of a parent is inherited on Linux only")
def test_what_the_parent_had_is_not_counted() -> None:
    block = np.ones(400 << 17)  # 400 MB
    call = [sys.executable, "-c", "from headstart.core.memory import peak_memory_mb; print(peak_memory_mb())"]
    found = float(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
    assert len(block)
    assert 5 < found < 200


def test_without_the_file_the_other_counter_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(memory, "STATUS", tmp_path / "absent")
    assert peak_memory_mb() > 20
