"""Probes along strengths: where they end, how many steps that takes, and what goes along."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from problems import draw, objective
from torch import Tensor
from torch.nn import functional

from headstart.features.following import follow, joined
from headstart.features.lbfgs import LINKS, _Batch
from headstart.features.solver import design_of, fit_paths, fold_weights_of, solver_inputs


@pytest.mark.parametrize("kind", ["single-label", "multi-label", "regression"])
def test_following_a_path_ends_where_solving_at_once_does(kind: str) -> None:
    x, y = draw(120, 15, 3)
    y = {"single-label": y, "multi-label": functional.one_hot(y, 3).float(), "regression": y.float()}[kind]
    outputs = 1 if kind == "regression" else 3
    folds, strengths = fold_weights_of(torch.arange(120) % 3, 3), (1.0, 0.1, 0.01, 0.001)
    steps = [*follow(x, y, kind, outputs, strengths, folds, 1e-7)]  # type: ignore[arg-type]
    at_once = fit_paths(x, y, kind, outputs, strengths, folds, 1e-7)  # type: ignore[arg-type]
    path = joined(steps)
    assert path.strengths == at_once.strengths
    assert [p.strengths for p in steps] == [(s,) for s in strengths]
    torch.testing.assert_close(path.weights, at_once.weights, atol=5e-3, rtol=1e-3)
    torch.testing.assert_close(path.biases, at_once.biases, atol=5e-3, rtol=1e-3)
    assert path.iterations.shape == path.converged.shape == (4, 3)


def test_following_takes_fewer_steps_and_ends_near_the_optimum() -> None:
    x, y = draw(600, 200, 5)
    folds, strengths = fold_weights_of(torch.arange(600) % 4, 4), (0.1, 0.01, 0.001, 0.0001)
    at_once = fit_paths(x, y, "single-label", 5, strengths, folds, 1e-3)
    path = joined(follow(x, y, "single-label", 5, strengths, folds, 1e-3))
    exact = fit_paths(x, y, "single-label", 5, strengths, folds, 1e-8, 1000)
    assert path.iterations[2:].sum() < 0.8 * at_once.iterations[2:].sum()
    for i, s in enumerate(strengths):
        for f, w in enumerate(folds):
            found = [objective(p, x, y, w, p.weights[i, f].numpy(), p.biases[i, f].numpy(), s) for p in (exact, path)]
            assert found[1] - found[0] < 4e-3 * found[0]  # a few times the tolerance


def test_what_is_known_of_the_curvature_goes_along_as_the_penalty_changes() -> None:
    """Of a pair that is kept the penalty's part is exact, and the loss's part scaled by how the loss has flattened."""
    x, y = draw(80, 6, 3)
    design = design_of(x)
    targets, weights = solver_inputs(design, y, "single-label", 3, [1.0], torch.ones(2, 80))

    def batch(at: Tensor) -> _Batch:
        made = _Batch(design.matrix, targets, weights, torch.zeros(2), LINKS["single-label"])
        made.begin_at(at)
        return made

    one = _Batch(design.matrix, targets, weights, torch.full((2,), 0.1), LINKS["single-label"])
    points = [one.x.clone()]
    for _ in range(3):
        one._step(*one._direction())
        points.append(one.x.clone())
    one.move_to(2 * one.x, torch.full((2,), 0.02))
    sure = [1 - b.p.square().sum(dim=1).mean() for b in (batch(points[-1]), batch(2 * points[-1]))]
    assert len(one.memory) == 3
    for (before, after), (step, change, rho) in zip(pairwise(points), one.memory, strict=True):
        of_loss = batch(after).gradient - batch(before).gradient
        of_penalty = 0.02 * (after - before)
        of_penalty[:, :, -1] = 0  # the bias
        torch.testing.assert_close(step, after - before, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(change, of_loss * sure[1] / sure[0] + of_penalty, atol=1e-5, rtol=1e-3)
        torch.testing.assert_close(rho, 1 / (step * change).sum(dim=(1, 2)))


def test_folds_that_do_not_fit_one_batch_follow_the_path_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = draw(120, 15, 3)
    folds, strengths = fold_weights_of(torch.arange(120) % 3, 3), (0.1, 0.01, 0.001)
    whole = joined(follow(x, y, "single-label", 3, strengths, folds, 1e-7))
    monkeypatch.setattr("headstart.features.lbfgs.BATCH_BYTES", 1)
    parts = joined(follow(x, y, "single-label", 3, strengths, folds, 1e-7))
    torch.testing.assert_close(parts.weights, whole.weights, atol=5e-3, rtol=1e-3)
    assert parts.converged.all()
