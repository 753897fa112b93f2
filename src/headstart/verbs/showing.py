"""What a report shows besides numbers: worst samples, examples, maps of the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import eigh

from headstart.data import Dataset
from headstart.inspect.importance import importance
from headstart.models.model import Model
from headstart.store.atomic import replacing
from headstart.verbs.evaluation import confidence, label_words, losses, predicted
from headstart.verbs.frozen import MAP_SAMPLES, FrozenProbe
from headstart.verbs.job import Job

EXAMPLES_PER_CLASS, MOST_EXAMPLES, WORST, WEIGHED = 3, 36, 24, 3


@dataclass
class Judged:
    """Labels and outputs of one part, with those of the baselines.

    Attributes
    ----------
    logits, outputs
        (N, K) as the model gives them, and calibrated.
    baselines
        Name -> outputs.
    features
        (N, D) of the model as it is kept; None where the outputs came out of folds, or no network made them.
    network
        Outputs of the network, where a baseline was handed back instead of it; else None.
    """

    part: str
    data: Dataset
    labels: np.ndarray
    logits: np.ndarray
    outputs: np.ndarray
    baselines: dict[str, np.ndarray]
    features: np.ndarray | None = None
    network: np.ndarray | None = None


def worst(job: Job, final: Judged) -> list[dict[str, Any]]:
    """The samples of highest loss, shown."""
    each = losses(job.task, final.labels, final.outputs)
    order = [i for i in np.argsort(-np.nan_to_num(each, nan=-np.inf), kind="stable")[:WORST] if np.isfinite(each[i])]
    said, truth = predicted(job.task, final.outputs), label_words(job.task, final.labels)
    sure = confidence(job.task, final.outputs)
    return [
        {
            "id": final.data.ids[i],
            "part": final.part,
            "label": truth[i],
            "predicted": said[i],
            "confidence": None if np.isnan(sure[i]) else float(sure[i]),
            "loss": float(each[i]),
            **shown(job, final.data, int(i)),
        }
        for i in order
    ]


def examples(job: Job) -> list[dict[str, Any]]:
    """A few training samples of every class."""
    if not job.options.examples:
        return []
    data, labels = job.parts["train"], job.labels("train")
    words = label_words(job.task, labels)
    if job.task.kind == "single-label":
        classes = [np.flatnonzero(labels == c)[:EXAMPLES_PER_CLASS] for c in range(len(job.task.classes))]
        picked = [int(i) for rows in classes[: MOST_EXAMPLES // EXAMPLES_PER_CLASS] for i in rows]
    else:
        picked = np.linspace(0, len(data) - 1, min(12, len(data))).astype(int).tolist()
    return [{**shown(job, data, i), "label": words[i], "id": data.ids[i]} for i in picked]


def rests_on(job: Job, model: Model, final: Judged) -> list[dict[str, Any]]:
    """What some answers rest on: the three of highest loss, and right ones of different classes."""
    if final.features is None or not job.options.examples:
        return []
    each = np.nan_to_num(losses(job.task, final.labels, final.outputs), nan=-1.0)
    same = np.flatnonzero(_is_the_networks(job, final))
    if not len(same):
        return []
    worst_first = [int(i) for i in same[np.argsort(-each[same], kind="stable")]]
    said, truth = predicted(job.task, final.outputs), label_words(job.task, final.labels)
    sure = confidence(job.task, final.outputs)
    picked, seen = worst_first[:WEIGHED], set()
    for i in reversed(worst_first):
        if len(picked) < 2 * WEIGHED and i not in picked and str(truth[i]) not in seen and each[i] >= 0:
            picked.append(i)
            seen.add(str(truth[i]))
    reader = job.reader(model.backbone, {"weighed": final.data.subset(np.array(picked))})
    batch = reader.batch("weighed", np.arange(len(picked)), ("plain",), labels=False).to(job.device)
    values = importance(model, batch, job.task.name)
    if values is None:
        return []
    return [
        {
            "id": final.data.ids[i],
            "label": truth[i],
            "predicted": said[i],
            "confidence": None if np.isnan(sure[i]) else float(sure[i]),
            **job.modality.weighed(job, final.data, i, model.backbone, value),
        }
        for i, value in zip(picked, values, strict=True)
    ]


def _is_the_networks(job: Job, final: Judged) -> np.ndarray:
    """(N,) where the answer is the network's one largest logit: of no other can it be said what it rests on.

    A model beside the network may have the last word, and of labels none or several may apply.
    """
    first = final.logits.argmax(1)
    if job.task.kind == "single-label":
        return final.outputs.argmax(1) == first
    if job.task.kind == "multi-label":
        applies = final.outputs >= 0.5
        return (applies.sum(1) == 1) & applies[np.arange(len(first)), first]
    return np.ones(len(first), bool)


def shown(job: Job, data: Dataset, i: int) -> dict[str, Any]:
    """A sample as the report shows it; nothing with --no-examples."""
    return job.modality.shown(job, data, i) if job.options.examples else {}


def write_maps(job: Job, start: FrozenProbe, final: Judged) -> None:
    """maps.parquet: two principal components of the features before and after training, of at most 1,000 samples.

    The samples are those of the final part (the test, where there is one): the model has not been trained on them.
    Nothing is written where the outputs came out of folds, since no one model made them.
    """
    if final.features is None:
        return
    index = drawn(len(final.data), MAP_SAMPLES)
    place = (start.stage, start.grid)
    before = job.features(start.size, final.part, [place])[place].numpy()[index]
    words = label_words(job.task, final.labels[index])
    frame: dict[str, Any] = {
        "id": [final.data.ids[int(i)] for i in index],
        "part": final.part,
        "label": [", ".join(w) if isinstance(w, list) else w for w in words],
    }
    after = final.features[index]
    maps = {"before": two_components(before)}
    maps["after"] = maps["before"] if np.array_equal(before, after) else two_components(after)
    for name, points in maps.items():
        frame[f"{name}_x"], frame[f"{name}_y"] = points.T
    with replacing(job.folder.maps) as path:
        pd.DataFrame(frame).to_parquet(path)


def drawn(n: int, most: int) -> np.ndarray:
    """At most so many of n rows, in their order, drawn at random: data by class have the first classes first.

    >>> drawn(3, 5).tolist(), len(drawn(1000, 5))
    ([0, 1, 2], 5)
    """
    return np.sort(np.random.default_rng(0).permutation(n)[:most])


def two_components(x: np.ndarray) -> np.ndarray:
    """The first two principal components (N, 2) of standardised features, their signs by the largest weight."""
    if len(x) < 3 or x.shape[1] < 2:
        return np.zeros((len(x), 2))
    spread = x.std(0)
    scaled = (x - x.mean(0)) / np.maximum(spread, 1e-3 * np.median(spread) + 1e-12)
    wide = scaled.shape[1] > len(scaled)
    gram = scaled @ scaled.T if wide else scaled.T @ scaled
    values, vectors = eigh(gram.astype(np.float64), subset_by_index=[len(gram) - 2, len(gram) - 1])
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), [0, 1]])
    return vectors * np.sqrt(values) if wide else scaled @ vectors
