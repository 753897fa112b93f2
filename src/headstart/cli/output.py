"""How commands speak: JSON or tables on standard output, everything else on standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from headstart.core.progress import best_progress, reporting_to

if TYPE_CHECKING:
    from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, all else on standard error.")]
"""The option that every command has."""

WIDTH = 80
"""Columns where standard output is not a terminal."""


@contextmanager
def working() -> Iterator[None]:
    """Run a verb: its progress, and whatever a library prints, goes to standard error."""
    with reporting_to(best_progress()), redirect_stdout(sys.stderr):
        yield


def print_json(value: Any) -> None:
    """Write one JSON value and nothing else to standard output."""
    print(json.dumps(_plain(value), ensure_ascii=False, indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    """`value` in types that JSON has; what is not a finite number becomes null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # arrays and scalars of NumPy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def console() -> Console:
    """Where tables and sentences go: coloured on a terminal, plain text of 80 columns elsewhere."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH
    # Data may hold brackets and colons: neither markup nor emoji are read out of them.
    return Console(markup=False, emoji=False, highlight=False, width=width)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a table that wraps within the terminal (80 columns elsewhere).

    Parameters
    ----------
    columns
        Headings; a first column of short names never wraps.
    rows
        Cells as text, one per column.
    right
        Headings of the columns that are aligned at the right.
    """
    from rich import box
    from rich.table import Table

    rows = list(rows)
    longest = max((len(line) for row in rows for line in row[0].splitlines()), default=0)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for i, name in enumerate(columns):
        justify: Literal["right", "left"] = "right" if name in right else "left"
        table.add_column(
            name,
            justify=justify,
            no_wrap=(i == 0 and longest <= WIDTH // 2) or name in right,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    console().print(table)


def print_command(text: str) -> None:
    """Print a line that the user may copy: never wrapped."""
    console().print(f"  {text}", soft_wrap=True)


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table; "–" where it is not defined.

    >>> number(0.98765), number(None), number(1234.5678)
    ('0.988', '–', '1,235')
    >>> number(0.00012345), number(0.0)
    ('0.000123', '0.000')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if 0 < abs(value) < 10**-digits:
        return f"{value:.{digits}g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}"


def interval(metric: Mapping[str, float | None] | None) -> str:
    """The 95% interval of a metric, for a table.

    >>> interval({"value": 0.9, "low": 0.875, "high": 0.925})
    '0.875 to 0.925'
    """
    if not metric or metric.get("low") is None or metric.get("high") is None:
        return "–"
    return f"{number(metric['low'])} to {number(metric['high'])}"


def millions(parameters: int | None) -> str:
    """How many parameters, for a table.

    >>> millions(3_384_022), millions(12_810), millions(None)
    ('3.4 M', '0.01 M', '–')
    """
    if parameters is None:
        return "–"
    return f"{parameters / 1e6:.{1 if parameters >= 1e5 or not parameters else 2}f} M"


def seconds(value: float) -> str:
    """A duration for a person.

    >>> seconds(9.4), seconds(75), seconds(7260)
    ('9 s', '1 min 15 s', '2 h 1 min')
    """
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
