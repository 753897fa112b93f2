"""Several tasks: what each reached, whether sharing helped it, and how far the tasks' gradients agree."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from headstart.report.figures.palette import GREEN, GREY, VERMILLION
from headstart.report.figures.tradeoff import tradeoff_figure
from headstart.report.folder import RunFolder
from headstart.report.formats import NONE, count, duration, estimate, interval, number, short_count
from headstart.report.schema.part import Estimate
from headstart.report.schema.tasks import CosineRow, TaskRow, Tradeoff
from headstart.report.sections.section import Section
from headstart.report.words import PARTS, STATUSES, UNFINISHED, inputs_name, metric_words

VERDICTS = {"positive": "sharing helps", "negative": "sharing hurts", "inconclusive": "open"}


def tasks_headline(run: RunFolder) -> dict[str, Any]:
    """Values for the head of the page."""
    report = run.report
    names = [task.name for task in report.tasks]
    n = report.data.samples
    amount = f"{count(n)} {inputs_name(report.data.modality, n)}" if n else inputs_name(report.data.modality, None)
    own = report.sharing.own
    score = None
    if report.sharing.delta_m is not None:
        score = {
            "value": _change(report.sharing.delta_m),
            "interval": "",
            "title": "Mean change by sharing",
            "meaning": "Mean over tasks of how much better the shared model is than each task alone, relative to it.",
            "part": report.sharing.part,
            "n": None,
            "better": "Higher is better.",
        }
    facts = [("Tasks", count(len(names))), ("Balancing", report.sharing.balance)]
    if report.sharing.architecture:
        facts.insert(1, ("Sharing", report.sharing.architecture))
    if report.cost.seconds is not None:
        facts.append(("Time", duration(report.cost.seconds)))
    weights = report.cost.parameters
    if weights.trained is not None and weights.total:
        facts.append(("Weights trained", f"{short_count(weights.trained)} of {short_count(weights.total)}"))
    ending = "All of them share one network."
    if own:
        ending = f"{', '.join(own)} {'has a model of its own' if len(own) == 1 else 'have models of their own'}."
    if report.sharing.branches:
        grown = [f"{name} has a branch of its own after {after}" for name, after in report.sharing.branches.items()]
        ending = f"{', '.join(grown)}. {ending if own else ''}".strip()
    return {
        "name": report.name or run.path.name,
        "sentence": f"{report.model.reference} learned {len(names)} tasks at once ({', '.join(names)}) "
        f"from {amount} of {report.data.name}. {ending}",
        "status": STATUSES.get(report.status, UNFINISHED),
        "score": score,
        "verdict": None,
        "fallback": "",
        "facts": facts,
        "created": report.created.replace("T", " ")[:16],
    }


def tasks(run: RunFolder) -> Section:
    """Table of tasks with what sharing did to each, every metric, and the cosines of their gradients."""
    report = run.report
    sharing = report.sharing
    values = {
        "part": PARTS.get(sharing.part, sharing.part).lower(),
        "rule": sharing.rule,
        "balance": sharing.balance,
        "shares": sharing.how,
        "sampling": sharing.sampling,
        "delta_m": _change(sharing.delta_m),
        "rows": [_row(task, sharing.part) for task in report.tasks],
        "metrics": [_metrics(task) for task in report.tasks],
        "cosines": _cosines([task.name for task in report.tasks], sharing.cosines),
        "tradeoff": _tradeoff(report.tasks, report.tradeoff),
        "reasons": report.strategy.reasons,
    }
    return Section("result", "The tasks", "tasks.html", values)


def _row(task: TaskRow, part: str) -> dict[str, Any]:
    words = metric_words(task.metric)

    def cell(found: Estimate | None) -> tuple[str, str]:
        return estimate(found, words.percent), interval(found, words.percent)

    def of(baseline: str) -> tuple[str, str]:
        return cell(task.baselines.get(baseline, {}).get(part, {}).get(task.metric))

    gap, factor = task.sharing.gap, 100 if words.percent else 1
    signed = "{:+.1f}".format if words.percent else "{:+.3g}".format
    return {
        "name": task.name,
        "kind": task.kind,
        "labelled": count(task.labelled.get("train")),
        "metric": words.title,
        "kept": task.sharing.kept,
        "cells": [
            cell(task.metrics.get(part, {}).get(task.metric)),
            of("shared"),
            of("own_model" if task.sharing.compared_with == "own model" else "linear_probe"),
            of("majority"),
        ],
        "alone": task.sharing.compared_with,
        "delta": _change(task.sharing.delta),
        "gap": NONE if gap is None else signed(factor * gap.value),
        "range": ""
        if gap is None or gap.low is None or gap.high is None
        else f"{signed(factor * gap.low)} to {signed(factor * gap.high)}",
        "verdict": VERDICTS.get(task.sharing.verdict, task.sharing.verdict),
        "text": task.sharing.text,
    }


def _metrics(task: TaskRow) -> dict[str, Any]:
    parts = [part for part in ("validation", "test") if task.metrics.get(part)]
    names = list(dict.fromkeys(name for part in parts for name in task.metrics[part]))
    names.sort(key=lambda name: name != task.metric)
    rows = []
    for name in names:
        words = metric_words(name)
        found = [task.metrics[part].get(name) for part in parts]
        cells = [(estimate(one, words.percent), interval(one, words.percent)) for one in found]
        rows.append({"title": words.title, "cells": cells, "decides": name == task.metric, "meaning": words.meaning})
    return {"task": task.name, "parts": [PARTS[part] for part in parts], "rows": rows}


def _cosines(names: list[str], rows: list[CosineRow]) -> list[dict[str, Any]]:
    """Every pair of tasks: its cosine in the first and the last epoch, the mean, and the course as a bar per epoch."""
    found = []
    for i, j in combinations(range(len(names)), 2):
        course = [row.matrix[i][j] for row in rows if len(row.matrix) > j]
        known = [value for value in course if value is not None]
        if not known:
            continue
        bars = [
            {"height": round(20 * abs(v or 0.0), 1), "colour": GREY if v is None else VERMILLION if v < 0 else GREEN}
            for v in course
        ]
        found.append(
            {
                "pair": f"{names[i]}, {names[j]}",
                "first": number(known[0], 2),
                "last": number(known[-1], 2),
                "mean": number(sum(known) / len(known), 2),
                "bars": bars,
            }
        )
    return found


def _tradeoff(tasks: list[TaskRow], found: Tradeoff | None) -> dict[str, Any] | None:
    """The picture, and what was done for it."""
    if found is None:
        return None
    figure = tradeoff_figure(found, {task.name: metric_words(task.metric) for task in tasks}, "tradeoff")
    if figure is None:
        return None
    return {
        "figure": figure,
        "samples": count(found.samples),
        "epochs": count(found.epochs),
        "after": found.after,
        "held": count(found.held),
    }


def _change(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:+.1f}%"
