"""`headstart report`: write report.html again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstart.cli.output import AsJson, console, print_json, working


def command(
    run: Annotated[Path, typer.Argument(help="The run folder, such as runs/flowers.")],
    as_json: AsJson = False,
) -> None:
    """Write the report of a run again, from what the run has stored."""
    from headstart import verbs

    with working():
        page = verbs.report(run)
    if as_json:
        print_json({"report": str(page), "run": str(run)})
    else:
        console().print(str(page), soft_wrap=True)
