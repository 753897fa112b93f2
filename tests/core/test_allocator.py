"""Memory that is freed stays with the process while it is asked to, and goes back afterwards."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from headstart.core.allocator import freed_memory_kept

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")

NUMBERS = 16 * 2**20
"""Of float32: 64 MiB, more than glibc's threshold can grow to."""


def faults(numbers: int = NUMBERS) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.zeros(numbers).add_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def test_blocks_are_used_again_within_it_only() -> None:
    with freed_memory_kept():
        faults()  # the heap grows to what is needed
        with freed_memory_kept():
            pass
        within = faults()  # leaving the inner one changed nothing
    after = faults()
    assert within < 0.1 * after


def test_nothing_is_kept_afterwards() -> None:
    before = resident()
    with freed_memory_kept():
        torch.zeros(4 * NUMBERS).add_(1.0)
        assert resident() - before > 2 * 4 * NUMBERS
    assert resident() - before < 4 * NUMBERS


def test_blocks_of_middle_size_are_still_used_again_afterwards() -> None:
    """As glibc does where nobody sets its thresholds; in a process of its own, which it has not adapted to yet."""
    code = """if True:
        from headstart.core.allocator import freed_memory_kept
        from test_allocator import faults
        with freed_memory_kept():
            pass
        faults(2**20)
        print(faults(2**20))
    """
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1000  # of 10,240 pages


def test_it_ends_with_an_error_too() -> None:
    with pytest.raises(ValueError, match="broken"), freed_memory_kept():
        raise ValueError("broken")
    assert faults() > 1000
