"""`headstart rank`: which pretrained network suits these data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli import fit_options
from headstart.cli.output import AsJson, console, interval, number, print_json, print_table, seconds, working

TITLES = {
    "best": "probe, best stage",
    "last": "probe, last layer",
    "neighbours": "nearest neighbours",
    "logme": "LogME",
    "shrunk_h_score": "H-score, shrunk",
    "h_score": "H-score",
    "transrate": "TransRate",
    "gbc": "GBC",
    "nleep": "N-LEEP",
    "parc": "PARC",
    "leep": "LEEP",
    "nce": "NCE",
}

TOGETHER = 6
"""Networks whose scores stand side by side in 80 columns."""

PROBES = {"best": "probe", "last": "last"}
"""Probes among the scores, and what a row calls them."""


@fit_options.without_training
def command(
    data: Annotated[str, typer.Argument(help="Labelled data, as for fit.")],
    models: Annotated[str, typer.Option("--models", metavar="A,B,...", help="References of models, as for --model.")],
    out: Annotated[str | None, typer.Option("--out", metavar="FOLDER", help="Write rank.json and rank.html.")] = None,
    as_json: AsJson = False,
    **options: Any,
) -> None:
    """Compare pretrained networks on your data without training any.

    A linear probe on each network's frozen features decides, out of fold on at most 1,000 training samples; the
    transferability scores of the literature stand beside it.
    """
    from headstart import verbs

    with working():
        found = verbs.rank(data, list(fit_options.columns(models)), out, **fit_options.typed(options))
    if as_json:
        print_json(found)
        return
    print_ranking(found)
    if out is not None:
        console().print(f"Page: {Path(out) / 'rank.html'}", soft_wrap=True)


def print_ranking(found: Mapping[str, Any]) -> None:
    """The leaderboard, the scores, and what to make of them."""
    rows, out = found["models"], console()
    out.print(f"{found['data']}, {found['samples']:,} samples, out of fold; best first.\n")
    print_table(
        ["", "model; its best stage, time to extract, licence", found["metric"], "95% interval", "per second", "size"],
        [
            (
                f"#{i}",
                f"{row['model']}\n  {row['stage']}; {seconds(row['extraction_seconds'])}; {row['licence']}",
                number(row["probe"]["value"]),
                interval(row["probe"]),
                f"{row['samples_per_second']:,}",
                f"{row['megabytes']:,.0f} MB",
            )
            for i, row in enumerate(rows, start=1)
        ],
        right=[found["metric"], "95% interval", "per second", "size"],
    )
    out.print()
    studied = bool(found["trust"])
    _print_scores(found, rows)
    out.print(
        "\nHigher is better, but for a probe's error. tau: Kendall's rank correlation with the probe at the best "
        "stage, over these models; – where a score is not defined (LEEP and NCE need the classifier that a network was "
        "pretrained with)."
    )
    if studied:
        out.print(
            "study: tau with the accuracy of fine-tuning as fit does it (95%), over the data sets and networks of "
            "benchmarks/trust.py: how far a score can be trusted in general."
        )
    for text in found["warnings"]:
        out.print(f"Note: {text}")
    out.print("Next:")
    out.print(f"  headstart fit {found['data']} --model {rows[0]['model']}", soft_wrap=True)


def _print_scores(found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Every score of every network, a few networks at a time, and at last what the scores are worth."""
    numbered = list(enumerate(rows, start=1))
    worth = {"tau": lambda name: _cell((found["agreement"].get(name) or {}).get("tau"))}
    if found["trust"]:
        worth["study"] = lambda name: _trust(found["trust"], name)
    last = TOGETHER - 3 if found["trust"] else TOGETHER - 1
    blocks = [numbered[i : i + TOGETHER] for i in range(0, len(numbered), TOGETHER)]
    if len(blocks[-1]) > last:
        blocks.append([])
    for block in blocks:
        ends = worth if block is blocks[-1] else {}
        places = [f"#{i}" for i, _ in block]
        print_table(
            ["score", *places, *ends],
            [
                (title, *(_cell(_score(row, name)) for _, row in block), *(end(name) for end in ends.values()))
                for name, title in TITLES.items()
            ],
            right=[*places, *ends],
        )
        if not ends:
            console().print()


def _score(row: Mapping[str, Any], name: str) -> float | None:
    return row[PROBES[name]]["value"] if name in PROBES else row["scores"][name]


def _trust(studied: Mapping[str, Any], name: str) -> str:
    """ "+.62 (.3 to .8)", or – where the study has not got the score."""
    found = studied.get("probe" if name == "last" else name)
    return "–" if found is None else f"{found['tau']:+.2f} ({found['low']:+.1f} to {found['high']:+.1f})"


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
