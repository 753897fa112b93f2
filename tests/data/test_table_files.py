"""Types of the columns of table files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.core.errors import DataError
from headstart.data.table_files import open_table

ROWS = 12_500

COLUMNS: dict[str, tuple[Callable[[int], str], dict[int, object]]] = {
    "empty at first": (lambda i: "late" if i == 11_000 else "", {0: None, 11_000: "late"}),
    "whole at first": (lambda i: "0.5" if i == 10_001 else str(i), {7: 7.0, 10_001: 0.5}),
    "digits at first": (lambda i: "A12" if i == 12_000 else "007", {0: "007", 12_000: "A12", 12_400: "007"}),
    "words at first": (lambda i: "x" if i == 0 else "007", {0: "x", 1: "007", 12_400: "007"}),
    "whole": (str, {0: 0, 12_400: 12_400}),
    "yes, no or neither": (lambda i: ("True", "False", "")[i % 3], {0: True, 1: False, 2: None, 12_000: True}),
}


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_the_type_of_a_column_is_that_of_all_its_cells(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    separator = "\t" if suffix == ".tsv" else ","
    names = [name.replace(",", "") for name in COLUMNS]
    lines = [separator.join(names)]
    lines += [separator.join(cell(i) for cell, _ in COLUMNS.values()) for i in range(ROWS)]
    (tmp_path / f"t{suffix}").write_text("\n".join(lines) + "\n")
    table = open_table(tmp_path / f"t{suffix}")
    assert len(table) == ROWS
    for name, (_, expected) in zip(names, COLUMNS.values(), strict=True):
        values = table.values(name)
        found = {row: values[row] for row in expected}
        assert found == expected, name
        assert list(map(type, found.values())) == list(map(type, expected.values())), name


def test_a_table_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "t.csv"
    table.write_text("text,label\na,b\n")

    def refuse(path: object, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match=r"t\.csv cannot be read: Permission denied"):
        open_table(table)
