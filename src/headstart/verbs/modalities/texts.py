"""Texts in a fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.data import Dataset
from headstart.features.probe import class_weights
from headstart.features.tfidf import fit_tfidf
from headstart.models.backbone import Backbone
from headstart.models.token_backbone import MOST_WINDOWS
from headstart.models.wanted import Text
from headstart.verbs.modalities.base import Modality, RawBaseline, own_parts

if TYPE_CHECKING:
    from headstart.verbs.job import Job

COVERED = 0.95
"""The share of texts that `--max-length auto` lets in whole, as long as the ceiling allows."""

CEILINGS = {"transformer": 128, "rnn": 400}
"""Most tokens that `--max-length auto` takes: cost grows with them, and most of what a text says, it says early."""

_SHOWN = 4000


class Texts(Modality):
    """Sizes from the texts' lengths in tokens, TF-IDF as the baseline, words in the report."""

    name = "text"
    default_model = "sample:all-minilm-l6-v2"
    offline_models = ("sample:all-minilm-l6-v2", "scratch:awd-lstm", "scratch:gru")
    unit = "tokens"
    raw_title = "TF-IDF + {model}"
    raw_words = "a linear model on TF-IDF"
    foreign = frozenset(
        {"image", "image_size", "augment", "mixup", "cutmix", "series", "id", "time", "window", "stride"}
    )

    def sizes(self, job: Job, backbone: Backbone) -> list[int]:
        if job.options.max_length != "auto":
            return [job.options.max_length]
        ceiling = min(CEILINGS[backbone.family], backbone.input_spec.native_size)
        needed = float(np.quantile(token_counts(backbone, job.parts["screen"]), COVERED))
        return [min(ceiling, max(16, int(np.ceil(needed / 8)) * 8))]

    def raw_baseline(self, job: Job) -> RawBaseline:
        parts = own_parts(job)
        labels = job.labels("train")
        weights = class_weights(job.task, labels) if job.balanced else None
        texts, rest = texts_of(parts[0]), (labels, job.task, job.metric.name)
        fitted, halves = fit_tfidf(texts, *rest, job.folds, weights), None
        if job.few:
            halves = fit_tfidf(texts, *rest, job.halves, weights, [fitted.strength]).held_out
        validation = fitted.held_out if job.few else fitted.logits(texts_of(parts[1]))
        return RawBaseline(np.asarray(validation, dtype=np.float32), halves, fitted.strength, fitted.as_model())

    def facets(self, data: Dataset, most: int) -> dict[str, np.ndarray]:
        return {"characters": np.asarray(data.sizes).sum(1)}

    def shown(self, job: Job, data: Dataset, i: int) -> dict[str, Any]:
        text = data.read(i).inputs
        return {"text": [t[:_SHOWN] for t in text] if isinstance(text, tuple) else text[:_SHOWN]}

    def weighed(self, job: Job, data: Dataset, i: int, backbone: Backbone, values: np.ndarray) -> dict[str, Any]:
        settled = np.asarray(backbone.settle(data.read(i)).inputs)
        numbers = (settled[0] if settled.ndim == 3 else settled).reshape(-1)
        numbers = numbers[numbers >= 0]
        tokenizer: Any = backbone.tokenizer
        # An unknown word is part of the text, whatever the tokenizer makes of it.
        special, tokens = tokenizer.special.numbers() - {tokenizer.special.unk}, tokenizer.tokens(numbers)
        pairs = zip(numbers, tokens, values, strict=True)
        return {"tokens": [{"token": t, "value": round(float(v), 5)} for n, t, v in pairs if int(n) not in special]}

    def lengths(self, job: Job, backbone: Backbone) -> dict[str, Any] | None:
        """Tokens per text of the training part, and how much the limit cuts off."""
        train, spec = job.parts["train"], backbone.input_spec
        counts = token_counts(backbone, train)
        over = np.maximum(counts - _room(backbone, pairs=isinstance(train.read(0).inputs, tuple)), 0)
        most = int(np.quantile(counts, 0.99)) + 1
        histogram, edges = np.histogram(np.minimum(counts, most), bins=min(40, most), range=(0, most))
        return {
            "unit": self.unit,
            "edges": [round(float(e), 1) for e in edges],
            "counts": histogram.tolist(),
            "limit": spec.size,
            "truncated": int((over > 0).sum()),
            "lost_share": float(over.sum() / max(1, counts.sum())),
            "long": spec.long,
        }


def _room(backbone: Any, pairs: bool) -> int:
    """Most tokens of a text that enter: windows have their special tokens each; pairs have one window."""
    spec, tokenizer = backbone.input_spec, backbone.tokenizer
    if pairs or spec.long != "windows":
        return spec.size
    special = tokenizer.special_count()
    return special + MOST_WINDOWS * (spec.size - special)


def texts_of(data: Dataset) -> list[Text]:
    """Every text (or pair) of a data set."""
    return list(_read(data))


def _read(data: Dataset) -> Iterator[Text]:
    for i in range(len(data)):
        yield data.read(i).inputs


def token_counts(backbone: Any, data: Dataset) -> np.ndarray:
    """(N,) tokens of each text before anything is cut off."""
    return np.array([len(backbone.tokenizer.encode(text)) for text in _read(data)], dtype=np.int64)
