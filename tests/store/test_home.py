from __future__ import annotations

from pathlib import Path

import pytest

from headstart.store.home import cache_dir, home_dir


@pytest.mark.parametrize(("variable", "folder"), [("HEADSTART_HOME", home_dir), ("HEADSTART_CACHE", cache_dir)])
def test_the_environment_is_read_at_every_call(
    variable: str, folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "one"))
    assert folder() == tmp_path / "one"
    monkeypatch.setenv(variable, "~/two")
    assert folder() == Path.home() / "two"
    monkeypatch.setenv(variable, " ")
    assert folder().is_absolute()
    assert "headstart" in str(folder())
    assert not (tmp_path / "one").exists()
