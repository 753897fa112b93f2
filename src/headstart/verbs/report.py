"""`report`: (re)render report.html from what the run folder holds."""

from __future__ import annotations

from pathlib import Path

from headstart.store.runfolder import RunFolder


def report(run: str | Path) -> Path:
    """Write report.html anew; a pure function of the files in the run folder.

    Raises
    ------
    StoreError
        When there is no run, or its report.json is of a newer schema.
    """
    from headstart.report.render import render_report

    return render_report(RunFolder.existing(run).path)
