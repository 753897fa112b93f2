"""Transferability scores against values recomputed independently, against definitions, and their properties."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.measure import transferability as t
from headstart.measure.transferability import SCORES

N, D, C, K = 12, 3, 3, 4
I = np.arange(N)[:, None]  # noqa: E741
Y = np.arange(N) % C
X = np.sin((I + 1) * (np.arange(D)[None] + 1.0)) + (np.arange(D)[None] == I % C)
LOGITS = np.cos((I + 1) * (np.arange(K)[None] + 1.0))
P = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)

OF_FEATURES = [name for name, s in SCORES.items() if s.needs == "features"]


def data(n: int = 150, d: int = 12, apart: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    r = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return r.standard_normal((n, d)) + apart * np.eye(d)[y] * 2, y


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (t.leep(P, Y), -0.979688),
        (t.nce(P.argmax(1), Y), -0.505702),
        (t.h_score(X, Y), 1.126207),
        (t.shrunk_h_score(X, Y), 0.234705),
        (t.transrate(X, Y), 1.206610),
        (t.gbc(X, Y), -0.653089),
        (t.gbc(X, Y, "spherical"), -2.541904),
        (t.logme(X, Y), -0.785885),  # converged; the authors' eleven rounds give -0.786209
    ],
)
def test_reference_values(value: float, expected: float) -> None:
    assert value == pytest.approx(expected, abs=1e-6)


def marginal(x: np.ndarray, y: np.ndarray) -> float:
    """The largest Gaussian marginal likelihood per sample, by a general optimiser over both precisions."""
    from scipy.optimize import minimize

    def negative(logs: np.ndarray) -> float:
        alpha, beta = np.exp(logs)
        s = np.eye(len(y)) / beta + x @ x.T / alpha
        return 0.5 * float(y @ np.linalg.solve(s, y) + np.linalg.slogdet(s)[1] + len(y) * np.log(2 * np.pi))

    tries = [minimize(negative, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000})
             for start in ([0.0, 0.0], [3.0, 2.0])]  # fmt: skip
    return -min(found.fun for found in tries) / len(y)


@pytest.mark.parametrize(("n", "d"), [(40, 6), (12, 12), (9, 30)])
def test_logme_is_the_largest_marginal_likelihood(n: int, d: int) -> None:
    r = np.random.default_rng(n)
    x = r.standard_normal((n, d))
    y = x @ r.standard_normal(d) * 0.5 + r.standard_normal(n)
    assert t.logme(x, y) == pytest.approx(marginal(x, y), abs=1e-6)


def test_logme_of_classes_is_the_mean_over_their_columns() -> None:
    x, y = data()
    assert t.logme(x, y) == pytest.approx(np.mean([t.logme(x, (y == c).astype(float)) for c in range(3)]))


def test_logme_of_features_that_explain_nothing_is_the_evidence_of_noise() -> None:
    x = np.zeros((8, 3))
    x[:4, 0] = 1.0
    y = np.array([1.0, -1, 1, -1, 1, -1, 1, -1])  # orthogonal to every column
    assert t.logme(x, y) == pytest.approx(-0.5 * (1 + np.log(2 * np.pi)))


def test_logme_does_not_see_rotations_but_more_dimensions_of_nothing_change_nothing() -> None:
    x, y = data()
    q = np.linalg.qr(np.random.default_rng(1).standard_normal((12, 12)))[0]
    assert t.logme(x @ q, y) == pytest.approx(t.logme(x, y))
    assert t.logme(np.hstack([x, np.zeros((len(x), 500))]), y) == pytest.approx(t.logme(x, y))


@pytest.mark.parametrize("name", OF_FEATURES)
@pytest.mark.parametrize(("n", "d"), [(150, 12), (24, 60)])
def test_separated_classes_score_higher_and_order_does_not_matter(name: str, n: int, d: int) -> None:
    score = SCORES[name].function
    (near, y), (far, _) = data(n, d, 0.3), data(n, d, 5.0)
    # With fewer samples than features the plain H-score tells every labelling apart: that is why the other exists.
    if not (name == "h_score" and n < d):
        assert score(far, y) > score(near, y)
    if name != "nleep":  # where a mixture starts depends on the order
        order = np.random.default_rng(0).permutation(n)
        assert score(near[order], y[order]) == pytest.approx(score(near, y), rel=1e-6)
    assert score(near, (y + 1) % 3) == pytest.approx(score(near, y), rel=1e-6), "names of classes do not matter"
    assert score(near, y * 7 + 2) == pytest.approx(score(near, y), rel=1e-6), "gaps in the numbers do not matter"


def test_plain_h_score_with_few_samples_says_nothing() -> None:
    x, y = data(24, 60, 0.0)
    assert t.h_score(x, y) == pytest.approx(2.0), "classes minus one, for noise"
    assert t.shrunk_h_score(x, y) < 0.5


def test_shrinkage_equals_scikit_learns_ledoit_wolf() -> None:
    from sklearn.covariance import LedoitWolf

    for n, d in ((150, 12), (24, 60)):
        x, y = data(n, d)
        x = x - x.mean(0)
        means = np.stack([x[y == c].mean(0) for c in range(3)])[y]
        fitted = LedoitWolf(assume_centered=True).fit(x)
        expected = np.trace(
            np.linalg.solve(fitted.covariance_, (1 - fitted.shrinkage_) * means.T @ means / (n - 1))
        )  # fmt: skip
        assert t.shrunk_h_score(x, y) == pytest.approx(expected)


def test_leep_and_nce_know_perfect_and_useless_heads() -> None:
    y = np.repeat([0, 1, 2], 10)
    perfect = np.eye(5)[y + 1]
    assert t.leep(perfect, y) == pytest.approx(0.0)
    assert t.nce(perfect.argmax(1), y) == pytest.approx(0.0)
    useless = np.full((30, 4), 0.25)
    assert t.leep(useless, y) == pytest.approx(-np.log(3))
    assert t.nce(np.zeros(30, int), y) == pytest.approx(-np.log(3))
    empty = np.hstack([useless, np.zeros((30, 1))])
    assert t.leep(empty, y) == pytest.approx(-np.log(3)), "a source class without mass"


def test_nleep_is_leep_of_a_mixtures_posteriors() -> None:
    """Components, densities and the empirical predictor by hand; only where expectation-maximisation ends is taken."""
    from sklearn.mixture import GaussianMixture

    r = np.random.default_rng(5)
    y = r.integers(0, 3, 150)
    x = r.normal(size=(150, 8)) + 3 * r.normal(size=(3, 8))[y]
    centred = x - x.mean(0)
    _, size, directions = np.linalg.svd(centred, full_matrices=False)
    kept = int(np.searchsorted(np.cumsum(size**2) / (size**2).sum(), 0.8)) + 1
    z = centred @ directions[:kept].T
    # Signs of components are a convention: the largest entry of each is positive.
    z *= np.sign(directions[:kept][np.arange(kept), np.abs(directions[:kept]).argmax(1)])
    mixture = GaussianMixture(15, covariance_type="diag", reg_covar=1e-6 * z.var(), random_state=0).fit(z)
    logs = [
        np.log(w) - 0.5 * (((z - m) ** 2 / v) + np.log(2 * np.pi * v)).sum(1)
        for w, m, v in zip(mixture.weights_, mixture.means_, mixture.covariances_, strict=True)
    ]
    density = np.exp(np.stack(logs, 1))
    posterior = density / density.sum(1, keepdims=True)
    total = 0.0
    joint = np.stack([posterior[y == c].sum(0) for c in range(3)]) / len(y)
    given = joint / joint.sum(0)
    for i in range(len(y)):
        total += np.log(sum(given[y[i], k] * posterior[i, k] for k in range(15)))
    assert t.nleep(x, y) == pytest.approx(total / len(y), abs=1e-6)


def test_leep_is_at_most_nothing_and_nleep_needs_no_head() -> None:
    x, y = data(apart=5.0)
    assert -0.1 < t.nleep(x, y) <= 0
    assert t.nleep(x, y, seed=3) == t.nleep(x, y, seed=3)


def test_gbc_counts_pairs_of_classes() -> None:
    x, y = data(600, 8, 0.0)
    assert -6 <= t.gbc(x, y) < -5.5
    same = np.repeat(np.random.default_rng(0).standard_normal((50, 4)), 3, axis=0)
    assert t.gbc(same, np.arange(150) % 3) == pytest.approx(-6.0)


def test_parc_is_a_rank_correlation_of_dissimilarities() -> None:
    from scipy.stats import spearmanr

    x, y = data(40, 8)
    z = (x - x.mean(0)) / x.std(0)
    upper = np.triu_indices(40, 1)
    # Rounded, because pairs of one class are ties only up to rounding.
    both = [(1 - np.corrcoef(rows))[upper].round(12) for rows in (z, np.eye(3)[y])]
    expected = spearmanr(*both).statistic
    assert t.parc(x, y) == pytest.approx(100 * expected)


@pytest.mark.parametrize("name", OF_FEATURES)
def test_constant_columns_and_a_single_class_do_not_break(name: str) -> None:
    x, y = data()
    x = np.hstack([x, np.full((len(x), 2), 3.0)])
    assert np.isfinite(SCORES[name].function(x, y))
    assert np.isfinite(SCORES[name].function(x, np.zeros(len(x), int)))


def test_bad_input_is_refused() -> None:
    x, y = data()
    for bad in (x[:, 0] * np.nan, np.zeros((0, 3))):
        with pytest.raises(ValueError, match="finite matrix"):
            t.logme(bad, y)
    with pytest.raises(ValueError, match="labels"):
        t.logme(x[:10], y)
    with pytest.raises(ValueError, match="class number"):
        t.h_score(x, y.astype(float))
    with pytest.raises(ValueError, match="zero everywhere"):
        t.logme(x, np.zeros(len(x)))


def test_every_score_names_its_source() -> None:
    assert all(len(s.source) > 8 for s in SCORES.values())


def test_features_that_are_the_same_for_all_tell_nothing():
    assert t.parc(np.ones((12, 5)), np.arange(12) % 3) == 0.0
    assert t.parc(np.arange(12.0)[:, None], np.arange(12) % 3) == 0.0
