"""The ridge probe equals scikit-learn's and a loop that really leaves one out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge, RidgeCV

from headstart.features.ridge import ALPHAS, fit_ridge, indicators


@pytest.fixture(params=[(40, 5), (12, 30)], ids=["tall", "wide"])
def problem(request: pytest.FixtureRequest) -> tuple[torch.Tensor, torch.Tensor]:
    n, d = request.param
    r = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=r) * torch.logspace(0, 2, d) + 3
    return x, x[:, :2] @ torch.tensor([[1.0, 0.0], [0.5, -1.0]]) + torch.randn(n, 2, generator=r)


@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_equals_scikit_learn(problem: tuple[torch.Tensor, torch.Tensor], alpha: float) -> None:
    x, y = problem
    probe = fit_ridge(x, y, [alpha])
    z = ((x - probe.mean) / probe.scale).double().numpy()
    theirs = Ridge(alpha=alpha).fit(z, y.double().numpy())
    assert np.allclose(probe.weight, theirs.coef_, atol=1e-4)
    assert np.allclose(probe.outputs(x), theirs.predict(z), atol=1e-3)


@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_leave_one_out_equals_leaving_one_out(problem: tuple[torch.Tensor, torch.Tensor], alpha: float) -> None:
    x, y = problem
    probe = fit_ridge(x, y, [alpha])
    z = ((x - probe.mean) / probe.scale).double().numpy()
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        # The scale stays that of all samples; the centre is fitted anew.
        alone = Ridge(alpha=alpha).fit(z[rest], y.double().numpy()[rest]).predict(z[[i]])
        assert np.allclose(probe.held_out[i], alone[0], atol=1e-3)


def test_the_penalty_is_that_of_scikit_learn(problem: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = problem
    probe = fit_ridge(x, y)
    z = ((x - probe.mean) / probe.scale).double().numpy()
    theirs = RidgeCV(ALPHAS).fit(z, y.double().numpy())
    assert probe.alpha == pytest.approx(theirs.alpha_)
    assert probe.errors[probe.alpha] == pytest.approx(-theirs.best_score_, rel=1e-2)


def test_constant_features_and_repeated_columns() -> None:
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    x = torch.cat([x, x, torch.full((20, 1), 7.0)], 1)
    y = indicators((x[:, 0] > 0).long(), 2)
    probe = fit_ridge(x, y)
    assert torch.isfinite(probe.weight).all()
    assert float((probe.held_out.argmax(1) == y.argmax(1)).float().mean()) > 0.8


@pytest.mark.parametrize(("n", "alphas"), [(1, [1.0]), (5, [0.0]), (5, [-1.0, 1.0])])
def test_nonsense_is_refused(n: int, alphas: list[float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        fit_ridge(torch.randn(n, 2), torch.randn(n, 1), alphas)
