"""`headstart samples`: data to try things on."""

from __future__ import annotations

from typing import Any

from headstart.cli.output import AsJson, print_json, print_table, working


def command(as_json: AsJson = False) -> None:
    """List the samples: real data to try things on, fetched when first used."""
    from headstart.data import list_samples

    with working():
        rows = list_samples()
    if as_json:
        print_json(rows)
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    print_table(columns, [[_cell(row.get(name)) for name in columns] for row in rows])


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "–" if value is None else str(value)
