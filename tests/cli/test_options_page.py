"""docs/options.md: the table of options is the one that the command line is made from."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from headstart.cli.fit_options import ROWS

PAGE = Path(__file__).parents[2] / "docs" / "options.md"


def table() -> str:
    """Every option of `fit` by panel, as the page has it."""
    lines = []
    panels = list(dict.fromkeys(row.panel for row in ROWS))
    for panel, rows in groupby(sorted(ROWS, key=lambda row: panels.index(row.panel)), key=lambda row: row.panel):
        lines += [f"## {panel}", "", "| option | what | default |", "|---|---|---|"]
        for row in rows:
            no = f"--no-{row.flag[2:]}"
            flag = f"{row.flag} {row.metavar}" if row.metavar else no if row.default == "yes" else f"{row.flag}, {no}"
            text = row.help.replace("|", "\\|")
            default = "" if row.default == "yes" else row.default
            lines.append(f"| `{flag}` | {text} | {default} |")
        lines.append("")
    return "\n".join(lines)


def test_every_option_stands_on_the_page() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")
