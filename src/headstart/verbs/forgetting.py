"""What fine-tuning did to what the network knew: answers of the head that it was pretrained with, before and after."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import log_softmax

from headstart.core.errors import HeadstartError
from headstart.data.schema import missing
from headstart.measure import find_metric
from headstart.models.bundle import find_bundle, load_bundle
from headstart.models.model import Model
from headstart.store.runfolder import RunFolder
from headstart.train.inference import outputs
from headstart.train.reader import Reader
from headstart.verbs.evaluation import calibrated
from headstart.verbs.job import Job, load_for
from headstart.verbs.options import make_options
from headstart.verbs.showing import drawn

if TYPE_CHECKING:
    from headstart.data import Dataset
    from headstart.verbs.showing import Judged
    from headstart.verbs.writing import Result

MOST = 500
"""Samples that are looked at."""


def forgetting(job: Job, result: Result, final: Judged) -> dict[str, Any] | None:
    """What is known about it, or None where nothing was trained or nothing can be asked.

    Returns
    -------
    dict or None
        `drift`: on the judged samples, `n`, the share `same` to which the pretrained classifier still gives the same
        answer, and `divergence`, the mean Kullback-Leibler divergence of its probabilities before from those after
        (nats); None where the network was cut off before its classifier, or has none. `source`: where the network
        came from a run whose data can still be read, its `metric` on its own held-out `part` `before` and `after`.
    """
    if result.candidate is None or result.fallback is not None:
        return None
    found = {"drift": _drift(job, result, final), "source": _on_source(job, result.network)}
    return found if any(v is not None for v in found.values()) else None


def _drift(job: Job, result: Result, final: Judged) -> dict[str, Any] | None:
    backbone = result.network.backbone
    head, last = backbone.source_head, list(backbone.stages)[-1]
    if head is None or final.features is None or result.network.grid != 1 or result.start.stage != last:
        return None
    some = torch.from_numpy(drawn(len(final.features), MOST))
    place = (last, 1)
    before = job.features(result.start.size, final.part, [place])[place][some].float()
    head = copy.deepcopy(head).float().cpu()
    with torch.inference_mode():
        a, b = (log_softmax(head(x).numpy(), axis=1) for x in (before, torch.from_numpy(final.features)[some].float()))
    return drift_of(a, b)


def drift_of(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Agreement of answers and mean KL(before ‖ after) in nats, of (N, K) log-probabilities."""
    return {
        "n": len(before),
        "same": float((before.argmax(1) == after.argmax(1)).mean()),
        "divergence": float((np.exp(before) * (before - after)).sum(1).mean()),
    }


def _on_source(job: Job, network: Model) -> dict[str, Any] | None:
    kind, _, where = job.options.model.partition(":")
    if kind != "run":
        return None
    try:
        bundle = load_bundle(find_bundle(Path(where)))
        folder = RunFolder.existing(where)
        report = folder.read_report()
        # Several tasks share a network and have no metric in common: nothing is forgotten in one number.
        data = _held_out(folder) if len(bundle.tasks) == 1 and report.get("kind") != "tasks" else None
    except (HeadstartError, OSError, KeyError, ValueError):
        return None  # a bundle that was copied out of its run, data that have gone: nothing can be asked
    own = bundle.model.backbone
    if data is None or list(own.stages) != list(network.backbone.stages):
        return None
    part, samples = data
    task = bundle.tasks[0]
    labels = samples.labels(task.name)
    known = np.flatnonzero(~missing(labels))
    known = known[drawn(len(known), MOST)]
    metric = find_metric(task.kind, report["metric"])
    after = Model(_as_source(network, own), {task.name: bundle.model.head()}, bundle.model.grid)
    values = []
    for model in (bundle.model, after):
        reader = Reader({"held": samples.subset(known)}, model.backbone, 0, 0)
        logits = outputs(model.to(job.device).eval(), reader, "held").logits[task.name]
        out = calibrated(task, logits, bundle.temperatures.get(task.name, 1.0))
        values.append(float(metric.function(labels[known], out)))
    return {"run": where, "part": part, "n": len(known), "metric": metric.name, "before": values[0], "after": values[1]}


def _as_source(network: Model, own: Any) -> Any:
    """The trained backbone; of series with the channel statistics that the source was standardised by."""
    backbone = copy.deepcopy(network.backbone)
    for name in ("channel_mean", "channel_std"):
        if hasattr(own, name):
            getattr(backbone, name).copy_(getattr(own, name))
    return backbone


def _held_out(folder: RunFolder) -> tuple[str, Dataset] | None:
    """The test part of a run, else its validation part, out of its own data and split."""
    import json

    config = folder.read_config()
    source = config.pop("data")
    if config.pop("verb", "fit") != "fit" or source is None:
        return None
    data = load_for(make_options({**config, "out": None}), source)
    kept = json.loads(folder.data.read_text(encoding="utf-8"))
    if kept["fingerprint"] != data.fingerprint():
        return None
    place = {name: i for i, name in enumerate(data.ids)}
    for part in ("test", "validation"):
        if names := kept["split"].get(part):
            return part, data.subset(np.array([place[name] for name in names]))
    return None
