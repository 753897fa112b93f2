"""`headstart methods`: every method, what it does and where it comes from."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer

from headstart.cli.output import AsJson, console, print_json, print_table, working
from headstart.core.errors import ConfigError, did_you_mean

ROOMS = tuple(
    f"headstart.{room}"
    for room in ("data", "train", "pretrain", "finetune", "multitask", "adapt", "adapt.validators", "features.engines")
)
"""The rooms whose methods register when they are imported."""


def command(
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Only this kind, such as strategy.")] = None,
    family: Annotated[str | None, typer.Option(metavar="FAMILY", help="Defaults for cnn, transformer or rnn.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the methods: strategies, schedules, augmentations, ..."""
    from headstart.core.registry import FAMILIES
    from headstart.core.registry import methods as registered

    if family is not None and family not in FAMILIES:
        raise ConfigError(f"There is no family {family!r}.", did_you_mean(family, FAMILIES))
    with working():
        for room in ROOMS:
            importlib.import_module(room)
    found = registered()
    kinds = list(dict.fromkeys(method.kind for method in found))
    if kind is not None and kind not in kinds:
        raise ConfigError(f"There is no kind of method {kind!r}.", did_you_mean(kind, kinds))
    rows = [_row(method, family) for method in found if kind in (None, method.kind)]
    advice = _advice(family) if family is not None and kind in (None, "strategy") else []
    if as_json:
        print_json(rows + advice)
        return
    for one in kinds if kind is None else [kind]:
        console().print(f"{one}")
        print_table(
            ["name", "what", "source", "defaults"],
            [(r["name"], r["summary"], r["source"], _defaults(r["defaults"])) for r in rows if r["kind"] == one],
        )
        console().print()
    if advice:
        console().print(f"defaults of every strategy for {family}")
        cells = [(r["name"], _short(r["value"]), r["summary"], r["source"]) for r in advice]
        print_table(["option", "value", "what", "source"], cells)
        console().print()


def _advice(family: str) -> list[dict[str, Any]]:
    from headstart.finetune.advice import DEFAULTS

    return [
        {"kind": "default", "name": d.option, "value": d.value(family), "summary": d.why, "source": d.source}
        for d in DEFAULTS
    ]


def _row(method: Any, family: str | None) -> dict[str, Any]:
    defaults = method.defaults if family is None else {family: method.defaults_for(family)}
    return {
        "kind": method.kind,
        "name": method.name,
        "summary": method.summary,
        "source": method.source,
        "defaults": {name: dict(values) for name, values in defaults.items()},
        "needs": sorted(method.needs),
    }


def _defaults(defaults: dict[str, dict[str, Any]]) -> str:
    """Defaults in a cell: those of every family first, without its name."""
    lines = []
    for family, values in defaults.items():
        if values:
            text = ", ".join(f"{name} {_short(value)}" for name, value in values.items())
            lines.append(text if family == "any" or len(defaults) == 1 else f"{family}: {text}")
    return "\n".join(lines)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
