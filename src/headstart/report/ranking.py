"""rank.html: what `headstart rank` measured, as a page that opens offline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.report.figures.depth import depth_figure
from headstart.report.figures.intervals import intervals
from headstart.report.formats import count, estimate, interval, number
from headstart.report.pictures import Album
from headstart.report.render import whole_page
from headstart.report.schema.part import Estimate, Remark
from headstart.report.sections.section import Section
from headstart.report.words import metric_words

SCORES = {
    "best": "Probe, best stage",
    "last": "Probe, last layer",
    "neighbours": "Nearest neighbours",
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
"""Titles of the scores, the probe first."""


def ranking_page(found: Mapping[str, Any]) -> str:
    """The page.

    Parameters
    ----------
    found
        What `headstart.rank` returned.
    """
    words, best = metric_words(found["metric"]), found["models"][0]
    value = Estimate(**best["probe"])
    head = {
        "name": f"Networks for {found['data']}",
        "sentence": f"A linear probe on {best['model']} (stage {best['stage']}) does best, on "
        f"{count(found['samples'])} samples, out of fold. No network was trained, and the test part was not touched.",
        "status": "",
        "fallback": "",
        "score": {
            "value": estimate(value, words.percent),
            "interval": interval(value, words.percent),
            "title": words.title,
            "meaning": words.meaning,
            "part": "validation",
            "n": found["samples"],
            "better": "Higher is better." if words.higher else "Lower is better.",
        },
        "verdict": None,
        "facts": [("Networks", count(len(found["models"]))), ("Samples", count(found["samples"]))],
        "created": "",
    }
    sections = [_board(found), _stages(found), _scores(found)]
    return whole_page(Album(Path()), head, sections, [Remark(text=text) for text in found["warnings"]])


def _board(found: Mapping[str, Any]) -> Section:
    words = metric_words(found["metric"])
    chart = [(row["model"], Estimate(**row["probe"])) for row in found["models"] if row["probe"]["value"] is not None]
    rows = [
        {
            "model": f"#{i} {row['model']}",
            "stage": row["stage"],
            "value": estimate(Estimate(**row["probe"]), words.percent),
            "interval": interval(Estimate(**row["probe"]), words.percent),
            "speed": count(row["samples_per_second"]),
            "extraction": number(row["extraction_seconds"], 3),
            "size": f"{row['megabytes']:,.0f} MB",
            "licence": row["licence"],
            "source": row["source"],
        }
        for i, row in enumerate(found["models"], start=1)
    ]
    values = {
        "chart": intervals(chart, words, "board", "A probe at each network's best stage") if chart else None,
        "rows": rows,
        "metric": words.title,
    }
    return Section("board", "Which network", "ranking_board.html", values)


def _stages(found: Mapping[str, Any]) -> Section:
    words = metric_words(found["metric"])
    models = []
    for row in found["models"]:
        stages: dict[str, float] = {}
        for place in row["stages"]:
            stages[place["stage"]] = max(place["score"], stages.get(place["stage"], float("-inf")))
        models.append((row["model"], list(stages.items())))
    title = words.title if words.higher else f"{words.title} (negative)"
    return Section("stages", "Which stage", "ranking_stages.html", {"figure": depth_figure(models, title, "depth")})


def _scores(found: Mapping[str, Any]) -> Section:
    rows = []
    for name, title in SCORES.items():
        tau, trust = found["agreement"].get(name), found["trust"].get("probe" if name == "last" else name)
        probe = {"best": "probe", "last": "last"}.get(name)
        cells = [row[probe]["value"] if probe else row["scores"][name] for row in found["models"]]
        rows.append(
            {
                "title": title,
                "cells": ["–" if c is None else number(c, 3) for c in cells],
                "tau": "–" if tau is None else f"{tau['tau']:+.2f}",
                "trust": None
                if trust is None
                else f"{trust['tau']:+.2f} ({trust['low']:+.2f} to {trust['high']:+.2f})",
                "source": found["sources"].get(name, ""),
            }
        )
    models = [f"#{i}" for i in range(1, len(found["models"]) + 1)]
    return Section(
        "scores",
        "What the scores say",
        "ranking_scores.html",
        {
            "rows": rows,
            "models": models,
            "trusted": bool(found["trust"]),
            "lower": not metric_words(found["metric"]).higher,
        },
    )
