"""`headstart compare`: finished runs, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from headstart.cli.output import AsJson, console, interval, millions, number, print_json, print_table, seconds, working
from headstart.core.words import listed

SHOWN_CLASSES = 8


def command(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Run folders; the first is compared with.")],
    part: Annotated[str | None, typer.Option(metavar="NAME", help="test or validation (test if all have one).")] = None,
    metric: Annotated[str, typer.Option(metavar="NAME", help="The metric that decides (the first run's).")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Say which run is better on the same samples, by how much, and at what cost."""
    from headstart import verbs

    with working():
        found = verbs.compare(runs, part, metric)
    if as_json:
        print_json(found)
        return
    print_comparison(found)


def print_comparison(found: Mapping[str, Any]) -> None:
    """Runs, then every pair in words, with classes and samples that changed most."""
    out, metric = console(), found["metric"]
    left = f" ({found['left_out']:,} others not in all runs)" if found["left_out"] else ""
    out.print(f"{found['samples']:,} {found['part']} samples{left}\n")
    for i, row in enumerate(found["runs"], start=1):  # paths are as long as they are: not in the table
        out.print(f"#{i} {row['run']}", soft_wrap=True)
    out.print()
    print_table(
        ["run", metric, "95% interval", "time", "trained"],
        [
            (
                f"#{i} {row['strategy']}\n   {row['model']}",
                number((row["metrics"][metric] or {}).get("value")),
                interval(row["metrics"][metric]),
                seconds(row["seconds"]),
                millions(row["parameters"]["trained"]),
            )
            for i, row in enumerate(found["runs"], start=1)
        ],
        right=[metric, "95% interval", "time", "trained"],
    )
    for pair in found["pairs"]:
        out.print()
        _print_pair(out, metric, pair)


def _print_pair(out: Any, metric: str, pair: Mapping[str, Any]) -> None:
    from headstart.report.words import less_or_more, metric_words

    gain = pair["gain"]
    if gain["value"] is None:
        out.print(f"{pair['run']} and {pair['with']}: {metric} is not defined on these samples.")
        return
    doubt = "" if gain["low"] is None else f" (95% {gain['low']:+.3f} to {gain['high']:+.3f})"
    change = f"{metric} {gain['value']:+.3f}{doubt}"
    if not metric_words(metric).higher:
        change = less_or_more(gain["value"], gain["low"], gain["high"], metric.replace("_", " "))
    says = f"{pair['run']} is {pair['verdict']} than" if pair["verdict"] != "too near to tell" else (
        f"{pair['run']} is too near to tell from"
    )  # fmt: skip
    out.print(f"{says} {pair['with']}: {change}.")
    if pair["mcnemar"] is not None:
        out.print(
            f"It gets {pair['fixed']['count']:,} right that the other gets wrong, and {pair['broken']['count']:,} "
            f"wrong that the other gets right (McNemar p = {pair['mcnemar']:.3g})."
        )
        for name, words in (("fixed", "now right"), ("broken", "now wrong")):
            if pair[name]["ids"]:
                out.print(f"  {words}: {listed(pair[name]['ids'], pair[name]['count'])}")
    moved = [c for c in pair["per_class"] if c["before"] != c["after"] and None not in (c["before"], c["after"])]
    moved.sort(key=lambda c: -abs(c["after"] - c["before"]))
    if moved:
        print_table(
            ["class", "n", "F1 before", "after", "change"],
            [
                (str(c["class"]), f"{c['n']:,}", number(c["before"]), number(c["after"]),
                 f"{c['after'] - c['before']:+.3f}")
                for c in moved[:SHOWN_CLASSES]
            ],
            right=["n", "F1 before", "after", "change"],
        )  # fmt: skip
