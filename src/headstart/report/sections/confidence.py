"""Whether the confidence that the model states can be believed."""

from __future__ import annotations

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
        temperature, labels = calibration.temperature, report.task.kind == "multi-label"
        values["labels"] = labels
        values["calibration"] = {
            "before": percent(before),
            "after": percent(after),
            "temperature": number(temperature, 3),
            "measured": before is not None and after is not None,
            "figure": reliability(calibration.bins, "reliability", labels) if filled else None,
            "was": _was(temperature),
            "samples": sum(b.n for b in filled),
        }
    return Section("confidence", "Can its confidence be believed?", "confidence.html", values)


def _was(temperature: float | None) -> str:
    """What the temperature says about the network as trained."""
    if temperature is None:
        return ""
    if temperature > 1.05:
        return "As trained, the network was too sure of itself; the temperature corrects that."
    if temperature < 0.95:
        return "As trained, the network was less sure than it could be; the temperature corrects that."
    return "As trained, the network needed almost no correction."
