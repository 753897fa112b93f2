"""The probe: strengths chosen by cross-validation, and the same answer in other units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from headstart.data.schema import Task
from headstart.features import probe as probes
from headstart.features.probe import (
    STRENGTHS,
    as_metric,
    as_outputs,
    class_weights,
    fit_probe,
    fold_numbers,
    label_scale,
    per_sample,
    sample_losses,
    score,
)
from headstart.models.model import Head

TASK = Task("y", "single-label", ("a", "b", "c"))
NUMBER = Task("y", "regression")


def folds(n: int, k: int = 4) -> Tensor:
    return torch.arange(n) % k


def classes(n: int, d: int, noise: float, seed: int = 0) -> tuple[Tensor, np.ndarray]:
    r = np.random.default_rng(seed)
    y = r.integers(0, 3, n)
    x = np.eye(3)[y] @ r.normal(size=(3, d)) + noise * r.normal(size=(n, d))
    return torch.from_numpy(x).float(), y


def numbers(n: int = 120, d: int = 10) -> tuple[Tensor, np.ndarray]:
    r = np.random.default_rng(1)
    x = r.normal(size=(n, d))
    return torch.from_numpy(x).float(), (x @ r.normal(size=d) + 0.3 * r.normal(size=n)).astype(np.float32)


def plain_loss(held_out: Tensor, y: np.ndarray) -> float:
    return float(torch.nn.functional.cross_entropy(held_out.double(), torch.from_numpy(y)))


def loss_at_best_temperature(held_out: Tensor, y: np.ndarray) -> float:
    return float(sample_losses(TASK, y, held_out.numpy()).mean())


def test_strength_follows_the_noise() -> None:
    """Hardly any signal in many dimensions wants a strong penalty; a clear signal a weak one."""
    strong = fit_probe(*classes(90, 200, 8.0), TASK, "log_loss", folds(90)).strength
    weak = fit_probe(*classes(900, 4, 0.5), TASK, "log_loss", folds(900)).strength
    assert strong > 10 * weak


def test_the_strength_chosen_is_within_an_error_of_the_best_and_has_the_lowest_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Exactly solved: a rough solution depends on where it began.
    monkeypatch.setattr(probes, "ROUGH", 1e-7)
    x, y = classes(120, 30, 3.0)
    probe = fit_probe(x, y, TASK, "accuracy", folds(120))
    assert list(probe.scores) == list(STRENGTHS)[: len(probe.scores)]
    # Of the whole path, with those that were not tried because it had become worse.
    alone = {s: fit_probe(x, y, TASK, "accuracy", folds(120), strengths=[s]).scores[s] for s in STRENGTHS}
    best = max(alone.values())
    near = [s for s, v in alone.items() if v >= best - (best * (1 - best) / 120) ** 0.5]
    assert probe.strength in near
    assert score(TASK, "accuracy", y, probe.held_out.numpy()) == pytest.approx(probe.scores[probe.strength], abs=1e-6)
    lowest = [
        min(near, key=lambda s: loss(fit_probe(x, y, TASK, "accuracy", folds(120), strengths=[s]).held_out, y))
        for loss in (plain_loss, loss_at_best_temperature)
    ]
    assert probe.strength == max(lowest)


def test_of_the_lowest_by_either_loss_the_stronger_is_taken() -> None:
    """Scaled outputs hardly differ along weak penalties; plain ones only ask for more where classes are far apart."""
    x, y = classes(1000, 100, 3.0)
    probe = fit_probe(x, y, TASK, "accuracy", folds(1000))
    alone = {s: fit_probe(x, y, TASK, "accuracy", folds(1000), strengths=[s]).held_out for s in STRENGTHS}
    lowest = {loss: min(STRENGTHS, key=lambda s: loss(alone[s], y)) for loss in (plain_loss, loss_at_best_temperature)}
    assert probe.strength == lowest[loss_at_best_temperature] > 10 * lowest[plain_loss]


def test_the_path_ends_where_it_has_become_worse_and_not_before() -> None:
    noisy = fit_probe(*classes(200, 100, 6.0), TASK, "accuracy", folds(200))
    assert len(noisy.scores) < len(STRENGTHS)
    assert list(noisy.scores).index(noisy.strength) < len(noisy.scores) - 2
    clear = fit_probe(*classes(900, 4, 0.1), TASK, "accuracy", folds(900))
    assert clear.strength == STRENGTHS[-1]


def test_held_out_logits_come_from_models_that_never_saw_the_sample() -> None:
    """Labels that are pure noise: out of fold they are guessed at chance, in sample far better."""
    r = np.random.default_rng(0)
    x, y = torch.from_numpy(r.normal(size=(150, 300))).float(), r.integers(0, 3, 150)
    probe = fit_probe(x, y, TASK, "accuracy", folds(150), strengths=[1e-4])
    assert score(TASK, "accuracy", y, probe.held_out.numpy()) < 0.45
    assert score(TASK, "accuracy", y, probe.logits(x).numpy()) > 0.95


def test_final_fit_is_as_good_as_scikit_learn() -> None:
    """The solver stops at 1e-4 of the objective, so objectives are compared, not weights."""
    x, y = classes(150, 12, 2.0)
    probe = fit_probe(x, y, TASK, "accuracy", folds(150), strengths=[0.01])
    z = ((x - probe.mean) / probe.scale).numpy()
    reference = LogisticRegression(C=1 / (0.01 * 150), max_iter=5000, tol=1e-8).fit(z, y)

    def objective(weight: np.ndarray, chances: np.ndarray) -> float:
        return float(-np.log(chances[np.arange(150), y]).mean() + 0.005 * (weight**2).sum())

    mine = objective(probe.weight.numpy(), as_outputs(TASK, probe.logits(x).numpy()))
    best = objective(reference.coef_, reference.predict_proba(z))
    assert best * (1 - 1e-6) <= mine <= best * (1 + 1e-3)


@pytest.mark.parametrize(("factor", "shift"), [(1000.0, 0.0), (1e-3, 5.0), (1.0, -1e3)])
def test_regression_does_not_depend_on_units(factor: float, shift: float) -> None:
    x, y = numbers()
    plain = fit_probe(x, y, NUMBER, "rmse", folds(120))
    other = fit_probe(x, (y.astype(np.float64) * factor + shift).astype(np.float32), NUMBER, "rmse", folds(120))
    assert other.strength == plain.strength
    expected = plain.logits(x) * factor + shift
    assert torch.allclose(other.logits(x), expected, rtol=1e-2, atol=2e-3 * abs(factor) * float(y.std()) + 1e-3)
    assert torch.allclose(
        other.held_out, plain.held_out * factor + shift, rtol=1e-2, atol=2e-3 * factor * float(y.std()) + 1e-3
    )


def test_features_may_come_in_any_units() -> None:
    x, y = classes(120, 10, 2.0)
    factors = torch.logspace(-1, 1, 10)  # further apart, the floor of the scale would bite
    plain = fit_probe(x, y, TASK, "accuracy", folds(120))
    other = fit_probe(x * factors + factors, y, TASK, "accuracy", folds(120))
    assert other.strength == plain.strength
    assert torch.allclose(other.logits(x * factors + factors), plain.logits(x), atol=5e-2)


def test_constant_features_do_no_harm() -> None:
    """Deviations of 0 and 1e-33, as real networks have, must not become weights of 1e27."""
    x, y = classes(120, 10, 2.0)
    dead = torch.cat([x, torch.full((120, 1), 3.0), 1e-33 * torch.randn(120, 1)], 1)
    probe = fit_probe(dead, y, TASK, "accuracy", folds(120))
    head = Head(12, 3)
    head.load_probe(probe.weight, probe.bias, probe.mean, probe.scale)
    weight, bias = head.folded()
    assert float(weight.abs().max()) < 1e4
    assert torch.isfinite(bias).all()
    assert torch.allclose(head(dead), probe.logits(dead), atol=1e-4)
    assert torch.allclose(dead @ weight.T + bias, probe.logits(dead), atol=1e-3)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_head_with_label_scale_takes_the_probe_over(outputs: int) -> None:
    torch.manual_seed(0)
    head = Head(5, outputs)
    head.shift.fill_(40.0)
    head.spread.fill_(12.0)
    weight, bias, mean, scale = torch.randn(outputs, 5), torch.randn(outputs), torch.randn(5), torch.rand(5) + 0.1
    head.load_probe(weight, bias, mean, scale)
    x = torch.randn(7, 5)
    expected = ((x - mean) / scale) @ weight.T + bias
    assert torch.allclose(head(x), expected, atol=1e-4)
    folded = head.folded()
    assert torch.allclose(x @ folded[0].T + folded[1], expected, atol=1e-3)


def test_missing_labels_take_no_part() -> None:
    x, y = classes(120, 10, 2.0)
    missing = y.copy()
    missing[:30] = -1
    assignment = folds(120)
    assignment[:30] = -1
    weights = class_weights(TASK, missing)
    assert weights is not None
    probe = fit_probe(x, missing, TASK, "accuracy", assignment, weights)
    other = x.clone()
    other[:30] = other[:30].flip(0)  # another order of the unlabelled, the same mean and scale
    again = fit_probe(other, missing, TASK, "accuracy", assignment, weights)
    assert torch.allclose(probe.logits(x), again.logits(x), atol=1e-3)
    assert bool(torch.isnan(probe.held_out[:30]).all())
    assert not bool(torch.isnan(probe.held_out[30:]).any())


def test_class_weights_make_classes_count_alike() -> None:
    y = np.array([0, 0, 0, 0, 0, 0, 1, 1, -1])
    weights = class_weights(TASK, y)
    assert weights is not None
    totals = [float(weights[torch.from_numpy(y == c)].sum()) for c in (0, 1)]
    assert totals[0] == pytest.approx(totals[1])
    assert float(weights[weights > 0].mean()) == pytest.approx(1)
    assert float(weights[-1]) == 0
    assert class_weights(NUMBER, np.zeros(3)) is None


def test_without_folds_the_first_strength_is_taken() -> None:
    x, y = classes(30, 5, 1.0)
    probe = fit_probe(x, y, TASK, "accuracy", torch.full((30,), -1), strengths=[0.1, 0.01])
    assert probe.strength == 0.1
    assert bool(torch.isnan(probe.held_out).all())


def test_fold_numbers() -> None:
    split = [(np.array([2, 3]), np.array([0, 1])), (np.array([0, 1]), np.array([3]))]
    assert fold_numbers(5, split).tolist() == [0, 0, -1, 1, -1]


def test_outputs_and_scales() -> None:
    z = np.array([[0.0, np.log(3.0)]])
    assert as_outputs(Task("y", "single-label", ("a", "b")), z) == pytest.approx(np.array([[0.25, 0.75]]))
    assert as_outputs(Task("y", "multi-label", ("a", "b")), z) == pytest.approx(np.array([[0.5, 0.75]]))
    assert as_outputs(NUMBER, np.array([[2.5], [3.0]])).tolist() == [2.5, 3.0]
    assert label_scale(NUMBER, np.array([1.0, 3.0, np.nan])) == (2.0, 1.0)
    assert label_scale(NUMBER, np.array([2.0, 2.0])) == (2.0, 1.0)
    assert label_scale(TASK, np.array([0, 2])) == (0.0, 1.0)


def test_lower_is_better_is_negated() -> None:
    y = np.array([1.0, 2.0])
    assert score(NUMBER, "rmse", y, np.array([[2.0], [3.0]])) == -1
    assert score(NUMBER, "rmse", y, np.array([[2.0], [np.nan]])) == -1


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_numbers_of_single_samples_are_in_the_unit_of_the_metric(metric: str) -> None:
    x, y = classes(200, 4, noise=1.0)
    logits = x[:, :3].numpy()
    assert per_sample(TASK, y, logits, metric).mean() == pytest.approx(score(TASK, metric, y, logits))


def test_the_doubt_of_r2_does_not_depend_on_the_unit_of_the_labels() -> None:
    r = np.random.default_rng(0)
    y = r.normal(size=300)
    z = y[:, None] + 0.5 * r.normal(size=(300, 1))
    one, many = (per_sample(NUMBER, k * y, k * z, "r2") for k in (1.0, 1000.0))
    np.testing.assert_allclose(one, many)
    assert one.mean() == pytest.approx(score(NUMBER, "r2", y, z))


def test_a_metric_is_shown_with_its_own_sign() -> None:
    assert as_metric(NUMBER, "r2", -0.3) == -0.3
    assert as_metric(NUMBER, "rmse", -0.3) == 0.3
    assert str(as_metric(NUMBER, "rmse", 0.0)) == "0.0"
