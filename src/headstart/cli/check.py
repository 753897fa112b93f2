"""`headstart check`: are these data fit for fine-tuning?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from headstart.cli import fit_options
from headstart.cli.output import AsJson, console, print_json, working
from headstart.core.words import listed


@fit_options.without_training
def command(
    data: Annotated[str, typer.Argument(help="Labelled data, as for fit.")],
    model: Annotated[str, typer.Option("--model", metavar="REF", help="Whose features to look through.")] = "auto",
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Examine data before training: class sizes, copies, doubtful labels, outliers, a shift of the test part."""
    from headstart import verbs

    with working():
        found = verbs.check(data, model=model, **fit_options.typed(options))
    print_json(found) if as_json else print_findings(found)


def print_findings(found: Mapping[str, Any]) -> None:
    """The findings, most important first."""
    out = console()
    parts = ", ".join(f"{n:,} {part}" for part, n in found["parts"].items())
    out.print(f"{found['data']} ({parts}), seen by {found['model']} at {found['stage']}.")
    if found["put_aside"]:
        what = f"The {found['put_aside']:,} test samples are those that a fit would put aside"
        out.print(f"{what}: of their labels only which classes there are counts. --test names others.")
    out.print()
    if not found["findings"]:
        out.print("Nothing stands in the way.")
    for i, row in enumerate(found["findings"], start=1):
        out.print(f"{i}. {row['level']}, {row['topic']}: {row['text']}")
        if row["samples"]:
            out.print(f"   {listed(row['samples'], row['count'])}")
        if row["todo"]:
            out.print(f"   → {row['todo']}")
    out.print("\nMore of the samples: headstart check ... --json")
