from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from headstart.measure import ranking
from headstart.measure.ranking import area_under_roc


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("decimals", [1, 12], ids=["ties", "no ties"])
@pytest.mark.parametrize("pairs", [0, 10**9], ids=["sorted", "every pair"])
def test_equals_scikit_learn_by_either_way(
    share: float, decimals: int, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "FEW_PAIRS", pairs)
    r = np.random.default_rng(0)
    positive = r.random(150) < share
    scores = np.round(r.random(150) + 0.4 * positive, decimals)
    weights = r.integers(0, 4, (5, 150)).astype(float)
    weights[0] = r.random(150)
    expected = [roc_auc_score(positive, scores, sample_weight=w) for w in weights]
    np.testing.assert_allclose(area_under_roc(scores, positive, weights), expected, rtol=1e-12)


@pytest.mark.parametrize("pairs", [0, 10**9], ids=["sorted", "every pair"])
def test_is_not_defined_where_a_side_has_no_weight(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "FEW_PAIRS", pairs)
    scores, positive = np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.array([True, False, True, False, False])
    weights = np.array([[1, 0.1, 1, 0.2, 0.3], [0, 0.1, 0, 0.2, 0.3], [0.1, 0, 0.7, 0, 0]])
    found = area_under_roc(scores, positive, weights)
    assert np.isnan(found).tolist() == [False, True, True]
    assert np.isnan(area_under_roc(scores, np.zeros(5, bool), weights)).all()
    assert np.isnan(area_under_roc(scores, np.ones(5, bool), weights)).all()
