"""Where the tasks start: a probe for each at its own best place, and at the one place that serves all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.progress import progress
from headstart.features.screen import Row, Screening
from headstart.verbs.frozen import FrozenProbe, may_mirror, probe_at, screened
from headstart.verbs.job import Job
from headstart.verbs.tasks.view import TaskJob


@dataclass
class Start:
    """Of one task.

    Attributes
    ----------
    screening
        What was measured of the stages.
    own, shared
        The probe at the task's own best place: the quick single-task baseline; and at the place of the shared model.
    """

    screening: Screening
    own: FrozenProbe
    shared: FrozenProbe

    def as_tree(self) -> dict[str, Any]:
        return {"screening": self.screening.as_json(), "own": self.own.as_tree(), "shared": self.shared.as_tree()}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> Start:
        return cls(
            Screening.from_json(tree["screening"]),
            FrozenProbe.from_tree(tree["own"]),
            FrozenProbe.from_tree(tree["shared"]),
        )


def run_starts(job: Job, views: Mapping[str, TaskJob], reasons: list[str]) -> dict[str, Start]:
    """Screen every task, agree on a place, solve the probes (durable steps)."""
    screenings = {}
    for name, view in views.items():
        progress().say(f"{name}:")
        kept = job.step(f"screen-task-{view.number}", lambda view=view: screened(view).as_json())  # type: ignore[misc]
        screenings[name] = Screening.from_json(kept)
    row = common_place(screenings)
    grid = f", pooled to a grid of {row.grid}" if row.grid > 1 else ""
    reasons.append(
        f"All tasks read the stage {row.stage}{grid}: there their probes fall least short of their best, on average."
    )

    def solved() -> dict[str, Any]:
        return {str(view.number): _start(view, screenings[name], row).as_tree() for name, view in views.items()}

    tree = job.step("probes", solved)
    return {name: Start.from_tree(tree[str(view.number)]) for name, view in views.items()}


def common_place(screenings: Mapping[str, Screening]) -> Row:
    """The row of the first task at the place where the mean over tasks of (score - best) / |best| is highest."""
    tables = [{(r.size, r.stage, r.grid): r for r in screening.rows} for screening in screenings.values()]
    places = [place for place in tables[0] if all(place in table for table in tables)]
    if not places:
        return next(iter(screenings.values())).last

    def shortfall(table: Mapping[Any, Row], place: Any) -> float:
        best = max(row.score for row in table.values())
        return (table[place].score - best) / max(abs(best), 1e-12)

    best = max(places, key=lambda place: float(np.mean([shortfall(table, place) for table in tables])))
    return tables[0][best]


def _start(view: TaskJob, screening: Screening, row: Row) -> Start:
    chosen = screening.chosen
    own = _probe(view, chosen)
    same = (chosen.size, chosen.stage, chosen.grid) == (row.size, row.stage, row.grid)
    return Start(screening, own, own if same else _probe(view, row))


def _probe(view: TaskJob, row: Row) -> FrozenProbe:
    place = (row.stage, row.grid)
    parts = ["train"] if view.few else ["train", "validation"]
    features = {part: view.features(row.size, part, [place])[place] for part in parts}
    return probe_at(view, row.size, place, features)


def mirrors(views: Mapping[str, TaskJob], starts: Mapping[str, Start], reasons: list[str]) -> dict[str, bool]:
    """Task -> whether its classes survive mirroring; the shared model mirrors only where all do."""
    first = next(iter(views.values()))
    if first.options.augment == "none" or first.modality.name != "image":
        return dict.fromkeys(views, False)
    found = {}
    for name, view in views.items():
        found[name], why = _mirror(view, starts[name])
        reasons.append(f"{name}: {why}")
    return found


def _mirror(view: TaskJob, start: Start) -> tuple[bool, str]:
    return may_mirror(view, start.own, f"mirror-task-{view.number}")
