"""The frozen part of a fit: screening, probes on the chosen place and on the last layer, mirrored pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.errors import ConfigError, did_you_mean
from headstart.core.progress import progress
from headstart.features.extract import Place
from headstart.features.probe import Probe, class_weights, fit_probe
from headstart.features.screen import Screening, paired_gain, screen
from headstart.models.bundle import Bundle, load_bundle, save_bundle
from headstart.verbs.job import Job
from headstart.verbs.modalities import RawBaseline

MAP_SAMPLES = 1000


@dataclass
class FrozenProbe:
    """A probe on one place, with what it says of validation.

    Attributes
    ----------
    size, stage, grid
        Where it reads.
    probe
        The linear model, fitted on the whole training part.
    validation
        (N, K) logits: of the validation part, or out of five folds where data are few.
    halves
        (N, K) logits out of two folds where data are few, for comparison with fine-tuning; else None.
    """

    size: int
    stage: str
    grid: int
    probe: Probe
    validation: np.ndarray
    halves: np.ndarray | None

    def as_tree(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "stage": self.stage,
            "grid": self.grid,
            "probe": {
                "weight": self.probe.weight,
                "bias": self.probe.bias,
                "mean": self.probe.mean,
                "scale": self.probe.scale,
                "strength": self.probe.strength,
                "held_out": self.probe.held_out,
                "scores": self.probe.scores,
            },
            "validation": torch.from_numpy(self.validation),
            "halves": None if self.halves is None else torch.from_numpy(self.halves),
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> FrozenProbe:
        halves = tree["halves"]
        return cls(
            tree["size"],
            tree["stage"],
            tree["grid"],
            Probe(**tree["probe"]),
            tree["validation"].numpy(),
            None if halves is None else halves.numpy(),
        )


# -- screening -------------------------------------------------------------------------------------------------------


def run_screening(job: Job) -> Screening:
    """Choose stage, grid and size by evidence (a durable step)."""
    return Screening.from_json(job.step("screen", lambda: screened(job).as_json()))


def screened(job: Job) -> Screening:
    """What a probe's cross-validation says of every stage, grid and size of the network."""
    own = job.frozen(job.asked_size)
    names = list(own.stages)
    if job.options.stage not in ("auto", "last", *names):
        raise ConfigError(
            f"The network has no stage {job.options.stage!r}.",
            did_you_mean(job.options.stage, ["auto", "last", *names]),
        )
    spec = own.input_spec
    sizes = job.modality.sizes(job, own)
    unit = job.modality.unit
    what = "stages, grids and sizes" if len(sizes) > 1 else "stages"
    at = f" at {', '.join(map(str, sizes))} {unit}" if unit else ""
    progress().say(f"Screening {what}{at} on {len(job.screened)} samples")

    def open_at(size: int) -> tuple[Any, Any]:
        backbone = own if size == spec.size else job.frozen(size)
        return backbone, job.reader_once(backbone)

    assignment = job.folds[torch.as_tensor(job.screened)]
    labels, asked = job.labels("screen"), job.options.stage
    return screen(open_at, sizes, labels, job.task, job.metric.name, assignment, asked, job.engines, job.samples)


# -- probes ----------------------------------------------------------------------------------------------------------


def run_probes(job: Job, screening: Screening) -> dict[str, FrozenProbe]:
    """Full path on the chosen place ("best") and on the last layer ("last"), from one pass (a durable step)."""
    tree = job.step("probe", lambda: _probes(job, screening))
    return {name: FrozenProbe.from_tree(t) for name, t in tree.items()}


def _probes(job: Job, screening: Screening) -> dict[str, Any]:
    size = screening.chosen.size
    best: Place = (screening.chosen.stage, screening.chosen.grid)
    last: Place = (screening.last.stage, screening.last.grid)
    places = list(dict.fromkeys([best, last]))
    parts = ["train"] + ([] if job.few else ["validation"])
    features = {part: job.features(size, part, places) for part in parts}
    same = best == last
    made = {"best": probe_at(job, size, best, {part: f[best] for part, f in features.items()})}
    made["last"] = made["best"] if same else probe_at(job, size, last, {part: f[last] for part, f in features.items()})
    return {name: probe.as_tree() for name, probe in made.items()}


def probe_at(job: Job, size: int, place: Place, features: dict[str, Tensor]) -> FrozenProbe:
    """The full path on the features of one place, by part."""
    labels = job.labels("train")
    weights = class_weights(job.task, labels) if job.balanced else None
    x = features["train"]
    probe = fit_probe(x, labels, job.task, job.metric.name, job.folds, weights)
    halves = None
    if job.few:
        validation = probe.held_out.numpy()
        halves = fit_probe(x, labels, job.task, job.metric.name, job.halves, weights, [probe.strength]).held_out.numpy()
    else:
        validation = probe.logits(features["validation"]).numpy()
    return FrozenProbe(size, *place, probe, validation, halves)


# -- without a network -----------------------------------------------------------------------------------------------


def run_raw(job: Job) -> RawBaseline:
    """The modality's linear model on features that no network made (a durable step)."""
    folder = job.folder.steps / "raw-model"

    def fitted() -> dict[str, Any]:
        raw = job.modality.raw_baseline(job)
        save_bundle(folder, Bundle(raw.model, (job.task,)))
        halves = None if raw.halves is None else torch.from_numpy(raw.halves)
        return {"validation": torch.from_numpy(raw.validation), "halves": halves, "strength": raw.strength}

    kept = job.step("raw", fitted)
    halves = None if kept["halves"] is None else kept["halves"].numpy()
    return RawBaseline(kept["validation"].numpy(), halves, kept["strength"], load_bundle(folder).model)


# -- mirrored pictures -----------------------------------------------------------------------------------------------


def may_mirror(job: Job, best: FrozenProbe, step: str = "mirror") -> tuple[bool, str]:
    """Whether classes survive mirroring left to right: judged by the probe on mirrored pictures (a durable step).

    The probe of each fold sees its held-out screening samples mirrored. Mirroring is used in training only where
    this costs no more than noise: it helps on photographs and ruins digits.
    """
    value = job.step(step, lambda: _mirror(job, best))
    return value["allowed"], value["reason"]


def _mirror(job: Job, best: FrozenProbe) -> dict[str, Any]:
    place = (best.stage, best.grid)
    train = job.features(best.size, "train", [place])[place]
    plain = train[torch.as_tensor(job.screened)]
    mirrored = job.features(best.size, "screen", [place], view="mirror")[place]
    labels, assignment = job.labels("screen"), job.folds[torch.as_tensor(job.screened)]
    strengths = [best.probe.strength]
    a, b = np.full((len(labels), job.task.outputs), np.nan), np.full((len(labels), job.task.outputs), np.nan)
    for fold in range(int(assignment.max()) + 1):
        held = (assignment == fold).numpy()
        fitted = fit_probe(
            plain[~held],
            labels[~held],
            job.task,
            job.metric.name,
            torch.full((int((~held).sum()),), -1),
            None,
            strengths,
        )
        a[held], b[held] = fitted.logits(plain[held]).numpy(), fitted.logits(mirrored[held]).numpy()
    change, error = paired_gain(job.task, labels, a, b, job.metric.name)
    allowed = change >= -max(2 * error, 0.01 if job.task.kind != "regression" else 0.0)
    verb = "Pictures are mirrored in training" if allowed else "Pictures are not mirrored in training"
    return {
        "allowed": bool(allowed),
        "reason": f"{verb}: on mirrored pictures the probe's {job.metric.name} changes by {change:+.3f} "
        f"(standard error {error:.3f}).",
    }
