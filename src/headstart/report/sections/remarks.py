"""Notes of the run: what Headstart decided or noticed by itself."""

from __future__ import annotations

from itertools import groupby

from headstart.report.folder import RunFolder
from headstart.report.schema.part import Remark
from headstart.report.sections.section import Section


def all_remarks(run: RunFolder) -> list[Remark]:
    """Every note once, those about unreadable files last."""
    report = run.report
    notes = [*report.notes, *report.data.notes, *report.model.notes]
    notes += [Remark(level="warning", topic="files", text=text) for text in run.missing]
    return list({(n.level, n.topic, n.text): n for n in notes}.values())


def warnings(run: RunFolder) -> list[Remark]:
    """What the top of the page warns of: notes that are warnings, and serious findings about the data."""
    found = [Remark(level="warning", topic="data", text=f.text) for f in run.report.findings if f.level == "serious"]
    notes = [note for note in all_remarks(run) if note.level == "warning"]
    return list({note.text: note for note in [*found, *notes]}.values())


def remarks(run: RunFolder) -> Section:
    """All notes by topic, warnings first within a topic."""
    notes = sorted(all_remarks(run), key=lambda n: n.topic)
    topics = [
        (topic or "general", sorted(group, key=lambda n: n.level != "warning"))
        for topic, group in groupby(notes, key=lambda n: n.topic)
    ]
    topics.sort(key=lambda t: t[1][0].level != "warning")
    return Section("notes", "Notes and warnings", "notes.html", {"topics": topics})
