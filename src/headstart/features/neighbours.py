"""The k-nearest-neighbours probe: how well do features that lie close together share their labels?

Source: Z. Wu et al. 2018 (arXiv 1805.01978), section 3.4: cosine similarity, votes weighted by exp(similarity / t).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 0.07
_CHUNK = 1024


@torch.no_grad()
def vote(
    train: Tensor,
    labels: Tensor,
    classes: int,
    query: Tensor | None = None,
    k: int = 20,
    temperature: float = TEMPERATURE,
) -> Tensor:
    """Shares of the weighted votes of the nearest neighbours.

    Parameters
    ----------
    train, labels
        (N, D) features and (N,) class numbers.
    query
        (M, D) features; None asks about the training samples themselves, each without its own vote.
    k
        Neighbours, at most as many as there are.

    Returns
    -------
    Tensor
        (M, classes); rows sum to 1.

    Raises
    ------
    ValueError
        When there is nobody to vote.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> vote(x, torch.tensor([0, 0, 1, 1]), 2, k=1)
    tensor([[1., 0.],
            [1., 0.],
            [0., 1.],
            [0., 1.]])
    """
    return averages(train, F.one_hot(labels.long(), classes).float(), query, k, temperature)


@torch.no_grad()
def averages(
    train: Tensor, values: Tensor, query: Tensor | None = None, k: int = 20, temperature: float = TEMPERATURE
) -> Tensor:
    """Weighted means (M, K) of the nearest neighbours' values (N, K); everything else as for `vote`."""
    own = query is None
    k = min(k, len(train) - own)
    if k < 1:
        raise ValueError("there is no neighbour to vote")
    known = F.normalize(train.float(), dim=1)
    asked = known if query is None else F.normalize(query.float(), dim=1)
    made = []
    for start in range(0, len(asked), _CHUNK):
        similarity = asked[start : start + _CHUNK] @ known.T
        if own:
            rows = torch.arange(len(similarity))
            similarity[rows, rows + start] = -torch.inf
        near, who = similarity.topk(k, dim=1)
        weights = ((near - near[:, :1]) / temperature).exp()
        made.append((weights[..., None] * values[who]).sum(1) / weights.sum(1, keepdim=True))
    return torch.cat(made)
