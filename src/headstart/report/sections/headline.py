"""The top of the page: what was trained on what, how good it is, and whether transfer paid."""

from __future__ import annotations

from typing import Any

from headstart.report.folder import RunFolder
from headstart.report.formats import count, duration, estimate, interval, number, short_count
from headstart.report.schema.given import ModelPart
from headstart.report.schema.part import Estimate
from headstart.report.schema.report import Report
from headstart.report.words import (
    STATUSES,
    STRATEGIES,
    UNFINISHED,
    VERDICTS,
    baseline_title,
    inputs_name,
    inside,
    less_or_more,
    metric_words,
)


def headline(run: RunFolder) -> dict[str, Any]:
    """Values for the head of the page; every one may be None where the run has not come so far."""
    report = run.report
    score = _score(report)
    undefined = {}
    if score is None and report.part is not None:
        title = metric_words(report.deciding).title
        text = f"It is not defined on the {report.part} part, which lacks a class, or labels that differ."
        undefined = {"unscored": {"title": f"{title}: no value", "text": text}}
    return {
        "name": report.name or run.path.name,
        "sentence": _sentence(report),
        "status": STATUSES.get(report.status, UNFINISHED),
        "score": score,
        **undefined,
        "verdict": _verdict(report),
        "instead": "A baseline took the network's place.",
        "fallback": report.fallback.text if report.fallback else "",
        "facts": _facts(report),
        "created": report.created.replace("T", " ")[:16],
    }


def pretraining_headline(run: RunFolder) -> dict[str, Any]:
    """The same for a run without labels."""
    report = run.report
    done, words = report.pretraining, metric_words(report.metric)
    n = report.data.samples
    amount = f"{count(n)} {inputs_name(report.data.modality, n)}" if n else inputs_name(report.data.modality, None)
    score = None
    if done.best is not None:
        first = f" After the first epoch it was {number(done.first)}." if done.first is not None else ""
        score = {
            "value": number(done.best),
            "interval": "",
            "title": words.title,
            "meaning": words.meaning + first,
            "part": "held-out",
            "n": None,
            "better": "Lower is better.",
        }
    return {
        "name": report.name or run.path.name,
        "sentence": f"{_network(report.model.reference)} learned without labels ({done.objective}) from {amount} of "
        f"{report.data.name}.",
        "status": STATUSES.get(report.status, UNFINISHED),
        "score": score,
        "verdict": None,
        "fallback": "",
        "facts": [(name, value) for name, value in _facts(report) if name != "Strategy"],
        "created": report.created.replace("T", " ")[:16],
    }


def _sentence(report: Report) -> str:
    data = report.data
    # The test part tells how good the model is; what it was made from are the other samples.
    n = (data.samples or 0) - data.parts.get("test", 0)
    amount = f"{count(n)} {inputs_name(data.modality, n)}" if n else inputs_name(data.modality, None)
    if not report.strategy.name:
        said = f"{report.model.reference} on {amount} of {data.name}."
        return said[0].upper() + said[1:]
    name = report.strategy.network if report.fallback else report.strategy.name
    how = STRATEGIES.get(name, f"trained with the strategy {name}")
    said = f"{_network(report.model.reference)} was {how}, on {amount} of {data.name}, {_goal(report)}."
    if report.fallback:
        kept = inside(baseline_title(report.fallback.to, report.task.kind, report.raw_features_name))
        return f"{said} It was not good enough: the model handed back is a baseline ({kept})."
    if report.blend:
        return f"{said} {report.blend.weight:.0%} of its answers come from a second model: {report.blend.beside}."
    return said


def _network(reference: str) -> str:
    if reference == ModelPart().reference:
        return "A network"
    if reference.startswith("scratch:"):
        return f"The network {reference.removeprefix('scratch:')}, starting from random weights,"
    return f"The pretrained network {reference}"


def _goal(report: Report) -> str:
    classes = report.task.classes
    if report.task.kind == "regression":
        return f"to predict the number “{report.task.name}”"
    if report.task.kind == "multi-label":
        return f"to say which of {len(classes)} labels apply"
    if len(classes) == 2:
        return f"to tell {classes[0]} from {classes[1]}"
    return f"to tell {len(classes)} classes apart"


def _score(report: Report) -> dict[str, Any] | None:
    part, name = report.part, report.deciding
    if part is None:
        return None
    best = report.metrics[part].get(name)
    words = metric_words(name)
    if best is None:
        return None
    return {
        "value": estimate(best, words.percent),
        "interval": interval(best, words.percent),
        "title": words.title,
        "meaning": words.meaning,
        "part": part,
        "n": report.data.parts.get(part),
        "better": "Higher is better." if words.higher else "Lower is better.",
    }


def _verdict(report: Report) -> dict[str, Any] | None:
    guard = report.guard
    if guard is None or not guard.verdict:
        return None
    tone, title = VERDICTS.get(guard.verdict, ("open", guard.verdict))
    if report.model.reference.startswith("scratch:"):
        title = title.replace("Transfer", "The network")
    beside = guard.over_probe.text if guard.over_probe else ""
    return {"tone": tone, "title": title, "text": guard.text, "beside": beside, "gap": gap_text(report)}


def gap_text(report: Report) -> str:
    """The guard's gap in words, such as "+7.3 points of accuracy (+5.9 to +8.8)"; "" without one."""
    guard = report.guard
    if guard is None or guard.gap is None:
        return ""
    words = metric_words(report.deciding)
    show = _points if words.percent else _signed
    range_ = _range(guard.gap, show)
    where = "the test part" if guard.part == "test" else "validation data"
    against = "the baseline"
    if guard.compared_with:
        against = inside(baseline_title(guard.compared_with, report.task.kind, report.raw_features_name))
    unit = " points" if words.percent else ""
    title = words.title if words.title.isupper() else words.title.lower()
    if not words.higher:
        less = less_or_more(guard.gap.value, guard.gap.low, guard.gap.high, title)
        return f"{less} compared with: {against}, on {where}"
    return f"{show(guard.gap.value)}{unit} of {title}{range_} compared with: {against}, on {where}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(value, 3)


def _range(gap: Estimate, show: Any) -> str:
    return "" if gap.low is None or gap.high is None else f" ({show(gap.low)} to {show(gap.high)})"


def _facts(report: Report) -> list[tuple[str, str]]:
    """Up to five short facts: name and value."""
    cost, parameters = report.cost, report.cost.parameters
    facts = []
    if n := report.data.samples:
        test = report.data.parts.get("test", 0)
        amount = f"{count(n - test)} + {count(test)} test" if test else count(n)
        facts.append((inputs_name(report.data.modality, n).capitalize(), amount))
    if report.task.classes:
        facts.append(("Labels" if report.task.kind == "multi-label" else "Classes", count(len(report.task.classes))))
    if report.strategy.name:
        facts.append(("Strategy", report.strategy.name))
    if cost.seconds is not None:
        facts.append(("Time", duration(cost.seconds)))
    if parameters.trained is not None and parameters.total:
        facts.append(("Weights trained", f"{short_count(parameters.trained)} of {short_count(parameters.total)}"))
    return facts
