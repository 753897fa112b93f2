"""LSTM and GRU encoders, for texts and for series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from headstart.models.backbone import InputSpec, Provenance, StagedBackbone, State
from headstart.models.series_backbone import PoolingStage, SeriesBackbone
from headstart.models.token_backbone import TokenBackbone
from headstart.models.tokens import Tokenizer
from headstart.models.vocabulary import WORDS, Carried, carry_over

Cell = Literal["lstm", "gru"]


@dataclass(frozen=True)
class SeriesRecurrentConfig:
    """Of an LSTM or GRU that reads series.

    Attributes
    ----------
    layers, width
        Layers, and features of each, both directions together.
    bidirectional
        Whether half of the features read from the end.
    dropout
        Behind every layer.
    indicators
        Whether a channel beside each says where values are missing.
    """

    layers: int = 2
    width: int = 128
    bidirectional: bool = True
    dropout: float = 0.2
    indicators: bool = False


@dataclass(frozen=True)
class TextRecurrentConfig:
    """Of an LSTM or GRU that reads texts; one direction by default, so that it can model language.

    Attributes
    ----------
    layers, width, bidirectional, dropout
        As for series.
    embedding
        Width of the embedding of words.
    words
        Size of the vocabulary at most.
    """

    layers: int = 2
    width: int = 256
    bidirectional: bool = False
    dropout: float = 0.2
    embedding: int = 128
    words: int = WORDS


class Recurrent(nn.Module):
    """One layer, in one direction or both. Padding has no influence: sequences are packed.

    Where `carries` is set, the state at the end is handed on as `carry.NAME`, (B, states, width) without gradient,
    and taken up where it is given (language models; one direction only).
    """

    def __init__(self, name: str, cell: Cell, inputs: int, width: int, bidirectional: bool, dropout: float) -> None:
        super().__init__()
        self.name, self.carries = name, False
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        hidden = width // 2 if bidirectional else width
        self.rnn = kind(inputs, hidden, batch_first=True, bidirectional=bidirectional)
        self.drop = nn.Dropout(dropout)

    def forward(self, s: State) -> State:
        x, mask = s["x"], s["mask"]
        before = unpacked(s.get(f"carry.{self.name}"))
        if isinstance(self.rnn, nn.GRU) and before is not None:
            before = before[0]
        if bool(mask.all()):
            y, after = self.rnn(x, before)
        else:
            lengths = mask.sum(1).clamp(min=1).cpu()
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            y, after = self.rnn(packed, before)
            y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
        s = {**s, "x": self.drop(y)}
        if self.carries:
            s["raw"] = y
            s[f"carry.{self.name}"] = carried_state(after)
        return s


def carried_state(after: Tensor | tuple[Tensor, ...]) -> Tensor:
    """A recurrent state batch first, without gradient: (B, states, width)."""
    states = after if isinstance(after, tuple) else (after,)
    return torch.cat(states).transpose(0, 1).detach()


def unpacked(state: Tensor | None) -> Any:
    """The inverse of `carried_state`, for a layer of one direction: a tuple of (1, B, width)."""
    return None if state is None else tuple(part[None].contiguous() for part in state.unbind(1))


class Embed(nn.Module):
    """The first stage of networks that read words."""

    def __init__(self, tokens: int, width: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(tokens, width)
        nn.init.uniform_(self.table.weight, -0.1, 0.1)
        self.drop = nn.Dropout(dropout)

    def forward(self, s: State) -> State:
        return {**s, "x": self.drop(self.table(s["ids"]))}


class SeriesRecurrent(SeriesBackbone):
    """An LSTM or GRU over series; stages rnn.0, rnn.1, ..."""

    def __init__(self, cell: Cell, config: SeriesRecurrentConfig, spec: InputSpec, provenance: Provenance) -> None:
        inputs = spec.channels * (2 if config.indicators else 1)
        layers = _layers(cell, inputs, config)
        directions = 2 if config.bidirectional else 1
        super().__init__(layers, spec, provenance, config.width, "rnn", directions, config.indicators)


class TextRecurrent(TokenBackbone, StagedBackbone):
    """A recurrent network over words; stages embedding, rnn.0, rnn.1, ...

    Parameters
    ----------
    stages
        The embedding (with an attribute `table`) first.
    width
        Of the last stage's features.
    """

    def __init__(
        self,
        stages: Mapping[str, nn.Module],
        tokenizer: Tokenizer,
        spec: InputSpec,
        provenance: Provenance,
        width: int,
        directions: int = 1,
    ) -> None:
        stages = dict(stages)
        if spec.pooling == "attention":
            stages["pooling"] = PoolingStage(width)
        super().__init__(stages, "rnn")
        self.tokenizer, self.input_spec, self.provenance = tokenizer, spec, provenance
        self.width, self.directions = width, directions
        self.carried: Carried | None = None

    def end_at(self, stage: str) -> TextRecurrent:
        super().end_at(stage)
        embedding = self.token_embedding().embedding_dim
        if stage == "embedding" and embedding != self.width:
            self.width = embedding
            if "pooling" in self.stages:
                pooling = PoolingStage(embedding).to(self.token_embedding().weight.device)
                self.add_module("pooling", pooling)
                self.stages = {**self.stages, "pooling": pooling}
        return self

    def token_embedding(self) -> nn.Embedding:
        """The embedding of words."""
        return self.stages["embedding"].table  # type: ignore[return-value]

    def with_vocabulary(self, tokenizer: Tokenizer) -> Carried:
        """Read another vocabulary from now on; shared words keep their embedding."""
        old = self.token_embedding()
        weight, counts = carry_over(self.tokenizer, old.weight.detach(), tokenizer)
        stage = self.stages["embedding"]
        stage.table = nn.Embedding.from_pretrained(weight, freeze=False)
        self.tokenizer, self.carried = tokenizer, counts
        return counts


def text_recurrent(
    cell: Cell, config: TextRecurrentConfig, tokenizer: Tokenizer, spec: InputSpec, provenance: Provenance
) -> TextRecurrent:
    """An LSTM or GRU over words."""
    stages: dict[str, nn.Module] = {"embedding": Embed(tokenizer.size, config.embedding, config.dropout)}
    stages |= _layers(cell, config.embedding, config)
    return TextRecurrent(stages, tokenizer, spec, provenance, config.width, 2 if config.bidirectional else 1)


def _layers(cell: Cell, inputs: int, config: SeriesRecurrentConfig | TextRecurrentConfig) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    for i in range(config.layers):
        name = f"rnn.{i}"
        before = config.width if i else inputs
        layers[name] = Recurrent(name, cell, before, config.width, config.bidirectional, config.dropout)
    return layers
