"""Memory that is freed and wanted again a moment later stays with the process."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt(3), from glibc's malloc.h. Setting any of them ends glibc's own adapting of the thresholds, so
# that afterwards they are set to where that ends: else every block of more than 128 KiB would be mapped anew.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
USUAL_TRIM, USUAL_THRESHOLD, USUAL_MMAPS = 64 * 2**20, 32 * 2**20, 65_536
NEVER = -1

_lock = threading.Lock()
_users = 0


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within it, freed blocks are not given back to the system; nothing is kept afterwards.

    glibc maps every block of more than a few MiB anew and returns it when it is freed, so that a training step on a
    CPU, whose activations are such blocks, takes a page fault per 4 KiB of each: a third of the time of a step was
    measured. Where the C library is another one, or memory is allocated by something else, this does nothing.

    Sources
    -------
    mallopt(3), M_MMAP_MAX and M_TRIM_THRESHOLD; malloc_trim(3).
    """
    global _users
    libc = _glibc()
    if libc is None:
        yield
        return
    with _lock:
        _users += 1
        if _users == 1:
            libc.mallopt(MMAP_MAX, 0)
            libc.mallopt(TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                libc.mallopt(MMAP_MAX, USUAL_MMAPS)
                libc.mallopt(MMAP_THRESHOLD, USUAL_THRESHOLD)
                libc.mallopt(TRIM_THRESHOLD, USUAL_TRIM)
                libc.malloc_trim(0)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has no such thing
        return None
    return libc if hasattr(libc, "gnu_get_libc_version") else None
