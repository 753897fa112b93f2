"""`headstart doctor`: whether this machine can run Headstart."""

from __future__ import annotations

from dataclasses import asdict

import typer

from headstart.cli.output import AsJson, print_json, print_table, working


def command(as_json: AsJson = False) -> None:
    """Check this machine: Python, dependencies, devices, memory, disk, network. Exit code 1 on a problem."""
    from headstart.verbs.doctor import diagnose

    with working():
        checks = diagnose()
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [(c.topic, c.state, f"{c.text}\n→ {c.todo}" if c.todo else c.text) for c in checks]
        print_table(["what", "state", "found"], rows)
    if any(check.state == "problem" for check in checks):
        raise typer.Exit(1)
