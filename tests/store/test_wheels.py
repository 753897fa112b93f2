"""Fetching from wheels that are made here and given to pip in a folder."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from headstart.core.errors import StoreError
from headstart.store.wheels import Wheel, fetch_member, fetch_members, file_sha256, is_fetched

NAME = "headstart-made-up-package"
MEMBERS = {"made_up/data/a.txt": b"first", "made_up/data/b.txt": b"second"}


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one wheel, which is all that pip sees; HEADSTART_HOME is empty."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    with zipfile.ZipFile(folder / f"{NAME.replace('-', '_')}-1.0-py3-none-any.whl", "w") as wheel:
        info = f"{NAME.replace('-', '_')}-1.0.dist-info"
        for member, content in MEMBERS.items():
            wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "home"))
    return folder


def wheel_of(shelf: Path) -> Wheel:
    return Wheel(NAME, "1.0", file_sha256(next(shelf.glob("*.whl"))))


def test_a_member_is_fetched_once_and_repaired_when_damaged(shelf: Path, tmp_path: Path) -> None:
    wheel = wheel_of(shelf)
    assert not is_fetched(wheel, "made_up/data/a.txt")
    path = fetch_member(wheel, "made_up/data/a.txt")
    assert path.read_bytes() == b"first"
    assert is_fetched(wheel, "made_up/data/a.txt")
    assert not is_fetched(wheel, "made_up/data/b.txt")
    path.write_bytes(b"damaged")
    assert fetch_member(wheel, "made_up/data/a.txt").read_bytes() == b"first"
    next(shelf.glob("*.whl")).unlink()
    assert fetch_member(wheel, "made_up/data/a.txt") == path
    with pytest.raises(StoreError, match="Cannot fetch") as caught:
        fetch_member(wheel, "made_up/data/b.txt")
    assert "offline" in caught.value.hint


def test_wrong_hashes_keep_nothing(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="SHA-256"):
        fetch_member(Wheel(NAME, "1.0", "0" * 64), "made_up/data/a.txt")
    with pytest.raises(StoreError, match="SHA-256"):
        fetch_members(Wheel(NAME, "1.0"), {"made_up/data/a.txt": "0" * 64})
    with pytest.raises(StoreError, match="no member"):
        fetch_member(wheel_of(shelf), "made_up/data/c.txt")
    assert not [p for p in (tmp_path / "home").rglob("*") if p.is_file() and not p.name.endswith(".lock")]


def test_nothing_is_fetched_unpinned_or_out_of_the_folder(shelf: Path) -> None:
    with pytest.raises(ValueError, match="pin"):
        fetch_member(Wheel(NAME, "1.0"), "made_up/data/a.txt")
    for member in ("../escape.txt", "/etc/passwd"):
        with pytest.raises(ValueError, match="inside a wheel"):
            fetch_member(wheel_of(shelf), member)
