"""`headstart fit`: data in, model and report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli import fit_options
from headstart.cli.config_file import read_config
from headstart.cli.outcome import print_estimate, print_outcome
from headstart.cli.output import AsJson, print_json, working
from headstart.core.errors import ConfigError

NOT_IN_A_FILE = ("data",)
"""Keys of a configuration file that are no options but arguments."""


@fit_options.with_fit_options
def command(
    data: Annotated[
        str | None,
        typer.Argument(help="A folder of pictures by class, a table (CSV, JSONL, Parquet) or sample:NAME."),
    ] = None,
    named: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="NAME=PATH", help="Several data sets with tasks of their own; repeat it."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Options from a YAML file; what is typed here beats it."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and what it would cost.")] = False,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Fine-tune a pretrained network on your data.

    Model and strategy are chosen by what they reach on validation data. The test part is read once,
    at the end.
    """
    given = fit_options.typed(options)
    source: str | list[str] | None = data or named
    if data and named:
        raise ConfigError("Data are named twice.", "Name one data set as the argument, or several with --data.")
    for text in named or ():
        if "=" not in text:
            raise ConfigError(
                f"--data {text} has no name.",
                f"Several data sets are given as --data NAME=PATH each; one is the argument: headstart fit {text}",
            )
    if config is not None:
        from_file = _from_file(config)
        source = source or from_file.pop("data", None)
        given = {**from_file, **given}
        given.pop("data", None)
    if source is None:
        raise ConfigError("There is nothing to learn from.", "Name the data: headstart fit FOLDER (or sample:mnist5k).")
    from headstart.verbs.options import make_options

    make_options(given)  # a mistake is said now, before anything heavy is imported
    from headstart import verbs

    if dry_run:
        with working():
            estimate = verbs.estimate(source, **given)
        print_json(estimate) if as_json else print_estimate(estimate)
        return
    with working():
        run = verbs.fit(source, **given)
    print_outcome(run, as_json)


def _from_file(path: Path) -> dict[str, Any]:
    known = [*NOT_IN_A_FILE, *(row.name for row in fit_options.ROWS)]
    from_file = read_config(path, known, fit_options.TEXTS)
    if isinstance(from_file.get("labels"), str):
        from_file["labels"] = fit_options.columns(from_file["labels"])
    if not isinstance(from_file.get("data", ""), str):
        raise ConfigError(f"{path}: data must be a path or sample:NAME.", "Put it in quotes.")
    return from_file
