"""When features of two engines agree, and on which batch that is measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.features.engines.choose import least_cosine, middle_batch, probe_differs


def test_least_cosine_minds_zeros_and_nans() -> None:
    assert least_cosine(torch.zeros(2, 3), torch.zeros(2, 3)) == 1.0
    assert least_cosine(torch.ones(2, 3), torch.full((2, 3), torch.nan)) == -1.0
    assert least_cosine(torch.ones(1, 3), -torch.ones(1, 3)) == pytest.approx(-1.0)


def test_the_middle_batch_has_middle_lengths() -> None:
    assert sorted(middle_batch(np.array([9, 1, 5, 4, 8, 2]), 6, 2)) == [2, 3]
    assert middle_batch(None, 10, 3).tolist() == [0, 4, 9]
    assert middle_batch(None, 2, 64).tolist() == [0, 1]


def test_a_probe_tells_features_apart() -> None:
    r = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    x = torch.randn(40, 3, generator=r) + 4 * labels[:, None]
    assert not probe_differs(x, x + 0.01 * torch.randn(40, 3, generator=r), labels)
    assert probe_differs(x, torch.randn(40, 3, generator=r), labels)
    assert not probe_differs(x, torch.randn(40, 3, generator=r), torch.full((40,), -1))
