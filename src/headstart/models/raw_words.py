"""Counted words as a backbone: a linear model on TF-IDF is a table of one weight per word and output."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.data.schema import Sample
from headstart.data.scripts import unspaced_share
from headstart.models.backbone import InputSpec, StagedBackbone, State
from headstart.models.raw import FAMILY, provenance_of

Text = str | tuple[str, str]

FILE = "words.json"
MOST_FEATURES = 50_000
UNSPACED = 0.3
"""From this share of letters of scripts without spaces on, characters are counted instead of words."""

_FREQUENT = 200
_MANY = 5000
_CHARACTERS: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 3)}


class WordCounter:
    """TF-IDF vectors of texts, or of each side of pairs; words or characters, by the script.

    Sublinear counts (1 + ln n), smooth inverse document frequencies, unit length of each side (Salton & Buckley
    1988); of many texts also pairs of words; characters up to three for scripts without spaces.

    Attributes
    ----------
    vectorizers
        scikit-learn's, one for each side; None where every text of a side is empty.
    """

    def __init__(self, vectorizers: Sequence[Any]) -> None:
        self.vectorizers = list(vectorizers)

    @classmethod
    def fitted(cls, texts: Sequence[Text]) -> WordCounter:
        """With the vocabulary of these texts."""
        sides = _split(texts, 1 if isinstance(texts[0], str) else 2)
        characters = unspaced_share(text for side in sides for text in side) >= UNSPACED
        least = 2 if len(texts) >= _FREQUENT else 1
        words = {"min_df": least, "ngram_range": (1, 2 if len(texts) >= _MANY else 1)}
        ways = [_CHARACTERS | {"min_df": least}, _CHARACTERS] if characters else [words, _CHARACTERS]
        return cls([_vectorizer(side, ways) for side in sides])

    def count(self, texts: Sequence[Text]) -> Any:
        """(N, words) sparse float32 vectors."""
        from scipy.sparse import hstack

        sides = zip(self.vectorizers, _split(texts, len(self.vectorizers)), strict=True)
        parts = [vectorizer.transform(side) for vectorizer, side in sides if vectorizer is not None]
        return parts[0] if len(parts) == 1 else hstack(parts, format="csr")

    def as_json(self) -> list[dict[str, Any] | None]:
        """One entry for each side."""
        return [
            None
            if v is None
            else {
                "analyzer": v.analyzer,
                "ngram_range": list(v.ngram_range),
                "terms": v.get_feature_names_out().tolist(),
                "idf": [float(x) for x in v.idf_],
            }
            for v in self.vectorizers
        ]

    @classmethod
    def from_json(cls, sides: Sequence[Mapping[str, Any] | None]) -> WordCounter:
        """The inverse of `as_json`."""
        return cls([None if side is None else _kept(side) for side in sides])


def _split(texts: Sequence[Text], sides: int) -> list[list[str]]:
    return [[t if isinstance(t, str) else t[side] for t in texts] for side in range(sides)]


def _vectorizer(texts: list[str], ways: Sequence[dict[str, Any]]) -> Any:
    """A fitted vectorizer, the first way that finds anything to count; None where every text is empty."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    for way in ways:
        vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=MOST_FEATURES, dtype=np.float32, **way)
        # It refuses texts without a word of two letters, and texts of which no two have a word in common.
        with suppress(ValueError):
            return vectorizer.fit(texts)
    return None


def _kept(side: Mapping[str, Any]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        sublinear_tf=True,
        dtype=np.float32,
        analyzer=side["analyzer"],
        ngram_range=tuple(side["ngram_range"]),
        vocabulary={term: i for i, term in enumerate(side["terms"])},
    )
    vectorizer.idf_ = np.array(side["idf"], dtype=np.float32)
    return vectorizer


class WordWeights(nn.Module):
    """The weighted sum of the rows of the words that a text has: (B, L) numbers and values -> (B, outputs)."""

    def __init__(self, words: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(words, outputs))

    def forward(self, s: State) -> State:
        return {"x": F.embedding_bag(s["ids"], self.weight, mode="sum", per_sample_weights=s["values"])}


class RawWords(StagedBackbone):
    """The outputs of a linear model on TF-IDF vectors, (B, outputs): too many words to hand on as features.

    A settled sample is (2, L): the numbers of the words that a text has, and their TF-IDF values.
    """

    by_length = True
    settles_together = True

    def __init__(self, counter: WordCounter, words: int, outputs: int) -> None:
        super().__init__({"words": WordWeights(words, outputs)}, FAMILY, cuts=())
        self.counter = counter
        self.input_spec = InputSpec("text", 0, 0, 0, True, (), (), "", "sum")
        self.provenance = provenance_of("raw-words", words=words, outputs=outputs)

    def settle(self, sample: Sample) -> Sample:
        return self.settle_all([sample])[0]

    def settle_all(self, samples: Sequence[Sample]) -> list[Sample]:
        x = self.counter.count([sample.inputs for sample in samples])
        rows = zip(x.indptr[:-1], x.indptr[1:], strict=True)
        # Numbers of words are far below 2^24, up to which float32 holds whole numbers exactly.
        made = [np.stack([x.indices[a:b].astype(np.float32), x.data[a:b]]) for a, b in rows]
        return [replace(sample, inputs=array) for sample, array in zip(samples, made, strict=True)]

    def preprocess(self, sample: Sample, view: str, seed: int) -> State:
        numbers, values = torch.from_numpy(sample.inputs)
        return {"ids": numbers.long(), "values": values}

    def collate(self, states: list[State]) -> State:
        longest = max(1, *(len(s["ids"]) for s in states))
        # What fills up has the value 0, so whichever word it names adds nothing.
        return {key: torch.stack([_filled(s[key], longest) for s in states]) for key in ("ids", "values")}

    def length(self, sample: Sample) -> int:
        return sample.inputs.shape[1]

    def batch_size(self) -> int:
        return 256

    def files(self) -> dict[str, bytes]:
        return {FILE: json.dumps(self.counter.as_json(), ensure_ascii=False).encode()}


def _filled(x: Tensor, length: int) -> Tensor:
    return F.pad(x, (0, length - len(x)))
