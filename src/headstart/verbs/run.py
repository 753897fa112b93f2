"""A finished (or interrupted) run, as Python sees it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from headstart.store.runfolder import RunFolder


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run; `run` is the folder that `resume` continues."""

    def __init__(self, run: Path) -> None:
        super().__init__(f"Interrupted. Continue with: headstart resume {run}")
        self.run = run


class Run:
    """What a run found; reads the run folder.

    Parameters
    ----------
    path
        The run folder.

    Attributes
    ----------
    path
        The run folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = RunFolder.existing(path).path

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @cached_property
    def data(self) -> dict[str, Any]:
        """The content of report.json."""
        return RunFolder(self.path).read_report()

    @property
    def metrics(self) -> dict[str, Any]:
        """Part -> metric -> value, low, high; of several tasks, task -> the same."""
        if self.data.get("kind") == "tasks":
            return {task["name"]: task["metrics"] for task in self.data["tasks"]}
        return self.data["metrics"]

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """Of several tasks: name -> its metrics, baselines and what sharing did to it; empty where there is one."""
        return {task["name"]: task for task in self.data.get("tasks", [])}

    def predict(self, inputs: Any, top: int = 1) -> list[dict[str, Any]]:
        """Predictions for pictures; see `headstart.predict`."""
        from headstart.verbs.predict import predict

        return predict(self.path, inputs, top=top)

    def evaluate(self, data: Any, **options: Any) -> dict[str, Any]:
        """Metrics on other labelled data; see `headstart.evaluate`."""
        from headstart.verbs.evaluate import evaluate

        return evaluate(self.path, data, **options)

    def report(self) -> Path:
        """Render report.html again and return its path."""
        from headstart.verbs.report import report

        return report(self.path)
