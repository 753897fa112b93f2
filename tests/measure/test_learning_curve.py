"""The power law of errors: found again where it holds, and never nonsense where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.measure.learning_curve import fit_power_law, round_number

N = np.array([50.0, 100, 200, 400, 800])


@pytest.mark.parametrize(("a", "b", "c"), [(2.0, 0.5, 0.0), (1.0, 0.3, 0.05), (20.0, 1.0, 0.1)])
def test_a_law_is_found_again_and_goes_on(a: float, b: float, c: float) -> None:
    law = fit_power_law(N, (a * N**-b + c)[None])
    assert law.b[0] == pytest.approx(b, abs=0.01)
    assert law.at(1600)[0] == pytest.approx(a * 1600**-b + c, rel=1e-3)


def test_many_curves_at_once_are_fitted_as_one_by_one() -> None:
    r = np.random.default_rng(0)
    errors = 2 * N**-0.5 + 0.02 * r.random((7, 5))
    together = fit_power_law(N, errors)
    for i, row in enumerate(errors):
        alone = fit_power_law(N, row[None])
        assert (alone.a[0], alone.b[0], alone.c[0]) == pytest.approx((together.a[i], together.b[i], together.c[i]))


def test_nothing_is_negative_and_more_labels_never_hurt() -> None:
    rising = fit_power_law(N, np.linspace(0.1, 0.3, 5)[None])
    assert rising.a[0] == 0.0, "an error that rises has no power law: a constant"
    r = np.random.default_rng(1)
    law = fit_power_law(N, r.random((200, 5)))
    assert min(law.a.min(), law.b.min(), law.c.min()) >= 0
    assert np.all(law.at(1600) <= law.at(800) + 1e-12)


def test_it_is_the_least_squares_over_all_three() -> None:
    from scipy.optimize import minimize

    r = np.random.default_rng(2)
    errors = 3 * N**-0.6 + 0.03 + 0.004 * r.standard_normal(5)
    law = fit_power_law(N, errors[None])

    def lost(p: np.ndarray) -> float:
        return float(((abs(p[0]) * N ** -abs(p[1]) + abs(p[2]) - errors) ** 2).sum())

    best = min(minimize(lost, [s, b, 0.05], method="Nelder-Mead", options={"maxiter": 4000}).fun
               for s in (1.0, 5.0) for b in (0.3, 1.0))  # fmt: skip
    found = float(((law.at(1) * 0 + law.a * N**-law.b + law.c - errors) ** 2).sum())
    assert found <= best * 1.02 + 1e-9


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="two different"):
        fit_power_law(np.array([5.0, 5.0]), np.ones((1, 2)))
    assert [round_number(n) for n in (0.2, 3, 20, 99)] == [1, 2, 20, 50]
