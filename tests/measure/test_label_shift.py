"""Class shares of a target, planted and found again."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.adapt.shallow import Domains, build
from headstart.measure.label_shift import black_box_shares, expected_shares, reweighted

PLANTED = np.array([0.7, 0.2, 0.1])


def posterior(x: np.ndarray, shares: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Of Gaussian classes with unit variance: what a perfect classifier would say."""
    p = np.exp(-0.5 * (x[:, None] - means) ** 2) * shares
    return p / p.sum(1, keepdims=True)


def drawn(n: int, shares: np.ndarray, seed: int, apart: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    r = np.random.default_rng(seed)
    y = r.choice(3, n, p=shares)
    return r.normal(size=n) + apart * y, y


@pytest.fixture
def answers():
    even, means = np.full(3, 1 / 3), np.array([0.0, 2.0, 4.0])
    xs, ys = drawn(4000, even, 0)
    xt, yt = drawn(4000, PLANTED, 1)
    return posterior(xs, even, means), ys, posterior(xt, even, means), yt, even


class TestRecovery:
    def test_black_box(self, answers):
        held_out, labels, target, truth, _ = answers
        found = black_box_shares(held_out, labels, target)
        assert np.abs(found - np.bincount(truth) / len(truth)).max() < 0.03

    def test_expectation_maximisation(self, answers):
        _, _, target, truth, even = answers
        found = expected_shares(target, even)
        assert np.abs(found - np.bincount(truth) / len(truth)).max() < 0.02

    def test_no_shift_is_found_where_there_is_none(self, answers):
        held_out, labels, _, _, even = answers
        np.testing.assert_allclose(
            black_box_shares(held_out, labels, held_out), np.bincount(labels) / len(labels), atol=1e-6
        )
        assert np.abs(expected_shares(held_out, even) - even).max() < 0.02

    def test_the_fixed_point_of_em_maximises_the_likelihood(self, answers):
        _, _, target, _, even = answers
        found = expected_shares(target, even)
        best = np.log((target * (found / even)).sum(1)).mean()
        r = np.random.default_rng(0)
        for _ in range(50):
            other = np.abs(found + r.normal(scale=0.02, size=3))
            other /= other.sum()
            assert np.log((target * (other / even)).sum(1)).mean() <= best + 1e-9


class TestProperties:
    def test_reweighted(self):
        p = np.array([[0.2, 0.8], [0.5, 0.5]])
        same = reweighted(p, np.array([0.3, 0.7]), np.array([0.3, 0.7]))
        np.testing.assert_allclose(same, p)
        assert reweighted(p, np.array([0.5, 0.5]), np.array([1.0, 0.0]))[:, 0].tolist() == [1, 1]

    def test_a_class_that_the_source_lacks_stays_absent(self):
        held = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]] * 5)
        labels = np.array([0, 1] * 5)
        shares = black_box_shares(held, labels, held)
        assert shares[2] == 0
        assert shares.sum() == pytest.approx(1)

    @pytest.mark.parametrize("name", ["bbse", "em-shares"])
    def test_methods_recover_planted_shares_and_gain(self, name):
        r = np.random.default_rng(0)
        means = r.normal(size=(3, 6)) * 0.8

        def sample(n, shares):
            y = r.choice(3, n, p=shares)
            return means[y] + r.normal(size=(n, 6)), y

        (xs, ys), (xt, yt) = sample(1500, np.full(3, 1 / 3)), sample(1500, PLANTED)
        domains = Domains(xs, ys, xt, 3)
        found = build(name).fit(domains)
        assert np.abs(np.array(found.facts["shares"]) - np.bincount(yt) / len(yt)).max() < 0.05
        plain = build("source-only").fit(domains).probabilities
        assert (found.probabilities.argmax(1) == yt).mean() > (plain.argmax(1) == yt).mean() + 0.02
