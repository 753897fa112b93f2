"""`shift`: how far two data sets lie apart, before anything is trained."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.progress import progress
from headstart.measure import fit_temperature
from headstart.measure.label_shift import black_box_shares, expected_shares
from headstart.store.atomic import write_json, write_text
from headstart.store.runfolder import RunFolder
from headstart.verbs.domain.gap import by_class, gap, verdict
from headstart.verbs.domain.options import make_adapt_options
from headstart.verbs.domain.pair import TARGET, open_pair
from headstart.verbs.evaluation import calibrated
from headstart.verbs.frozen import MAP_SAMPLES, run_probes, run_screening
from headstart.verbs.showing import drawn, two_components


def shift(
    source: Any, target: Any, *, model: str | None = None, out: str | Path | None = None, **options: Any
) -> dict[str, Any]:
    """Measure the shift from labelled data to data of the same kind, on frozen features where the source probes best.

    Parameters
    ----------
    source, target
        As for `adapt`; labels of the target are not read, except to say which classes it has.
    model
        A model reference.
    out
        A folder to write `shift.json` and `shift.html` (with a map of both) to.
    **options
        Fields of `AdaptOptions` about data, image size, seed, device and engine.

    Returns
    -------
    dict
        `distances` (MMD with p-value, CORAL, proxy A-distance, sliced Wasserstein, discriminator), `verdict`, `text`,
        `classes` (a row per class: counts, how far it moved), `shares` (of the classes, by BBSE and EM).

    Raises
    ------
    HeadstartError
        As for `adapt`.
    """
    checked = make_adapt_options({**options, **({} if model is None else {"model": model})})
    with tempfile.TemporaryDirectory() as scratch:
        pair = open_pair(RunFolder(Path(scratch)), checked, source, target)
        job = pair.job
        start = run_probes(job, run_screening(job))["best"]
        place = (start.stage, start.grid)
        x = {part: job.features(start.size, part, [place])[place] for part in ("train", "validation", TARGET)}
    progress().say("Comparing the domains")
    found = gap(x["train"], x[TARGET], job.options.seed)
    word, text = verdict(found)
    held_out, answers = (start.probe.logits(x[part]).numpy() for part in ("validation", TARGET))
    labels = job.labels("validation")
    temperature = fit_temperature(held_out, labels, "single-label")
    p, q = (calibrated(job.task, z, temperature) for z in (held_out, answers))
    shares = np.bincount(job.labels("train"), minlength=len(job.task.classes)) / len(job.parts["train"])
    result = {
        "source": job.dataset.name,
        "target": pair.target.name,
        "samples": {"source": len(x["train"]), "target": len(x[TARGET])},
        "model": job.options.model,
        "stage": start.stage,
        "grid": start.grid,
        "distances": found,
        "verdict": word,
        "text": text,
        "classes": by_class(x["train"], job.labels("train"), x[TARGET], answers.argmax(1), job.task.classes),
        "class_names": list(job.task.classes),
        "shares": {
            "source": shares.tolist(),
            "bbse": black_box_shares(p, labels, q).tolist(),
            "em": expected_shares(q, shares).tolist(),
        },
    }
    if out is not None:
        from headstart.report.shift import shift_page

        Path(out).mkdir(parents=True, exist_ok=True)
        write_json(Path(out) / "shift.json", result)
        write_text(Path(out) / "shift.html", shift_page(result, *_map(x["validation"], x[TARGET])))
    return result


def _map(a: Tensor, b: Tensor) -> tuple[np.ndarray, list[str]]:
    """Both domains on their two principal components, and which is which."""
    a, b = (x[torch.from_numpy(drawn(len(x), MAP_SAMPLES // 2))] for x in (a, b))
    return two_components(torch.cat([a, b]).numpy()), ["source"] * len(a) + ["target"] * len(b)
