"""Data flow one way: a room imports only from rooms above it in docs/house.md, and strategies never each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = re.findall(r"^\| `(\w+)/` \|", (ROOT / "docs" / "house.md").read_text(encoding="utf-8"), flags=re.M)
FILES = sorted((ROOT / "src" / "headstart").glob("*/**/*.py"))


def imported_rooms(tree: ast.AST) -> set[str]:
    """Rooms imported when the program runs: what stands under TYPE_CHECKING is only read by type checkers."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        found |= imported_rooms(node)
    return found


def test_the_page_names_every_room() -> None:
    assert set(ROOMS) == {p.name for p in (ROOT / "src" / "headstart").iterdir() if (p / "__init__.py").exists()}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT / "src" / "headstart").as_posix())
def test_a_room_imports_only_from_rooms_above(path: Path) -> None:
    room = path.relative_to(ROOT / "src" / "headstart").parts[0]
    modules = imported_rooms(ast.parse(path.read_text(encoding="utf-8")))
    rooms = {m.split(".")[1] for m in modules if m.startswith("headstart.") and m.split(".")[1] in ROOMS}
    below = {r for r in rooms if ROOMS.index(r) > ROOMS.index(room)}
    assert not below
