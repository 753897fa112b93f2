"""`headstart cache`: what is kept of frozen networks' outputs, and how to remove it."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer

from headstart.cli.output import AsJson, console, print_json, print_table


class Action(StrEnum):
    """What to do with what is kept."""

    list = "list"
    prune = "prune"
    clear = "clear"


def command(
    action: Annotated[Action, typer.Argument(help="list; prune to the limit; or clear all.")] = Action.list,
    most: Annotated[
        float | None,
        typer.Option("--limit", min=0, metavar="GB", help="Most that prune leaves. (HEADSTART_CACHE_LIMIT, or 20)"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show or remove kept features: outputs of frozen networks that later runs read instead of computing them.

    Everything here can be computed again. Folders used least recently go first.
    """
    from headstart.features.cache import clear, entries, prune

    removed = action is not Action.list
    if not removed:
        found = entries()
    else:
        found = clear() if action is Action.clear else prune(None if most is None else int(most * (1 << 30)))
    rows = [
        {"key": e.key, "bytes": e.bytes, "used": e.used, **{k: e.about.get(k) for k in _ABOUT}, "removed": removed}
        for e in found
    ]
    if as_json:
        print_json(rows)
        return
    total = sum(e.bytes for e in found) / 1e6
    if found and not removed:
        print_table(
            ["model", "stage", "view", "MB", "used"],
            [
                (
                    str(e.about.get("model")),
                    _together(e.about.get("stage"), "grid" in e.about and f"grid {e.about['grid']}"),
                    _together(e.about.get("view"), e.about.get("engine")),
                    f"{e.bytes / 1e6:,.1f}",
                    time.strftime("%Y-%m-%d %H:%M", time.localtime(e.used)),
                )
                for e in found
            ],
            right=["MB"],
        )
    verb = "were removed" if removed else "are kept"
    console().print(f"{len(found):,} folders, {total:,.1f} MB {verb}.")


_ABOUT = ("model", "architecture", "stage", "grid", "view", "engine")


def _together(*parts: object) -> str:
    """What there is, with commas: solved probes have no view."""
    return ", ".join(str(part) for part in parts if part) or "–"
