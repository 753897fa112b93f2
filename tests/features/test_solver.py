from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import draw, objective, standardised
from sklearn.linear_model import LogisticRegression, Ridge
from torch.nn import functional

from headstart.core.errors import ModelError
from headstart.features import lbfgs, solver
from headstart.features.solver import (
    fit_paths,
    fold_into_linear,
    fold_weights_of,
    out_of_fold,
    predict,
    shared_design,
    standardisation,
)

STRENGTHS = (1.0, 1e-2, 1e-3)


@pytest.mark.parametrize(("samples", "features"), [(150, 12), (60, 90)], ids=["tall", "wide"])
def test_softmax_equals_scikit_learn_for_every_fold_and_strength(samples: int, features: int) -> None:
    x, y = draw(samples, features, 4)
    class_weight = torch.tensor([1.0, 2.0, 0.5, 1.0])[y]
    folds = fold_weights_of(torch.arange(samples) % 3, 3, class_weight)
    path = fit_paths(x, y, "single-label", 4, STRENGTHS, folds, tolerance=1e-7, max_iterations=500)
    assert path.converged.all()
    z = standardised(path, x)
    for i, s in enumerate(STRENGTHS):
        for f, w in enumerate(folds):
            c = 1 / (s * float(w.sum()))
            theirs = LogisticRegression(C=c, tol=1e-8, max_iter=10_000).fit(z, y, sample_weight=w.double().numpy())
            np.testing.assert_allclose(path.weights[i, f], theirs.coef_, atol=2e-3)
            ours = objective(path, x, y, w, path.weights[i, f].numpy(), path.biases[i, f].numpy(), s)
            best = objective(path, x, y, w, theirs.coef_, theirs.intercept_, s)
            assert best - 1e-6 <= ours <= best + 1e-5


def test_default_tolerance_is_close_in_objective() -> None:
    x, y = draw(200, 300, 5)
    folds = fold_weights_of(torch.arange(200) % 4, 4)
    rough = fit_paths(x, y, "single-label", 5, STRENGTHS, folds)
    fine = fit_paths(x, y, "single-label", 5, STRENGTHS, folds, tolerance=1e-7, max_iterations=1000)
    for i, s in enumerate(STRENGTHS):
        for f, w in enumerate(folds):
            reached = [objective(p, x, y, w, p.weights[i, f].numpy(), p.biases[i, f].numpy(), s) for p in (rough, fine)]
            assert reached[0] - reached[1] < 1e-3 * reached[1]
    assert (rough.iterations <= fine.iterations).all()


@pytest.mark.parametrize(("samples", "features"), [(400, 12), (60, 90)], ids=["tall", "wide"])
def test_a_start_changes_only_where_the_way_begins(samples: int, features: int) -> None:
    """Also a start far off: the solution is unique."""
    x, y = draw(samples, features, 4)
    folds = fold_weights_of(torch.arange(samples) % 3, 3)
    near = fit_paths(x, y, "single-label", 4, [3e-3], folds)
    g = torch.Generator().manual_seed(0)
    far = 3 * torch.randn(near.weights[0].shape, generator=g), 3 * torch.randn(near.biases[0].shape, generator=g)
    cold = fit_paths(x, y, "single-label", 4, [1e-3], folds, tolerance=1e-7, max_iterations=500)
    for start in (near.weights[0], near.biases[0]), far:
        warm = fit_paths(x, y, "single-label", 4, [1e-3], folds, tolerance=1e-7, max_iterations=500, start=start)
        for f, w in enumerate(folds):
            found = [objective(p, x, y, w, p.weights[0, f].numpy(), p.biases[0, f].numpy(), 1e-3) for p in (cold, warm)]
            assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_two_classes_equal_scikit_learn_at_twice_the_c() -> None:
    x, y = draw(80, 10, 2)
    path = fit_paths(x, y, "single-label", 2, [0.01], torch.ones(1, 80), tolerance=1e-7)
    theirs = LogisticRegression(C=2 / (0.01 * 80), tol=1e-8, max_iter=10_000).fit(standardised(path, x), y)
    np.testing.assert_allclose(path.weights[0, 0, 1] - path.weights[0, 0, 0], theirs.coef_[0], atol=2e-3)


def test_each_label_of_a_multi_label_task_is_its_own_problem_over_the_samples_that_have_it() -> None:
    x, _ = draw(120, 10, 2)
    g = torch.Generator().manual_seed(1)
    y = ((x[:, :3] - x[:, :3].mean(0)) / x[:, :3].std(0) + torch.randn(120, 3, generator=g) > 0.3).float()
    y[::5, 1] = torch.nan
    folds = fold_weights_of(torch.arange(120) % 2, 2)
    path = fit_paths(x, y, "multi-label", 3, [0.1, 0.003], folds, tolerance=1e-7, max_iterations=500)
    z = standardised(path, x)
    for i, s in enumerate(path.strengths):
        for f, w in enumerate(folds):
            for k in range(3):
                use = ((w > 0) & ~y[:, k].isnan()).numpy()
                theirs = LogisticRegression(C=1 / (s * use.sum()), tol=1e-8, max_iter=10_000)
                theirs.fit(z[use], y[:, k].numpy()[use])
                np.testing.assert_allclose(path.weights[i, f, k], theirs.coef_[0], atol=2e-3)
                np.testing.assert_allclose(path.biases[i, f, k], theirs.intercept_[0], atol=2e-3)


@pytest.mark.parametrize(("samples", "features"), [(100, 15), (40, 70)], ids=["tall", "wide"])
def test_regression_equals_ridge(samples: int, features: int) -> None:
    x, _ = draw(samples, features, 2)
    y = torch.randn(samples, generator=torch.Generator().manual_seed(2)) * 30 + 100
    y[3] = torch.nan
    folds = fold_weights_of(torch.arange(samples) % 3, 3)
    path = fit_paths(x, y, "regression", 1, STRENGTHS, folds)
    z = standardised(path, x)
    for i, s in enumerate(STRENGTHS):
        for f, w in enumerate(folds):
            use = ((w > 0) & ~y.isnan()).numpy()
            theirs = Ridge(alpha=s * use.sum()).fit(z[use], y.numpy()[use])
            np.testing.assert_allclose(path.weights[i, f, 0], theirs.coef_, rtol=1e-3, atol=1e-3)
            np.testing.assert_allclose(path.biases[i, f, 0], theirs.intercept_, rtol=1e-4)


def test_missing_labels_do_not_count() -> None:
    x, y = draw(60, 8, 3)
    y[::4] = -1
    hidden = fit_paths(x, y, "single-label", 3, [0.01], torch.ones(1, 60), tolerance=1e-7)
    weights = (torch.arange(60) % 4 != 0).float()[None]
    zeroed = fit_paths(x, y.clamp(min=0), "single-label", 3, [0.01], weights, tolerance=1e-7)
    torch.testing.assert_close(hidden.weights, zeroed.weights, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("deviation", [0.0, 1e-33, 1e-9])
def test_constant_columns_keep_weights_small(deviation: float) -> None:
    x, y = draw(100, 20, 3)
    x = (x - x.mean(0)) / x.std(0)
    x[:, 4] = 0.3 + deviation * torch.randn(100)
    x[:, 9] = deviation * torch.randn(100)
    path = fit_paths(x, y, "single-label", 3, [1e-3], torch.ones(1, 100))
    weight, bias = path.linear(0, 0)
    assert weight.abs().max() < 1e3
    without = [i for i in range(20) if i not in (4, 9)]
    plain = fit_paths(x[:, without], y, "single-label", 3, [1e-3], torch.ones(1, 100))
    torch.testing.assert_close(x @ weight.T + bias, predict(plain, x[:, without])[0, 0], atol=0.02, rtol=0.02)


def test_mostly_constant_columns_such_as_the_borders_of_digits() -> None:
    x = torch.zeros(50, 30)
    x[:, :5] = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    x[:, 5:10] = 1e-20 * x[:, :5]
    mean, scale = standardisation(x)
    assert scale[:5].min() > 0.5
    assert scale[5:].min() > 1e-4
    assert torch.equal(standardisation(torch.ones(4, 3))[1], torch.ones(3))
    path = fit_paths(torch.ones(6, 3), torch.tensor([0, 0, 0, 0, 1, 1]), "single-label", 2, [1.0], torch.ones(1, 6))
    torch.testing.assert_close(
        predict(path, torch.ones(1, 3)).softmax(-1)[0, 0, 0], torch.tensor([4 / 6, 2 / 6]), atol=5e-3, rtol=0
    )
    assert mean.shape == (30,)


@pytest.mark.parametrize("kind", ["single-label", "multi-label"])
@pytest.mark.parametrize("factor", [1.0, 1e4])
def test_separable_data_and_tiny_strengths_stay_finite(kind: str, factor: float) -> None:
    x = torch.cat([torch.randn(20, 50) + 20, torch.randn(20, 50) - 20]) * factor
    y = torch.arange(40) // 20
    labels = y if kind == "single-label" else functional.one_hot(y, 2).float()
    path = fit_paths(x, labels, kind, 2, [1e-2, 1e-8, 1e-12], torch.ones(1, 40))  # type: ignore[arg-type]
    assert path.weights.isfinite().all()
    assert path.biases.isfinite().all()
    assert (predict(path, x)[:, 0].argmax(-1) == y).all()


def test_held_out_predictions_settle_where_the_objective_is_tiny() -> None:
    g = torch.Generator().manual_seed(0)
    y = torch.randint(4, (80,), generator=g)
    x = torch.randn(80, 400, generator=g) + 0.5 * torch.randn(4, 400, generator=g)[y]
    assignment = torch.arange(80) % 5
    path = fit_paths(x, y, "single-label", 4, [1e-2, 1e-4, 1e-6], fold_weights_of(assignment, 5))
    right = (out_of_fold(path, x, assignment).argmax(-1) == y).float().mean(dim=1)
    assert right.min() > 0.95


def test_no_probability_is_subnormal() -> None:
    logits = torch.tensor([[0.0, -30.0, -95.0, -200.0]])[:, :, None]
    for link in (lbfgs._Softmax, lbfgs._Sigmoid):
        p = link.mean(logits).flatten()
        assert p[1] > 1e-14
        assert p[2] == p[3] == 0


def test_a_model_that_did_not_finish_says_so() -> None:
    x, y = draw(100, 50, 4)
    path = fit_paths(x, y, "single-label", 4, [1e-4, 10.0], torch.ones(1, 100), tolerance=1e-7, max_iterations=8)
    assert path.converged[:, 0].tolist() == [False, True]
    assert path.iterations[0, 0] == 8
    assert path.weights.isfinite().all()


def test_classes_and_labels_that_a_fold_does_not_have() -> None:
    x, y = draw(60, 10, 3)
    weights = torch.stack([(y != 2).float(), torch.ones(60)])
    path = fit_paths(x, y, "single-label", 4, [0.01], weights)
    p = predict(path, x).softmax(-1)[0]
    assert p[0, :, 2:].mean() < 0.01
    assert p[1, :, 3].mean() < 0.01
    labels = torch.stack([torch.ones(60), torch.full((60,), torch.nan), (y == 0).float()], dim=1)
    path = fit_paths(x, labels, "multi-label", 3, [0.01], torch.ones(1, 60))
    p = predict(path, x).sigmoid()[0, 0]
    assert p[:, 0].min() > 0.9
    torch.testing.assert_close(p[:, 1], torch.full((60,), 0.5))


def test_out_of_fold_takes_the_model_that_held_the_sample_out() -> None:
    x, y = draw(45, 8, 3)
    assignment = torch.arange(45) % 3
    assignment[7] = -1
    path = fit_paths(x, y, "single-label", 3, [0.1, 0.01], fold_weights_of(assignment, 3))
    everything, held_out = predict(path, x), out_of_fold(path, x, assignment)
    assert held_out.shape == (2, 45, 3)
    assert held_out[:, 7].isnan().all()
    for n in (0, 1, 2, 44):
        torch.testing.assert_close(held_out[:, n], everything[:, assignment[n], n])


def test_labels_of_held_out_samples_change_nothing() -> None:
    x, y = draw(60, 20, 3)
    assignment = torch.arange(60) % 3
    y2 = torch.where(assignment == 0, (y + 1) % 3, y)
    weights = fold_weights_of(assignment, 3)[:1]
    a, b = (fit_paths(x, labels, "single-label", 3, [0.01], weights) for labels in (y, y2))
    assert torch.equal(a.weights, b.weights)


def test_chunks_give_what_one_batch_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = draw(80, 30, 3)
    folds = fold_weights_of(torch.arange(80) % 4, 4)
    whole = fit_paths(x, y, "single-label", 3, STRENGTHS, folds, tolerance=1e-7)
    monkeypatch.setattr(lbfgs, "BATCH_BYTES", 1)
    single = fit_paths(x, y, "single-label", 3, STRENGTHS, folds, tolerance=1e-7)
    torch.testing.assert_close(whole.weights, single.weights, atol=1e-3, rtol=1e-3)


@settings(max_examples=20, deadline=None)
@given(
    samples=st.integers(4, 30),
    features=st.integers(1, 40),
    classes=st.integers(1, 5),
    seed=st.integers(0, 1000),
    magnitude=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_any_problem_is_finite_and_no_worse_than_doing_nothing(
    samples: int, features: int, classes: int, seed: int, magnitude: float
) -> None:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, features, generator=g) * magnitude
    y = torch.randint(classes, (samples,), generator=g)
    path = fit_paths(x, y, "single-label", classes, [1.0, 1e-4], torch.ones(1, samples))
    for i, s in enumerate(path.strengths):
        reached = objective(path, x, y, torch.ones(samples), path.weights[i, 0].numpy(), path.biases[i, 0].numpy(), s)
        assert reached <= np.log(classes) + 1e-5


def test_folding_into_a_linear_layer() -> None:
    x, y = draw(50, 12, 3)
    path = fit_paths(x, y, "single-label", 3, [0.01], torch.ones(1, 50))
    # In double precision: where an offset is 10,000 deviations, float32 rounds the folded product to about 1e-3.
    weight, bias = fold_into_linear(path.weights[0, 0].double(), path.biases[0, 0].double(), path.mean, path.scale)
    z = (x.double() - path.mean.double()) / path.scale.double()
    expected = z @ path.weights[0, 0].double().T + path.biases[0, 0].double()
    torch.testing.assert_close(functional.linear(x.double(), weight, bias), expected, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(expected.float(), predict(path, x)[0, 0], atol=2e-3, rtol=1e-3)


def test_a_design_is_shared_while_its_features_live_unchanged() -> None:
    x, _ = draw(40, 6, 3)
    first = shared_design(x)
    assert shared_design(x) is first
    assert shared_design(x.clone()) is not first
    x += 1
    assert not torch.equal(shared_design(x).mean, first.mean)
    with torch.inference_mode():
        y = x * 2
    assert shared_design(y) is shared_design(y)
    kept = len(solver._kept)
    del x, y
    assert len(solver._kept) == kept - 2


def test_large_designs_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "MOST_KEPT", 0)
    x, _ = draw(40, 6, 3)
    assert shared_design(x) is not shared_design(x)


def test_what_is_refused() -> None:
    x, y = draw(20, 5, 3)
    ones = torch.ones(1, 20)
    broken = x.clone()
    broken[3, 2] = torch.inf
    with pytest.raises(ModelError, match="1 of 20"):
        fit_paths(broken, y, "single-label", 3, [1.0], ones)
    with pytest.raises(ValueError, match="positive"):
        fit_paths(x, y, "single-label", 3, [1.0, 0.0], ones)
    with pytest.raises(ValueError, match="no labelled"):
        fit_paths(x, y, "single-label", 3, [1.0], torch.zeros(1, 20))
    with pytest.raises(ValueError, match="below 2"):
        fit_paths(x, y, "single-label", 2, [1.0], ones)
    with pytest.raises(ValueError, match="outputs"):
        fit_paths(x, y.float(), "regression", 2, [1.0], ones)
    with pytest.raises(ValueError, match="fold weights"):
        fit_paths(x[:10], y, "single-label", 3, [1.0], ones)


def test_a_gram_matrix_that_lapack_gives_up_on_is_solved_by_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """As happened on 500 features of digits of 32 pixels, in float32 and on one thread."""

    def gives_up(matrix: torch.Tensor) -> None:
        raise torch.linalg.LinAlgError("the algorithm failed to converge")

    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    gram = x @ x.T
    monkeypatch.setattr(torch.linalg, "eigh", gives_up)
    vectors = solver._eigenvectors(gram)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(30), atol=1e-5, rtol=0)
    rotated = vectors.T @ gram @ vectors
    assert float((rotated - torch.diag(rotated.diag())).abs().max()) < 1e-3
