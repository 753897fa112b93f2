"""`demo` replaces an earlier demo and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.cli import demo
from headstart.core.errors import StoreError


def test_an_earlier_demo_is_removed(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "config.yaml").write_text(f"data: {demo.DATA}\nseed: 0\n")
    (tmp_path / "demo" / "report.html").write_text("old")
    demo._clear(tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("config", [None, "data: photos/\n", "- data\n", "data: [\n", b"\xff"])
def test_anything_else_is_refused_and_kept(tmp_path: Path, config: str | bytes | None) -> None:
    (tmp_path / "thesis.txt").write_text("dear")
    if config is not None:
        (tmp_path / "config.yaml").write_bytes(config if isinstance(config, bytes) else config.encode())
    with pytest.raises(StoreError, match="no earlier demo"):
        demo._clear(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "dear"


def test_no_folder_is_nothing_to_do(tmp_path: Path) -> None:
    demo._clear(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
