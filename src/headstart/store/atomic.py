"""Files that are either whole or not there: written under a temporary name, synced, then renamed."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from headstart.core.errors import StoreError

_HINTS = {
    errno.ENOSPC: "The disk is full: free some space, or write to another disk.",
    errno.EDQUOT: "Your disk quota is used up: free some space, or write to another disk.",
    errno.EACCES: "You may not write there: choose another folder, or change its permissions.",
    errno.EPERM: "You may not write there: choose another folder, or change its permissions.",
    errno.EROFS: "That disk is read-only: choose another folder.",
    errno.ENOTDIR: "A part of that path is a file, not a folder: choose another path.",
    errno.EISDIR: "There is a folder of that name: choose another path.",
    errno.ENAMETOOLONG: "The name is too long for this disk: choose a shorter one.",
}


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; what is written there becomes `path` at the end.

    The folder is created where it is missing. On any error the temporary file is removed and an existing
    `path` stays as it was.

    Raises
    ------
    StoreError
        If the disk refuses (full, read-only, no permission), saying what to do.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise store_error(error, path) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def reserve(path: str | Path, size: int) -> None:
    """Take the room of a file now: one mapped to memory that outgrows the disk would kill the process.

    Raises
    ------
    StoreError
        Where there is not so much.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise store_error(error, Path(path)) from error


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file atomically; `StoreError` if the disk refuses."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


def write_text(path: str | Path, content: str) -> None:
    """Write a whole UTF-8 file atomically; `StoreError` if the disk refuses."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: str | Path, content: Any) -> None:
    """Write strict JSON atomically: NaN and infinity raise `ValueError` before anything is written."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def copy_stream(source: BinaryIO, path: str | Path) -> None:
    """Copy an open binary stream to `path` atomically; `StoreError` if the disk refuses."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        while chunk := source.read(1 << 20):
            file.write(chunk)


def store_error(error: OSError, path: Path) -> StoreError:
    """The message for a disk that refused to write `path`."""
    reason = error.strerror or str(error)
    hint = _HINTS.get(error.errno or 0, "Choose another folder, or check that disk.")
    return StoreError(f"Cannot write {path}: {reason}.", hint)


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    # There is no way to read the mask without setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
