"""Whether the confidence that the model states can be believed."""

from __future__ import annotations

import math

from headstart.report.figures.reliability import reliability
from headstart.report.folder import RunFolder
from headstart.report.formats import number, percent
from headstart.report.sections.section import Section


def confidence(run: RunFolder) -> Section:
    """Reliability diagram, calibration error before and after temperature scaling."""
    report = run.report
    calibration = report.calibration
    values: dict[str, object] = {"calibration": None, "part": report.part}
    if calibration is not None:
        before, after = calibration.before.get("ece"), calibration.after.get("ece")
        filled = [b for b in calibration.bins if b.n > 0]
        n = sum(b.n for b in filled)
        # A model whose confidence is right has an error by chance, too: with two classes and a confidence of .88 it is
        # at most .10 in 95 of 100 test parts of 100 samples, .04 in those of 1,000. So 6 and .2 of 100 alarm.
        chance = 0.5 / math.sqrt(max(n, 1))
        where = f"the {report.part} part" if report.part == "test" else "validation data"
        temperature, labels = calibration.temperature, report.task.kind == "multi-label"
        values["labels"] = labels
        values["calibration"] = {
            "before": percent(before),
            "after": percent(after),
            "temperature": number(temperature, 3),
            "measured": before is not None and after is not None,
            "figure": reliability(calibration.bins, "reliability", labels) if filled else None,
            "was": _was(temperature, None if after is None else after - chance, where),
            "samples": n,
        }
    return Section("confidence", "Can its confidence be believed?", "confidence.html", values)


FAR_OFF = 0.05
"""Calibration error, beyond what is chance, from which confidence cannot be believed."""


def _was(temperature: float | None, left: float | None, where: str) -> str:
    """What the temperature says about the network as trained, and what error it left beyond chance."""
    if temperature is None:
        return ""
    if left is not None and left > FAR_OFF:
        return (
            f"The temperature was fitted on held-out data; on {where} the confidence is off by {100 * left:.0f} points "
            "more than by chance: do not rely on it there."
        )
    if temperature > 1.05:
        return "As trained, the network was too sure of itself; the temperature corrects that."
    if temperature < 0.95:
        return "As trained, the network was less sure than it could be; the temperature corrects that."
    return "As trained, the network needed almost no correction."
