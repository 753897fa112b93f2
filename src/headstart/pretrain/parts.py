"""What pretraining adds to a network: decoders, whose weights are those of the embedding."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class TiedDecoder(nn.Module):
    """Features to scores of all words, by the embedding's own weights and a bias (Press & Wolf 2017, arXiv 1608.05859).

    Parameters
    ----------
    embedding
        Its width and number of words; its weights are given at every pass, so that they stay the embedding's.
    width
        Of the features; another width than the embedding's is mapped to it first.
    """

    def __init__(self, embedding: nn.Embedding, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, embedding.embedding_dim) if width != embedding.embedding_dim else None
        self.bias = nn.Parameter(embedding.weight.new_zeros(embedding.num_embeddings))

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """(..., width), (words, embedding) -> (..., words)."""
        return F.linear(x if self.project is None else self.project(x), weight, self.bias)


class MaskedDecoder(nn.Module):
    """BERT's: a linear map, GELU and a norm, then the embedding's weights and a bias."""

    def __init__(self, embedding: nn.Embedding, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, embedding.embedding_dim)
        self.norm = nn.LayerNorm(embedding.embedding_dim)
        self.bias = nn.Parameter(embedding.weight.new_zeros(embedding.num_embeddings))

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """(..., width), (words, embedding) -> (..., words)."""
        return F.linear(self.norm(F.gelu(self.dense(x))), weight, self.bias)
