"""`headstart predict`: what a model says about new samples."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli.output import AsJson, console, number, print_json, print_table, working
from headstart.core.errors import ConfigError


def command(
    model: Annotated[str, typer.Argument(metavar="RUN", help="A run folder or a bundle.")],
    inputs: Annotated[list[str], typer.Argument(help="Files, folders, patterns, or a table.")],
    top: Annotated[int, typer.Option(min=1, metavar="K", help="How many classes to say for each.")] = 1,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.")] = "auto",
    test_time: Annotated[
        str, typer.Option("--test-time", metavar="HOW", help="Adapt while predicting: none, tent or tent-episodic.")
    ] = "none",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV; of a table, with its own columns first.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write that as .csv, .tsv, .jsonl or .parquet.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict the classes (or numbers) of new samples.

    Inputs that cannot be read are named; the exit code is 2 where none of them could.
    """
    if as_csv and as_json:
        raise ConfigError("--csv and --json cannot both be printed.", "Choose one.")
    from headstart import verbs
    from headstart.verbs.predict_table import check_target, with_predictions, write_table

    if out is not None:
        check_target(out)
    named = [_path(text) for text in inputs]
    with working():
        rows = verbs.predict(model, named, top=top, device=device, test_time=test_time)
    if out is not None:
        write_table(with_predictions(named, rows, top), out)
    if as_json:
        print_json(rows)
    elif as_csv:
        # pandas ends lines with what the system does by default, which shell tools may not expect.
        with_predictions(named, rows, top).to_csv(sys.stdout, index=False, lineterminator="\n")
    elif out is not None:
        console().print(f"{len(rows):,} rows are in {out}.", soft_wrap=True)
    else:
        _print_rows(rows, top)
    bad = [row for row in rows if "error" in row]
    if bad:
        print(f"{len(bad)} of {len(rows)} could not be read.", file=sys.stderr)
    if rows and len(bad) == len(rows):
        raise typer.Exit(2)


def _path(text: str) -> str | Path:
    """What a command line names is a file or a sample, never itself a text to classify."""
    return text if text.startswith("sample:") else Path(text)


def _print_rows(rows: Sequence[dict[str, Any]], top: int) -> None:
    if any("tasks" in row for row in rows):
        rows = [
            {**said, "id": f"{_short(row['id'])}: {task}"}
            for row in rows
            for task, said in row.get("tasks", {}).items()
        ] + [row for row in rows if "error" in row]
    classes = any("confidence" in row for row in rows)
    columns = ["input", "predicted", *(["confidence"] if classes else []), *(["further"] if top > 1 else [])]
    print_table(columns, [_cells(row, columns) for row in rows], right=["confidence"])


def _cells(row: dict[str, Any], columns: Sequence[str]) -> list[str]:
    if "error" in row:
        return [_short(row["id"]), f"cannot be read: {row['error']}", *[""] * (len(columns) - 2)]
    further = ", ".join(f"{e['class']} {number(e['probability'])}" for e in row.get("top", [])[1:])
    cells = {
        "input": _short(row["id"]),
        "predicted": _text(row["predicted"]),
        "confidence": number(row.get("confidence")),
        "further": further,
    }
    return [cells[name] for name in columns]


def _text(predicted: Any) -> str:
    if isinstance(predicted, list | tuple):
        return ", ".join(map(str, predicted)) or "none"
    return number(predicted) if isinstance(predicted, float) else str(predicted)


def _short(path: str, most: int = 40) -> str:
    """A path that leaves room for the rest of the table."""
    if len(path) <= most:
        return path
    name = Path(path).name
    return "…/" + name if len(name) < most - 2 else "…" + path[-most + 1 :]
