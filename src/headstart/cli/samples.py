"""`headstart samples`: data to try things on."""

from __future__ import annotations

from collections.abc import Mapping
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
    print_table(["name", "what"], [(f"sample:{row['name']}", _what(row)) for row in rows])


def _what(row: Mapping[str, Any]) -> str:
    """Size and task, source and licence, a line each."""
    facts = [f"{row['samples']:,} samples", str(row["task"])]
    if row.get("classes"):
        facts.append(f"{row['classes']} classes")
    facts.append("on this machine" if row.get("fetched") else "fetched when first used")
    return "\n".join([", ".join(facts), f"Source: {row['source']}.", f"Licence: {row['licence']}.", ""])
