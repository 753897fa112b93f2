"""`headstart demo`: real weights, real digits, a report at the end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from headstart.cli.outcome import print_outcome
from headstart.cli.output import AsJson, working
from headstart.core.errors import StoreError

DATA, MODEL = "sample:mnist5k", "sample:efficientnet_lite0"


def command(
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FOLDER", help="The run folder; an earlier demo in it is replaced."),
    ] = Path("runs/demo"),
    as_json: AsJson = False,
) -> None:
    """Fine-tune ImageNet weights on 4,000 handwritten digits and write a report."""
    _clear(out)
    from headstart import verbs

    with working():
        run = verbs.fit(DATA, model=MODEL, out=out)
    print_outcome(run, as_json)


def _clear(folder: Path) -> None:
    """Remove an earlier demo; refuse a folder that holds anything else."""
    if not folder.exists():
        return
    if not _is_demo(folder):
        raise StoreError(f"{folder} exists and is no earlier demo.", "Name another folder with --out.")
    shutil.rmtree(folder)


def _is_demo(folder: Path) -> bool:
    import yaml

    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(config, dict) and config.get("data") == DATA
