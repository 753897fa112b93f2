"""The guard's dear baseline: the same network from random weights, trained on the same data (`--guard full`).

It is a run of its own, in the folder `scratch` of the run, with a report of its own; it is resumed with the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from headstart.core.notes import Notes
from headstart.core.progress import progress
from headstart.data import Dataset, Task
from headstart.models.bundle import load_bundle
from headstart.store.runfolder import RunFolder
from headstart.verbs.job import Job

FOLDER = "scratch"


@dataclass
class Scratch:
    """What the network from random weights said.

    Attributes
    ----------
    path
        Its run folder.
    seconds
        What it cost.
    temperature
        What its logits were divided by.
    """

    path: Path
    seconds: float
    predictions: pd.DataFrame
    task: Task
    temperature: float

    def outputs(self, part: str, data: Dataset) -> np.ndarray:
        """Its calibrated outputs on "validation" (out of folds where data are few) or "test"; NaN where it has none."""
        rows = self.predictions[self.predictions.part == part].set_index("id")
        names = [f"p_{c}" for c in self.task.classes] if self.task.kind != "regression" else ["predicted"]
        found = rows.reindex([str(i) for i in data.ids])[names].to_numpy(dtype=float)
        return found[:, 0] if self.task.kind == "regression" else found

    def logits(self, part: str, data: Dataset) -> np.ndarray:
        """(N, K) logits whose outputs are `outputs`: divided by the temperature already."""
        p = self.outputs(part, data)
        if self.task.kind == "regression":
            return p[:, None]
        p = np.clip(p, 1e-12, 1 - 1e-12)
        return np.log(p) if self.task.kind == "single-label" else np.log(p / (1 - p))


def run_scratch(job: Job, run: Callable[[Job], object], reasons: list[str]) -> Scratch | None:
    """Train the network from random weights with the strategy "full"; None, with the reason, where there is none."""
    reference = job.options.model
    if job.module is not None or reference.startswith(("run:", "scratch:")):
        what = (
            "starts from random weights already" if reference.startswith("scratch:") else "has no architecture to name"
        )
        reasons.append(f"--guard full: {reference} {what}; there is no baseline from random weights.")
        return None
    folder = RunFolder(job.folder.path / FOLDER)
    changes = {
        "model": f"scratch:{reference}",
        "strategy": "full",
        "stage": "last",
        "guard": "off",
        "blend": False,
        "interpolate": False,
        "budget": None,
        "curve": "probe",
        "examples": False,
        "out": folder.path,
    }
    if not folder.report.exists():
        progress().say(f"Training scratch:{reference} as a baseline")
        options = job.options.model_copy(update=changes)
        own = job.with_network(options, folder=folder, notes=Notes(), seconds={})
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_config(
            {"data": job.folder.read_config()["data"], **options.model_dump(mode="json", exclude={"out"})}
        )
        run(own)
    report = folder.read_report()
    predictions = pd.read_parquet(folder.predictions)
    predictions["id"] = predictions["id"].astype(str)
    temperature = load_bundle(folder.bundle).temperatures.get(job.task.name, 1.0)
    return Scratch(folder.path, report["cost"]["seconds"], predictions, job.task, temperature)
