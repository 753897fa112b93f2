"""`headstart shift`: how far two data sets lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli import fit_options
from headstart.cli.output import AsJson, console, print_command, print_json, print_table, working

NAMES = (fit_options.WITHOUT_TRAINING | {"model", "arch"}) - {"metric"}


def _options(command: Any) -> Any:
    return fit_options.with_fit_options(command, NAMES)


@_options
def command(
    source: Annotated[str, typer.Argument(help="Labelled data, as for fit.")],
    target: Annotated[str, typer.Argument(help="Data of the same kind; labels are not needed.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write shift.json and shift.html.")
    ] = None,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Measure how far data without labels lie from labelled data.

    On frozen features, where a probe reads the labels best: distances, a test, class by class, and what the
    shares of the classes would be.
    """
    from headstart import verbs

    with working():
        found = verbs.shift(source, target, out=out, **fit_options.typed(options))
    if as_json:
        print_json(found)
        return
    print_shift(found)
    if out is not None:
        console().print(f"Page: {out / 'shift.html'}", soft_wrap=True)


def print_shift(found: Mapping[str, Any]) -> None:
    """Verdict, distances, classes."""
    from headstart.report.sections.adaptation import distances

    out, n = console(), found["samples"]
    grid = f", {found['grid']}×{found['grid']}" if found["grid"] > 1 else ""
    out.print(
        f"{found['source']} ({n['source']:,}) and {found['target']} ({n['target']:,}), on {found['model']}, "
        f"{found['stage']}{grid}."
    )
    out.print(found["text"])
    out.print()
    print_table(
        ["distance", "value", "what it is"], [(t, v[0], w) for t, v, w in distances(found["distances"])], ["value"]
    )
    out.print()
    shares, place = found["shares"], {name: i for i, name in enumerate(found["class_names"])}
    rows = [
        (
            c["class"],
            f"{c['source']:,}",
            f"{c['target']:,}",
            "–" if c["moved"] is None else f"{c['moved']:.2f}",
            f"{shares['bbse'][place[c['class']]]:.1%}",
            f"{shares['em'][place[c['class']]]:.1%}",
        )
        for c in found["classes"]
    ]
    columns = ["class", "source", "answers", "moved", "BBSE", "EM"]
    print_table(columns, rows, right=columns[1:])
    out.print(
        "\nanswers: what a probe of the source says of the target. moved: in distances between classes. BBSE, EM: "
        "shares of the classes in the target, if nothing else differs."
    )
    out.print("Next:")
    print_command(f"headstart adapt --source {found['source']} --target {found['target']}")
