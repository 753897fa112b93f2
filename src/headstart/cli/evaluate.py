"""`headstart evaluate`: how good a model is on other labelled data."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headstart.cli.fit_options import columns
from headstart.cli.output import AsJson, console, interval, number, print_json, print_table, working


def command(
    model: Annotated[str, typer.Argument(metavar="RUN", help="A run folder or a bundle.")],
    data: Annotated[str, typer.Argument(help="Labelled data, as for fit.")],
    image: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of image paths (tables).")] = None,
    text: Annotated[str | None, typer.Option(metavar="A[,B]", help="Column of texts, or two for pairs.")] = None,
    series: Annotated[str | None, typer.Option(metavar="A,B,...", help="Channels of a long table.")] = None,
    id: Annotated[str | None, typer.Option(metavar="COLUMN", help="Which series a row belongs to.")] = None,
    time: Annotated[str | None, typer.Option(metavar="COLUMN", help="What orders a series' rows.")] = None,
    window: Annotated[str | None, typer.Option(metavar="LENGTH", help="Cut recordings, as for fit.")] = None,
    stride: Annotated[str | None, typer.Option(metavar="LENGTH", help="From window to window.")] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="Label column (tables).")] = None,
    labels: Annotated[str | None, typer.Option(metavar="A,B,...", help="Several label columns (tables).")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on labelled data that it has not seen."""
    several = {"text": text, "series": series, "labels": labels}
    options: dict[str, Any] = {"image": image, "id": id, "time": time, "window": window, "stride": stride}
    options |= {"label": label, **{name: columns(given) for name, given in several.items() if given}}
    from headstart import verbs

    with working():
        found = verbs.evaluate(model, data, **{k: v for k, v in options.items() if v is not None})
    if as_json:
        print_json(found)
        return
    console().print(f"{found['n']:,} samples")
    for task, one in found.get("tasks", {"": found}).items():
        if task:
            console().print()
            console().print(task)
        _print(one)


def _print(found: dict[str, Any]) -> None:
    """The metrics of a task, and its classes."""
    print_table(
        ["metric", "value", "95% interval"],
        [(name, number(m["value"]) if m else "–", interval(m)) for name, m in found["metrics"].items()],
        right=["value", "95% interval"],
    )
    if found.get("per_class"):
        console().print()
        numbers = ["n", "precision", "recall", "f1"]
        print_table(
            ["class", *numbers],
            [(str(row["class"]), *(_cell(row.get(c)) for c in numbers)) for row in found["per_class"]],
            right=numbers,
        )


def _cell(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)
