"""Where an interval is only approximate, and how wide the doubt is then."""

from __future__ import annotations

from headstart.report.formats import clean, count, number, percent
from headstart.report.schema.part import Estimate
from headstart.report.schema.report import Report
from headstart.report.words import inside, metric_words

FEW = {"macro_f1": 500}
"""Samples below which the interval of a metric was not shown to cover 93 to 97%; of the others MANY."""

MANY = 200

RARE = {"macro_f1": 30, "balanced_accuracy": 100}
"""The same for samples of the rarest class."""

NEARLY_ALL = 0.97
"""Accuracy above which so few errors are left that intervals are not sure to cover what they say."""


def doubts(report: Report) -> list[str]:
    """A sentence for the deciding metric, for others that rest on rare classes, and for the gap, where little is known.

    The bounds are those of tests/measure/test_coverage.py.
    """
    part = report.part
    if part is None:
        return []
    said = []
    for name in dict.fromkeys([report.deciding, *RARE]):
        value = report.metrics[part].get(name)
        reasons = _rare(report, name)
        if name == report.deciding:
            reasons = [*_few(report, part, name), *_perfect(report, part), *reasons]
        if value is not None and reasons:
            said.append(_sentence(name, value, reasons))
    return [*said, *_gap(report, part)]


def _gap(report: Report, part: str) -> list[str]:
    """The same for the paired difference to the best baseline, whose interval is percentiles of a bootstrap."""
    gap = None if report.guard is None else report.guard.gap
    few = _few(report, part, report.deciding)
    if report.over_seeds or gap is None or gap.low is None or gap.high is None or not few:
        return []
    words = metric_words(report.deciding)
    low, high = (f"{100 * v:+.1f} points" if words.percent else f"{v:+.3g}" for v in (gap.low, gap.high))
    said = f"The interval of the gap to the best baseline ({low} to {high}) is approximate, too, because {few[0]}"
    exact = report.guard is not None and report.guard.mcnemar is not None
    return [f"{said}; McNemar's exact test holds for any number of them." if exact else f"{said}."]


def _few(report: Report, part: str, name: str) -> list[str]:
    n = _labelled(report, part)
    return [f"the {part} part has only {count(n)} labelled samples"] if 0 < n < FEW.get(name, MANY) else []


def _perfect(report: Report, part: str) -> list[str]:
    right = report.metrics[part].get("accuracy" if report.task.kind == "single-label" else "subset_accuracy")
    if right is None or right.value <= NEARLY_ALL:
        return []
    n = _labelled(report, part)
    wrong = round((1 - right.value) * n)
    return [f"{'none' if wrong == 0 else f'only {count(wrong)}'} of {count(n)} samples {_is(wrong)} wrong"]


def _rare(report: Report, name: str) -> list[str]:
    if name not in RARE or not report.per_class:
        return []
    rarest = min(report.per_class, key=lambda row: row.n)
    if rarest.n >= RARE[name]:
        return []
    return [f"the class {clean(rarest.name, 40)} has only {count(rarest.n)} sample{'s' if rarest.n != 1 else ''}"]


def _labelled(report: Report, part: str) -> int:
    """Labelled samples of a part; where classes are no help, or stand beside each other, all of its samples."""
    if report.task.kind == "single-label" and report.per_class:
        return sum(row.n for row in report.per_class)
    return report.data.parts.get(part) or report.data.parts.get("train", 0)


def _is(n: int) -> str:
    return "is" if n < 2 else "are"


def _sentence(name: str, value: Estimate, reasons: list[str]) -> str:
    words = metric_words(name)
    why = " and ".join(reasons)
    if value.low is None or value.high is None:
        return f"{words.title} has no interval, because {why}."
    down, up = value.value - value.low, value.high - value.value
    if words.percent:
        reach = f"{percent(value.low)} to {percent(value.high)}, {100 * down:.1f} points down and {100 * up:.1f} up"
    else:
        reach = f"{number(value.low)} to {number(value.high)}, {number(down, 2)} down and {number(up, 2)} up"
    return f"The interval of {inside(words.title)} ({reach}) is approximate, because {why}."
