"""Run folders for the tests of this room, made once for each kind."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from headstart.report.folder import RunFolder, read_run_folder
from headstart.report.render import page


def load_fixture() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_folders", Path(__file__).with_name("fixture.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FIXTURE = load_fixture()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[[str], Path]:
    """A fresh run folder of a kind, below a folder called runs."""
    return lambda kind: FIXTURE.KINDS[kind](tmp_path / "runs" / kind)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[RunFolder, str]]:
    """Run folder and page of a kind, made at most once; tests must not change the folder."""
    folder = tmp_path_factory.mktemp("all") / "runs"
    made: dict[str, tuple[RunFolder, str]] = {}

    def get(kind: str) -> tuple[RunFolder, str]:
        if kind not in made:
            run = read_run_folder(FIXTURE.KINDS[kind](folder / kind))
            made[kind] = (run, page(run))
        return made[kind]

    return get
