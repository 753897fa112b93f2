"""What an examination of the data found."""

from __future__ import annotations

from typing import Any

from headstart.report.folder import RunFolder
from headstart.report.schema.evidence import FindingRow
from headstart.report.sections.section import Section

SHOWN = 12
"""Samples that are named; report.json has more."""


def findings(run: RunFolder) -> list[Section]:
    """The findings, most important first; no section where the run did not look."""
    rows = run.report.findings
    if not rows and run.report.status != "finished":
        return []
    return [Section("findings", "Are the data fit for this?", "findings.html", {"rows": [_row(row) for row in rows]})]


def _row(row: FindingRow) -> dict[str, Any]:
    count = max(row.count, len(row.samples))
    return {
        "level": row.level,
        "kind": {"serious": "bad", "worth a look": "open"}.get(row.level, "plain"),
        "topic": row.topic,
        "text": row.text,
        "todo": row.todo,
        "samples": row.samples[:SHOWN],
        "more": max(0, count - SHOWN),
    }
