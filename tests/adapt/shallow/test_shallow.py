"""Shallow methods: one suite over all that are registered, then what each promises."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from headstart.adapt.shallow import Domains, build, names
from headstart.adapt.shallow.balance import estimated_balance, held_out_distance
from headstart.adapt.shallow.coral import aligned
from headstart.adapt.shallow.easytl import assigned
from headstart.adapt.shallow.meda import laplacian, mean_matrix
from headstart.adapt.shallow.method import classify, nearest, principal_axes, standardized
from headstart.adapt.shallow.neighbours import graph
from headstart.adapt.shallow.pseudo_labels import surest
from headstart.adapt.shallow.reweighting import kernel_mean_weights
from headstart.adapt.shallow.subspace import flow_root
from headstart.adapt.shallow.transport import exact_plan, normalised_cost
from headstart.core.errors import ConfigError, DataError

CENTRES = np.array([[4.0, 0, 0, 0, 0], [0, 4, 0, 0, 0], [0, 0, 4, 0, 0]])


def clouds(n: int, seed: int, scale: float = 1.0, move=0.0, shares=(1, 1, 1)) -> tuple[np.ndarray, np.ndarray]:
    """n samples of three Gaussian classes in five dimensions, scaled and moved."""
    r = np.random.default_rng(seed)
    y = r.choice(3, n, p=np.array(shares) / sum(shares))
    return (CENTRES[y] + r.normal(size=(n, 5))) * scale + move, y


@pytest.fixture(scope="module")
def shifted() -> tuple[Domains, np.ndarray]:
    xs, ys = clouds(120, 0)
    xt, yt = clouds(90, 1, 1.6, np.array([6.0, -4, 3, 0, 0]))
    return Domains(xs, ys, xt, 3), yt


@pytest.mark.parametrize("name", names())
class TestEvery:
    def test_probabilities(self, name, shifted):
        domains, _ = shifted
        p = build(name).fit(domains).probabilities
        assert p.shape == (90, 3)
        assert (p >= 0).all()
        np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)

    def test_the_same_again_and_nothing_is_changed(self, name, shifted):
        domains, _ = shifted
        before = domains.source.copy(), domains.labels.copy(), domains.target.copy()
        method = build(name)
        first, second = method.fit(domains).probabilities, method.fit(domains).probabilities
        np.testing.assert_array_equal(first, second)
        for a, b in zip(before, (domains.source, domains.labels, domains.target), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_the_order_of_target_samples_does_not_matter(self, name):
        x, y = clouds(120, 0)
        d = Domains(x, y, clouds(90, 5, 1.2)[0], 3)
        order = np.random.default_rng(3).permutation(len(d.target))
        plain = build(name).fit(d).probabilities.argmax(1)
        mixed = build(name).fit(Domains(d.source, d.labels, d.target[order], 3)).probabilities.argmax(1)
        assert (plain[order] == mixed).mean() > 0.97  # folds and halves are drawn by position

    def test_equal_domains_are_not_harmed(self, name):
        x, y = clouds(120, 0)
        new, truth = clouds(90, 5)
        found = build(name).fit(Domains(x, y, new, 3)).probabilities
        assert (found.argmax(1) == truth).mean() > 0.93

    def test_fewer_target_samples_than_classes(self, name):
        x, y = clouds(60, 0)
        p = build(name).fit(Domains(x, y, x[:2] + 0.1, 3)).probabilities
        assert p.shape == (2, 3)
        assert np.isfinite(p).all()

    def test_a_class_that_the_source_lacks_is_never_said(self, name):
        x, y = clouds(90, 0)
        two = y < 2
        p = build(name).fit(Domains(x[two], y[two], x, 3)).probabilities
        assert set(p.argmax(1)) <= {0, 1}

    def test_options(self, name):
        with pytest.raises(ConfigError, match="no option"):
            build(name, nothing=1)


@pytest.mark.parametrize("name", ["standardize", "coral", "ot-linear", "self-training", "label-propagation", "ot-emd"])
def test_a_moved_and_scaled_target_is_recovered(name, shifted):
    domains, truth = shifted
    floor = (build("source-only").fit(domains).probabilities.argmax(1) == truth).mean()
    found = (build(name).fit(domains).probabilities.argmax(1) == truth).mean()
    assert floor < 0.8
    assert found > floor + 0.1


class TestDomains:
    def test_bad_input(self):
        x, y = clouds(10, 0)
        with pytest.raises(DataError, match="5 features, the target 4"):
            Domains(x, y, x[:, :4], 3)
        with pytest.raises(DataError, match="target must be"):
            Domains(x, y, x[:0], 3)
        with pytest.raises(DataError, match=r"1 samples of the source .* number 3"):
            Domains(np.where(np.arange(10)[:, None] == 3, np.nan, x), y, x, 3)
        with pytest.raises(DataError, match="needs a label"):
            Domains(x, y - 1, x, 3)

    def test_an_unknown_method(self):
        with pytest.raises(ConfigError, match="coral"):
            build("corall")


class TestPieces:
    def test_nearest_is_the_nearest(self):
        x, _ = clouds(40, 0)
        z, _ = clouds(30, 1)
        np.testing.assert_array_equal(nearest(x, z), cdist(z, x).argmin(1))

    def test_one_class_in_the_source(self):
        x, _ = clouds(10, 0)
        assert set(classify(x, np.full(10, 2), x, 3).argmax(1)) == {2}

    def test_standardized_spares_constant_features(self):
        x = np.c_[np.arange(10.0), np.full(10, 3.0)]
        z = standardized(x)
        assert z[:, 0].std(ddof=1) == pytest.approx(1)
        assert (z[:, 1] == 0).all()

    def test_coral_gives_the_source_the_targets_covariance(self):
        (xs, _), (xt, _) = clouds(400, 0), clouds(300, 1, 2.0)
        xs, xt = xs - xs.mean(0), xt - xt.mean(0)
        moved = aligned(xs, xt, 1e-9)
        np.testing.assert_allclose(np.cov(moved.T), np.cov(xt.T), rtol=1e-5, atol=1e-6)

    def test_the_flow_kernel_is_the_integral_over_the_geodesic(self):
        r = np.random.default_rng(0)
        ps, pt = (np.linalg.qr(r.normal(size=(6, 2)))[0] for _ in range(2))
        u, c, vt = np.linalg.svd(ps.T @ pt)
        angle = np.arccos(np.clip(c, -1, 1))
        q = (pt @ vt.T - ps @ u * np.cos(angle)) / np.sin(angle)
        steps = (np.arange(4000) + 0.5) / 4000
        integral = sum((phi := ps @ u * np.cos(t * angle) + q * np.sin(t * angle)) @ phi.T for t in steps) / len(steps)
        root = flow_root(ps, pt)
        # The paper's kernel is twice the integral of the projections.
        np.testing.assert_allclose(root @ root.T, 2 * integral, atol=1e-6)

    def test_the_flow_from_a_subspace_to_itself(self):
        ps = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 2)))[0]
        root = flow_root(ps, ps)
        np.testing.assert_allclose(root @ root.T, 2 * ps @ ps.T, atol=1e-9)

    def test_axes_are_no_more_than_the_rank(self):
        x = np.random.default_rng(0).normal(size=(4, 10))
        assert principal_axes(x, 30).shape == (10, 3)

    def test_a_joint_round_is_tca(self):
        (xs, ys), (xt, _) = clouds(60, 0), clouds(50, 1, 1.5)
        d = Domains(xs, ys, xt, 3)
        a = build("tca", dimension=3).fit(d)
        b = build("jda", dimension=3, rounds=1).fit(d)
        np.testing.assert_allclose(a.source, b.source)

    def test_tca_draws_the_means_together(self):
        (xs, ys), (xt, _) = clouds(80, 0), clouds(80, 1, 1.0, 2.0)
        found = build("tca", dimension=2, regularize=1e-3).fit(Domains(xs, ys, xt, 3))
        gap = np.linalg.norm(found.source.mean(0) - found.target.mean(0))
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (xs, xt)]
        assert gap < 0.3 * np.linalg.norm(unit[0].mean(0) - unit[1].mean(0))

    def test_the_programme_leaves_no_class_empty(self):
        distances = np.array([[1.0, 2, 9], [1, 2, 9], [1, 9, 3]])
        shares = assigned(distances)
        np.testing.assert_allclose(shares.sum(0), 1)
        np.testing.assert_allclose(shares.sum(1), 1)
        assert (assigned(np.array([[1.0, 2], [2, 1]])) == np.eye(2)).all()

    def test_the_matrix_of_means(self):
        d = Domains(np.zeros((4, 1)), np.array([0, 0, 1, 1]), np.zeros((2, 1)), 2)
        m = mean_matrix(d, np.array([0, 1]), 0.5)
        assert np.linalg.norm(m) == pytest.approx(1)
        np.testing.assert_allclose(m.sum(0), 0, atol=1e-12)
        np.testing.assert_allclose(m, m.T)

    def test_the_laplacian(self):
        z, _ = clouds(30, 0)
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        values = np.linalg.eigvalsh(laplacian(z, 4))
        assert values.min() > -1e-9
        assert values.max() < 2 + 1e-9
        w = graph(z, 4).toarray()
        np.testing.assert_array_equal(w, w.T)
        assert ((w > 0).sum(1) >= 3).all()
        assert (w.diagonal() == 0).all()

    def test_kernel_mean_weights_follow_the_target(self):
        x, y = clouds(150, 0)
        z, _ = clouds(150, 1, shares=(6, 1, 1))
        w = kernel_mean_weights(x, z)
        assert (w >= 0).all()
        assert w.mean() == pytest.approx(1)
        assert w[y == 0].mean() > 2 * w[y != 0].mean()

    def test_discriminators_weights_follow_the_target(self):
        x, y = clouds(300, 0)
        z, _ = clouds(300, 1, shares=(6, 1, 1))
        w = build("discriminator-weights").fit(Domains(x, y, z, 3)).weights
        assert w.mean() == pytest.approx(1)
        assert w[y == 0].mean() > 2 * w[y != 0].mean()

    def test_a_plan_has_its_marginals(self):
        (x, _), (z, _) = clouds(20, 0), clouds(15, 1)
        a, b = np.full(20, 1 / 20), np.full(15, 1 / 15)
        plan = exact_plan(normalised_cost(x, z), a, b)
        np.testing.assert_allclose(plan.sum(1), a)
        np.testing.assert_allclose(plan.sum(0), b)

    def test_the_linear_map_gives_mean_and_covariance(self):
        (x, y), (z, _) = clouds(500, 0), clouds(400, 1, 2.0, 5.0)
        found = build("ot-linear", regularize=1e-9).fit(Domains(x, y, z, 3))
        np.testing.assert_allclose(found.source.mean(0), z.mean(0), atol=1e-8)
        np.testing.assert_allclose(np.cov(found.source.T), np.cov(z.T), rtol=1e-4, atol=1e-4)

    def test_the_surest_of_each_class(self):
        p = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
        assert surest(p, 0.34).tolist() == [0, 3]
        assert surest(p, 1.0).tolist() == [0, 1, 2, 3]

    def test_the_balance_uses_held_out_errors(self):
        r = np.random.default_rng(0)
        x, z = r.normal(size=(40, 200)), r.normal(size=(40, 200))
        # A training error in 200 dimensions is 0, a distance of 2.
        assert held_out_distance(x, z) < 0.6
        assert held_out_distance(x, z + 3) > 1.8
        d = Domains(x, np.arange(40) % 2, z + 3, 2)
        assert 0 <= estimated_balance(d, np.arange(40) % 2) <= 1

    def test_too_many_samples_for_a_plan_are_drawn(self, monkeypatch):
        from headstart.adapt.shallow import transport

        monkeypatch.setattr(transport, "MOST_SAMPLES", 50)
        (x, y), (z, _) = clouds(120, 0), clouds(90, 1)
        found = build("ot-emd").fit(Domains(x, y, z, 3))
        assert found.probabilities.shape == (90, 3)
        assert found.facts == {"source_samples": 50, "target_samples": 50}
        assert build("jdot").fit(Domains(x, y, z, 3)).probabilities.shape == (90, 3)
        assert build("ot-labels").fit(Domains(x, y, z, 3)).probabilities.shape == (90, 3)

    def test_without_pot(self, monkeypatch, shifted):
        monkeypatch.setitem(sys.modules, "ot", None)
        with pytest.raises(ConfigError, match=r"POT.*not installed") as error:
            build("ot-emd").fit(shifted[0])
        assert "headstart[adapt]" in str(error.value.hint)

    def test_wide_features_are_reduced(self, monkeypatch):
        from headstart.adapt.shallow import joint

        (x, y), (z, _) = clouds(80, 0), clouds(60, 1)
        whole = build("tca", dimension=3).fit(Domains(x, y, z, 3)).probabilities.argmax(1)
        monkeypatch.setattr(joint, "MOST_DIMENSIONS", 4)
        less = build("tca", dimension=3).fit(Domains(x, y, z, 3)).probabilities.argmax(1)
        assert (whole == less).mean() > 0.9

    def test_meda_within_its_limit(self, monkeypatch):
        from headstart.adapt.shallow import meda

        monkeypatch.setattr(meda, "MOST_SAMPLES", 100)
        (x, y), (z, truth) = clouds(120, 0), clouds(60, 1)
        found = build("meda").fit(Domains(x, y, z, 3))
        assert found.facts["source_samples"] == 40
        assert (found.probabilities.argmax(1) == truth).mean() > 0.9


FOLDER = os.environ.get("HEADSTART_OFFICE_CALTECH", "")


@pytest.mark.skipif(not FOLDER, reason="HEADSTART_OFFICE_CALTECH does not name the folder of Office-Caltech10")
class TestOfficeCaltech:
    """On dslr to webcam, the smallest task: (method, options, accuracy)."""

    @pytest.mark.parametrize(
        ("name", "options", "known"),
        [
            ("source-only", {"classifier": "nearest"}, 63.4),
            ("pca", {"classifier": "nearest"}, 86.1),
            ("tca", {"classifier": "nearest"}, 88.5),
            ("easytl", {}, 86.1),
        ],
    )
    def test_known_accuracy(self, name, options, known):
        import scipy.io

        found = []
        for domain in ("dslr", "webcam"):
            content = scipy.io.loadmat(Path(FOLDER) / f"{domain}_SURF_L10.mat")
            x = content["fts"].astype(float)
            x /= x.sum(1, keepdims=True)
            spread = x.std(0, ddof=1)
            found.append(((x - x.mean(0)) / np.where(spread == 0, 1, spread), content["labels"].ravel() - 1))
        (xs, ys), (xt, yt) = found
        p = build(name, **options).fit(Domains(xs, ys.astype(np.int64), xt, 10)).probabilities
        assert 100 * (p.argmax(1) == yt).mean() == pytest.approx(known, abs=0.06)
