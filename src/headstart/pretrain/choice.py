"""Which objective a network is pretrained with, and on what form of the data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.core.errors import ConfigError
from headstart.data.dataset import Dataset
from headstart.models.backbone import Backbone
from headstart.models.wanted import Text
from headstart.pretrain.corpus import BPTT, Chunks, write_corpus
from headstart.pretrain.language_model import LanguageModel
from headstart.pretrain.masked_series import MaskedSeries
from headstart.pretrain.masked_words import MaskedLanguageModel

Pretraining = LanguageModel | MaskedLanguageModel | MaskedSeries


def pretraining_objective(backbone: Backbone, part: str = "corpus") -> Pretraining:
    """Language modelling for recurrent networks, masked words for Transformers, masked reconstruction for series.

    Raises
    ------
    ConfigError
        For pictures: there is none yet.
    """
    modality = backbone.input_spec.modality
    if modality == "sequence":
        return MaskedSeries(part)
    if modality == "text":
        return LanguageModel(part) if backbone.family == "rnn" else MaskedLanguageModel(part)
    raise ConfigError(
        "There is no pretraining on pictures without labels yet.", "Start from pretrained weights: `headstart models`."
    )


def unlabelled(backbone: Backbone, data: Dataset, folder: Path, key: str = "") -> Any:
    """The data as the backbone's objective takes them: pieces of a corpus below `folder`, or the series themselves."""
    if backbone.input_spec.modality != "text":
        return data
    whole: Any = backbone
    corpus = write_corpus(_texts(data), whole.tokenizer, folder / "corpus.bin", key)
    if backbone.family == "rnn":
        return Chunks(corpus, BPTT, ahead=1)
    return Chunks(corpus, backbone.input_spec.size)


def _texts(data: Dataset) -> Iterator[Text]:
    return (data.read(i).inputs for i in range(len(data)))
