"""How much memory a process took."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory_mb() -> float:
    """The most resident memory of this process so far, in MB; 0.0 where the system does not tell.

    Of Linux's two counters `ru_maxrss` begins at what the parent had when it started this process (a notebook with a
    large data set, say); the one in /proc is the process's own.
    """
    with suppress(OSError, ValueError, StopIteration):
        lines = STATUS.read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0.0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1024**2 if sys.platform == "darwin" else most / 1024
