"""AWD-LSTM: an LSTM for language, regularised by dropping weights and, in time, always the same features.

Source: Merity, Keskar & Socher 2018, arXiv 1708.02182; rates of dropout and depth as a classifier after Howard & Ruder
2018, arXiv 1801.06146.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.models.backbone import InputSpec, Provenance, State
from headstart.models.recurrent import TextRecurrent, carried_state, unpacked
from headstart.models.tokens import Tokenizer
from headstart.models.vocabulary import WORDS


@dataclass(frozen=True)
class AwdLstmConfig:
    """Of an AWD-LSTM. The hidden width is that of the embedding, so that the decoder can be tied to it.

    Attributes
    ----------
    layers, width
        LSTM layers, and the features of the embedding and of each layer.
    words
        Size of the vocabulary at most.
    dropout
        Factor on all rates below; 0 drops nothing.
    input_dropout, hidden_dropout, output_dropout
        Of features, the same at all steps of a sequence: before, between and behind the layers.
    weight_dropout
        Of the hidden-to-hidden weights, the same at all steps.
    embedding_dropout
        Of whole words.
    """

    layers: int = 3
    width: int = 400
    words: int = WORDS
    dropout: float = 1.0
    input_dropout: float = 0.25
    hidden_dropout: float = 0.15
    output_dropout: float = 0.1
    weight_dropout: float = 0.2
    embedding_dropout: float = 0.02


class Words(nn.Module):
    """Embedding with dropout of whole words and, in time, of the same features."""

    def __init__(self, tokens: int, width: int, words: float, features: float) -> None:
        super().__init__()
        self.table = nn.Embedding(tokens, width)
        nn.init.uniform_(self.table.weight, -0.1, 0.1)
        self.words, self.features = words, features

    def forward(self, s: State) -> State:
        x = self.table(s["ids"])
        if self.training and self.words > 0:
            # A word is dropped in the whole batch: all its occurrences at once (Gal & Ghahramani 2016).
            kept = torch.rand(self.table.num_embeddings, device=x.device) >= self.words
            x = x * (kept[s["ids"]].to(x.dtype) / (1 - self.words))[..., None]
        return {**s, "x": locked_dropout(x, self.features, self.training)}


class WeightDropped(nn.Module):
    """One LSTM layer whose hidden-to-hidden weights are dropped in training (DropConnect).

    The parameters are those of a plain `nn.LSTM` named `rnn`; dropping makes a new tensor at every pass and leaves
    the parameter alone. With one direction only, padding behind a sequence has no influence on it.
    """

    def __init__(self, name: str, inputs: int, width: int, weights: float, features: float) -> None:
        super().__init__()
        self.name, self.carries = name, False
        self.rnn = nn.LSTM(inputs, width, batch_first=True)
        self.weights, self.features = weights, features

    def forward(self, s: State) -> State:
        x, lstm = s["x"], self.rnn
        into, hidden, *biases = lstm.all_weights[0]
        before = unpacked(s.get(f"carry.{self.name}"))
        if before is None:
            zero = torch.zeros(1, x.shape[0], lstm.hidden_size, dtype=x.dtype, device=x.device)
            before = (zero, zero)
        weights = [into, F.dropout(hidden, self.weights, self.training), *biases]
        y, h, c = torch.lstm(x, before, weights, True, 1, 0.0, self.training, False, True)
        s = {**s, "x": locked_dropout(y, self.features, self.training)}
        if self.carries:
            s["raw"] = y
            s[f"carry.{self.name}"] = carried_state((h, c))
        return s


def locked_dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """Dropout that drops the same features at all steps: x (B, T, D), one mask (B, 1, D)."""
    if not training or share <= 0:
        return x
    mask = torch.empty(x.shape[0], 1, x.shape[2], dtype=x.dtype, device=x.device).bernoulli_(1 - share)
    return x * mask / (1 - share)


def awd_lstm(config: AwdLstmConfig, tokenizer: Tokenizer, spec: InputSpec, provenance: Provenance) -> TextRecurrent:
    """An AWD-LSTM over words."""
    f, width = config.dropout, config.width
    stages: dict[str, nn.Module] = {
        "embedding": Words(tokenizer.size, width, f * config.embedding_dropout, f * config.input_dropout)
    }
    for i in range(config.layers):
        name = f"rnn.{i}"
        behind = config.output_dropout if i == config.layers - 1 else config.hidden_dropout
        stages[name] = WeightDropped(name, width, width, f * config.weight_dropout, f * behind)
        bound = 1 / math.sqrt(width)
        for parameter in stages[name].parameters():
            nn.init.uniform_(parameter, -bound, bound)
    return TextRecurrent(stages, tokenizer, spec, provenance, width)
