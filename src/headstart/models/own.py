"""Opens Headstart's own architectures, which nobody pretrained: `scratch:gru` and its like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from headstart.core.errors import ConfigError, ModelError, did_you_mean
from headstart.core.seeding import derive
from headstart.models.awd_lstm import AwdLstmConfig, awd_lstm
from headstart.models.backbone import Backbone, InputSpec, Provenance
from headstart.models.inception_time import InceptionTime, InceptionTimeConfig
from headstart.models.raw import RawPixels, RawSummary
from headstart.models.raw_words import FILE as WORDS
from headstart.models.raw_words import RawWords, WordCounter
from headstart.models.recurrent import (
    SeriesRecurrent,
    SeriesRecurrentConfig,
    TextRecurrent,
    TextRecurrentConfig,
    text_recurrent,
)
from headstart.models.reference import Reference
from headstart.models.text_opening import read_tokenizer
from headstart.models.tokens import Tokenizer
from headstart.models.vocabulary import extended, train_vocabulary
from headstart.models.wanted import Wanted

TEXT_SIZE = 400
TEXT_POSITIONS = 100_000
"""Recurrent networks have no positions to run out of; memory ends somewhere."""

CONFIGS: dict[tuple[str, str], type] = {
    ("text", "lstm"): TextRecurrentConfig,
    ("text", "gru"): TextRecurrentConfig,
    ("text", "awd-lstm"): AwdLstmConfig,
    ("sequence", "lstm"): SeriesRecurrentConfig,
    ("sequence", "gru"): SeriesRecurrentConfig,
    ("sequence", "inception-time"): InceptionTimeConfig,
}
POOLINGS = ("mean", "max", "last", "concat", "attention")


def open_own(reference: Reference, wanted: Wanted) -> Backbone:
    """An own architecture with random weights, a function of the seed.

    Raises
    ------
    ModelError
        When the architecture is for other data, or a vocabulary is needed and there are no texts.
    ConfigError
        For an unknown key or value in `wanted.arch`, or a pooling that it has not.
    """
    kind = CONFIGS.get((wanted.modality, reference.name))
    if kind is None:
        fitting = ", ".join(f"scratch:{name}" for modality, name in CONFIGS if modality == wanted.modality)
        raise ModelError(f"{reference} is not for the modality {wanted.modality!r}.", f"Use {fitting}.")
    config = configured(kind, wanted.arch or "")
    pooling = wanted.pooling
    if pooling == "auto":
        pooling = "mean" if kind is InceptionTimeConfig else "concat"
    _check_pooling(reference, pooling)
    text = wanted.modality == "text"
    spec = InputSpec(
        modality=wanted.modality,
        channels=0 if text else wanted.channels,
        size=(wanted.size or TEXT_SIZE) if text else 0,
        native_size=TEXT_POSITIONS if text else 0,
        mean=() if text else wanted.mean,
        std=() if text else wanted.std,
        interpolation="",
        pooling=pooling,
        long=wanted.long,
    )
    provenance = Provenance(
        reference=str(reference),
        architecture=reference.name,
        library="headstart",
        source="random weights",
        licence="yours",
        arguments={"config": asdict(config)},
        notes=("The weights are random: nothing was pretrained.",),
    )
    tokenizer = None
    if text:
        if wanted.corpus is None:
            raise ModelError(f"{reference} makes its vocabulary from texts, and there are none.", "Give it texts.")
        tokenizer = train_vocabulary(wanted.corpus(), words=config.words)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(wanted.seed, "scratch") % 2**31)
        return _build(config, reference.name, spec, provenance, tokenizer)


def rebuild_own(
    architecture: str, arguments: Mapping[str, Any], spec: InputSpec, provenance: Provenance, folder: Path
) -> Backbone:
    """The network of a bundle, its weights not yet loaded."""
    if architecture.startswith("raw-"):
        return _rebuild_raw(architecture, arguments, spec, folder)
    _check_pooling(folder, spec.pooling)
    config = CONFIGS[spec.modality, architecture](**arguments["config"])
    tokenizer = read_tokenizer(folder) if spec.modality == "text" else None
    return _build(config, architecture, spec, provenance, tokenizer)


def _rebuild_raw(architecture: str, arguments: Mapping[str, Any], spec: InputSpec, folder: Path) -> Backbone:
    if architecture == "raw-words":
        counter = WordCounter.from_json(json.loads((folder / WORDS).read_text(encoding="utf-8")))
        return RawWords(counter, arguments["words"], arguments["outputs"])
    if architecture == "raw-pixels":
        return RawPixels(spec.channels)
    return RawSummary(spec.channels, spec.mean, spec.std)


def _check_pooling(what: object, how: str) -> None:
    if how not in POOLINGS:
        raise ConfigError(f"{what} cannot pool positions by {how!r}.", f"Use one of {', '.join(POOLINGS)}.")


def _build(
    config: Any, architecture: str, spec: InputSpec, provenance: Provenance, tokenizer: Tokenizer | None
) -> Backbone:
    if isinstance(config, InceptionTimeConfig):
        return InceptionTime(config, spec, provenance)
    cell: Any = architecture
    if isinstance(config, SeriesRecurrentConfig):
        return SeriesRecurrent(cell, config, spec, provenance)
    assert tokenizer is not None
    if isinstance(config, AwdLstmConfig):
        return awd_lstm(config, tokenizer, spec, provenance)
    return text_recurrent(cell, config, tokenizer, spec, provenance)


def adapt_vocabulary(backbone: TextRecurrent, wanted: Wanted) -> None:
    """Let a network that was pretrained on other texts read the words of these, as `wanted.vocabulary` says."""
    if wanted.corpus is None or wanted.vocabulary == "keep":
        return
    words = backbone.provenance.arguments["config"]["words"]
    new = train_vocabulary(wanted.corpus(), words)
    backbone.with_vocabulary(new if wanted.vocabulary == "rebuild" else extended(backbone.tokenizer, new))


def configured(kind: type, text: str) -> Any:
    """A configuration with the fields that "key=value,key=value" names.

    >>> configured(SeriesRecurrentConfig, "layers=1,bidirectional=no").bidirectional
    False

    Raises
    ------
    ConfigError
        For a key that it has not, or a value of another type.
    """
    known = {f.name: type(f.default) for f in fields(kind)}
    given: dict[str, Any] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        key, _, value = (p.strip() for p in part.partition("="))
        if key not in known:
            raise ConfigError(f"--arch: there is no {key!r}.", did_you_mean(key, known))
        try:
            given[key] = _value(known[key], value)
        except (ValueError, KeyError):
            raise ConfigError(f"--arch: {key} cannot be {value!r}.", f"Write {key}={_EXAMPLES[known[key]]}.") from None
    config = kind(**given)
    for key, value in asdict(config).items():
        if not isinstance(value, bool) and (value < 0 or (value == 0 and isinstance(value, int))):
            raise ConfigError(f"--arch: {key} cannot be {value}.", "Use a positive number.")
    if getattr(config, "bidirectional", False) and config.width % 2:
        raise ConfigError(f"--arch: width={config.width} cannot be halved between two directions.", "Use an even one.")
    return config


_EXAMPLES = {int: "2", float: "0.1", bool: "yes"}


def _value(kind: type, text: str) -> Any:
    if kind is bool:
        return {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}[text.lower()]
    return kind(text)
