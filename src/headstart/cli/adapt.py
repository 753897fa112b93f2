"""`headstart adapt`: labelled source, unlabelled target; a model for the target, and how far to trust it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli import fit_options
from headstart.cli.config_file import read_config
from headstart.cli.outcome import print_estimate
from headstart.cli.output import (
    AsJson,
    console,
    interval,
    number,
    print_command,
    print_json,
    print_table,
    seconds,
    working,
)
from headstart.core.errors import ConfigError

TRAINING = frozenset(
    [
        "strategy",
        "epochs",
        "lr",
        "layer_decay",
        "batch_size",
        "schedule",
        "warmup",
        "weight_decay",
        "clip",
        "bn",
        "augment",
    ]
)
"""Options of how a method that moves the network trains."""

NAMES = (fit_options.WITHOUT_TRAINING | TRAINING | {"model", "arch", "vocabulary", "seeds", "out", "examples"}) - {
    "metric"
}
METHOD = "Method"


def _fit_options(command: Any) -> Any:
    return fit_options.with_fit_options(command, NAMES)


@_fit_options
def command(
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="DATA", help="Labelled data, as for fit; or none, and --model run:FOLDER."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="DATA", help="Data of the same kind; labels are not needed.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="A,B,...",
            help="See `headstart methods --kind adaptation`; A+B trains both (auto)",
            show_default=False,
            rich_help_panel=METHOD,
        ),
    ] = None,
    validator: Annotated[
        str | None,
        typer.Option(
            "--validator",
            metavar="NAME",
            help="What chooses: `headstart methods --kind validator` (infomax)",
            show_default=False,
            rich_help_panel=METHOD,
        ),
    ] = None,
    target_labels: Annotated[
        str | None,
        typer.Option(
            "--target-labels",
            metavar="DATA",
            help="A few labelled target samples: they choose instead.",
            show_default=False,
            rich_help_panel=METHOD,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Options from a YAML file; what is typed here beats it."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and what it would cost.")] = False,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Carry a network over from labelled data, or a run that learned them, to data without labels.

    Methods are tried on frozen features and on the network itself; a validator that needs no label of the target
    chooses, and refuses where none looks better than no adaptation. Labels that the target may have are masked.
    """
    own = {"source": source, "target": target, "method": method, "validator": validator, "target_labels": target_labels}
    given = fit_options.typed({**own, **options})
    if config is not None:
        given = {**read_config(config, [*own, *NAMES], [*own, *fit_options.TEXTS]), **given}
    data = [given.pop(name, None) for name in ("source", "target")]
    for name, value in zip(("source", "target"), data, strict=True):
        if value is None and (name == "target" or not str(given.get("model", "")).startswith("run:")):
            raise ConfigError(
                f"There is no {name}.",
                "headstart adapt --source LABELLED --target UNLABELLED; without the source's data: "
                "headstart adapt --model run:FOLDER --target UNLABELLED",
            )
    from headstart.verbs.domain.options import make_adapt_options

    make_adapt_options(given)  # a mistake is said now, before anything heavy is imported
    from headstart import verbs

    if dry_run:
        with working():
            estimate = verbs.estimate_adaptation(*data, **given)
        print_json(estimate) if as_json else print_estimate(estimate)
        return
    with working():
        run = verbs.adapt(*data, **given)
    print_adaptation(run, as_json)


def print_adaptation(run: Any, as_json: bool) -> None:
    """What a person reads after `adapt`."""
    if as_json:
        print_json({**run.data, "run": str(run.path)})
        return
    data, out = run.data, console()
    a = data["adaptation"]
    if a["refused"]:
        out.print(a["refused"])
    out.print(
        f"{data['data']['name']}: {data['model']['reference']}, {data['strategy']['name']}, in "
        f"{seconds(data['cost']['seconds'])}."
    )
    if a["shift"] is not None:
        out.print(f"- {a['shift']['text']}")
    else:
        out.print("- The source's data were not given: how far the domains lie apart is not known.")
    if not a["refused"]:
        out.print(f"- {data['strategy']['reasons'][0]}")
    out.print()
    _print_attempts(a)
    if over := a.get("over_seeds"):
        out.print()
        _print_seeds(over)
    if a["verdict"] is not None:
        gap = a["verdict"]["gap"]
        out.print()
        out.print(
            f"Did adapting help? {a['verdict']['verdict']}, by the oracle: {gap['value']:+.3f} in accuracy against "
            f"{a['verdict']['compared_with']} (95% interval {gap['low']:+.3f} to {gap['high']:+.3f})."
        )
    else:
        out.print()
        out.print("The target has no labels: how right the answers are is not known. --target-labels takes a few.")
    for note in data["data"]["notes"]:
        if note["level"] == "warning" or note["topic"] == "target":
            out.print(f"Note: {note['text']}")
    out.print()
    folder = shlex.quote(str(run.path))
    out.print(f"Report: {run.path / 'report.html'}", soft_wrap=True)
    out.print(f"Model:  {run.path / 'bundle'}", soft_wrap=True)
    out.print("Next:")
    print_command(f"headstart predict {folder} DATA")


def _print_attempts(a: Mapping[str, Any]) -> None:
    oracle = any(row["oracle"] for row in a["attempts"])
    columns = ["", a["validator"], *(["target (oracle)", "95% interval"] if oracle else []), "time"]
    rows = [
        (
            ("* " if row["taken"] else "  ") + row["method"],
            "–" if row["decided_by"] is None else number(row["decided_by"]),
            *((number(row["oracle"]["value"]), interval(row["oracle"])) if oracle else ()),
            seconds(row["seconds"]),
        )
        for row in a["attempts"]
    ]
    print_table(columns, rows, right=columns[1:])


def _print_seeds(over: Mapping[str, Any]) -> None:
    """Every method over the seeds."""
    oracle = any(row["oracle"] for row in over["attempts"])
    rows = [
        (
            ("* " if row["method"] == over["method"] else "  ") + row["method"],
            f"{row['picked']} of {len(over['runs'])}",
            _spread(row["decided_by"]),
            *((_spread(row["oracle"]),) if oracle else ()),
        )
        for row in over["attempts"]
    ]
    columns = ["", "picked", over["by"], *(["target (oracle)"] if oracle else [])]
    print_table(columns, rows, right=columns[1:])
    console().print("Means over the seeds, and 95% intervals of these.")
    console().print()
    console().print(over["text"])


def _spread(found: Mapping[str, Any]) -> str:
    return f"{number(found['mean'])} ({interval(found)})"
