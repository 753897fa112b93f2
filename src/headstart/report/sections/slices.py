"""Where the model does worse than elsewhere."""

from __future__ import annotations

from headstart.report.folder import RunFolder
from headstart.report.formats import count, number, percent
from headstart.report.schema.part import Estimate
from headstart.report.sections.section import Section


def slices(run: RunFolder) -> list[Section]:
    """A table of the weak slices, or a sentence that there are none; no section where none could be tested."""
    found = run.report.slices
    if found is None or not found.tested:
        return []
    as_share = found.outcome == "errors"
    show = percent if as_share else number
    rows = [
        {
            "name": w.name,
            "n": count(w.n),
            "errors": show(w.errors),
            "rest": show(w.rest),
            "difference": _gap(w.difference, as_share),
            "ids": w.ids,
        }
        for w in found.weak
    ]
    values = {
        "rows": rows,
        "tested": count(found.tested),
        "part": found.part,
        "outcome": found.outcome,
        "level": f"{100 * found.level:.4g}%",
    }
    return [Section("slices", "Where it does worse", "slices.html", values)]


def _gap(gap: Estimate, as_share: bool) -> str:
    def show(value: float) -> str:
        return f"{100 * value:+.1f}" if as_share else f"{value:+.3g}"

    range_ = "" if gap.low is None or gap.high is None else f" ({show(gap.low)} to {show(gap.high)})"
    return f"{show(gap.value)}{' points' if as_share else ''}{range_}"
