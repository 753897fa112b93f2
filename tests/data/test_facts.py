"""What is remembered about picture files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data import facts
from headstart.data.facts import Facts, scan_files
from headstart.data.pictures import BadPicture, decode


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def refuse(*_: object, **__: object) -> np.ndarray:
    raise BadPicture("it may not be read (permission denied)")


def test_a_problem_that_has_passed_is_forgotten(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "decode", refuse)
    assert scan_files([picture])[0].problem
    monkeypatch.setattr(facts, "decode", decode)
    known = scan_files([picture])[0]
    assert known.size == (3, 4)
    # What is known to be good is not read again.
    monkeypatch.setattr(facts, "decode", refuse)
    assert scan_files([picture]) == [known]


def test_a_problem_that_an_earlier_version_wrote_down_is_not_believed(picture: Path) -> None:
    memory = facts._Memory()
    memory.write({facts._stamp(picture): Facts(problem="it may not be read (permission denied)")})
    memory.close()
    assert not scan_files([picture])[0].problem
