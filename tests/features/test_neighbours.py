"""The vote of nearest neighbours equals scikit-learn's with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from headstart.features.neighbours import TEMPERATURE, vote


@pytest.fixture
def points() -> tuple[torch.Tensor, torch.Tensor]:
    r = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    return torch.randn(60, 4, generator=r) + 2 * torch.nn.functional.one_hot(labels, 4), labels


def weights(distances: np.ndarray) -> np.ndarray:
    return np.exp(-distances / TEMPERATURE)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_equals_scikit_learn(points: tuple[torch.Tensor, torch.Tensor], k: int) -> None:
    x, y = points
    query = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    theirs = KNeighborsClassifier(k, weights=weights, metric="cosine", algorithm="brute").fit(x, y).predict_proba(query)
    assert np.allclose(vote(x, y, 3, query, k), theirs, atol=1e-4)


def test_a_sample_does_not_vote_for_itself(points: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = points
    made = vote(x, y, 3, k=5)
    for i in (0, 17, 59):
        rest = torch.arange(60) != i
        assert torch.allclose(made[i], vote(x[rest], y[rest], 3, x[[i]], 5)[0], atol=1e-5)


def test_more_neighbours_than_samples(points: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = points
    assert torch.allclose(vote(x[:4], y[:4], 3, k=50), vote(x[:4], y[:4], 3, k=3))
    with pytest.raises(ValueError, match="neighbour"):
        vote(x[:1], y[:1], 3)


def test_order_of_the_samples_does_not_matter(points: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = points
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(vote(x, y, 3)[order], vote(x[order], y[order], 3), atol=1e-5)
