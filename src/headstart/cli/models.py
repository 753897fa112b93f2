"""`headstart models`: which pretrained models there are."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Annotated, Any

import typer

from headstart.cli.output import AsJson, console, millions, print_json, print_table, working


def command(
    query: Annotated[str | None, typer.Argument(help="Part of a name, such as resnet.")] = None,
    as_json: AsJson = False,
) -> None:
    """List pretrained models (size is in millions of parameters); QUERY searches all that are known."""
    from headstart.models import list_models

    with working():
        rows = list_models(query, everything=query is not None)
    if as_json:
        print_json(rows)
        return
    if not rows:
        console().print(f"No model's name holds {query!r}.")
        return
    print_table(
        ["reference and source", "size", "input", "licence", "offline"],
        [
            (
                f"{row['reference']}\n{_indented(row.get('source') or '–')}",
                millions(row.get("parameters")),
                _input(row),
                str(row.get("licence") or "–"),
                "yes" if row.get("offline") else "no",
            )
            for row in rows
        ],
        right=["size", "input"],
    )
    if query is None:
        console().print("\nMore of timm by a part of the name, such as: headstart models resnet50")


def _indented(text: str) -> str:
    return fill(text, 34, initial_indent="  ", subsequent_indent="  ")


def _input(row: Mapping[str, Any]) -> str:
    """How large inputs may be: the side of a picture, or tokens of a text."""
    if row.get("tokens"):
        return f"{row['tokens']} tokens"
    return f"{row['image_size']} px" if row.get("image_size") else "–"
