"""`headstart resume`: go on with a run that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstart.cli.outcome import print_outcome
from headstart.cli.output import AsJson, working


def command(
    run: Annotated[Path, typer.Argument(help="The run folder, such as runs/flowers.")],
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was stopped or killed; it ends as if it had never been."""
    from headstart import verbs

    with working():
        done = verbs.resume(run)
    print_outcome(done, as_json)
