"""Weights equal the published values, TorchJD's, and what the definitions say."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchjd import aggregation, scalarization

from headstart.core.errors import ConfigError
from headstart.core.registry import get, methods
from headstart.core.seeding import derive
from headstart.multitask import Balancer, Seen, make_balancer
from headstart.multitask.balancing import from_torchjd, imtl_l, uncertainty
from headstart.multitask.balancing.cagrad import solve
from headstart.multitask.balancing.cone import least_above, shortest
from headstart.multitask.balancing.nash_mtl import bargain

PAIR = torch.tensor([[-4.0, 1, 1], [6, 1, 1]], dtype=torch.float64)
TRIPLE = torch.tensor([[1.0, 0, 0], [-1, 1, 0], [0, -2, 1]], dtype=torch.float64)
NAMES = [m.name for m in methods("balancing")]
GRAMIAN = [m.name for m in methods("balancing") if "gramian" in m.needs]
EXACT = [name for name in GRAMIAN if name not in ("gradnorm", "pcgrad", "gradvac")]
"""Methods that weigh by the Gramian alone: without memory and without drawing."""


def seen(j: Tensor, losses: Sequence[float] | None = None, **more: Any) -> Seen:
    return Seen(torch.tensor(losses or [1.0] * len(j)), j @ j.T, **more)


def as_published(name: str, **options: Any) -> Balancer:
    balancer = make_balancer(name, **options)
    balancer.reduction = balancer.published
    return balancer


def weights(name: str, j: Tensor, **options: Any) -> list[float]:
    return as_published(name, **options)(seen(j)).tolist()


def random_rows(seed: int, tasks: int = 4, size: int = 9) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(tasks, size)))


# -- published values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "expected", "direction"),
    [
        ("mgda", {}, [0.6, 0.4], [0.0, 1.0, 1.0]),
        ("pcgrad", {}, [2.222222, 1.578947], [0.584795, 3.801170, 3.801170]),
        ("gradvac", {}, [2.222222, 1.578947], [0.584795, 3.801170, 3.801170]),
        ("cagrad", {}, [0.704124, 0.5], [0.183503, 1.204124, 1.204124]),
        ("nash-mtl", {"max_norm": 0.0}, [0.591461, 0.407071], [0.076584, 0.998533, 0.998533]),
        ("nash-mtl", {}, [0.418226, 0.287843], [0.054153, 0.706069, 0.706069]),
        ("imtl-g", {}, [0.592330, 0.407670], [0.076697, 1.0, 1.0]),
        ("aligned-mtl", {}, [0.559072, 0.408261], [0.213279, 0.967333, 0.967333]),
        ("upgrad", {}, [1.111111, 0.789474], [0.292398, 1.900585, 1.900585]),
    ],
)
def test_the_pair_of_reference(
    name: str, options: dict[str, float], expected: list[float], direction: list[float]
) -> None:
    w = weights(name, PAIR, **options)
    assert w == pytest.approx(expected, abs=1e-6)
    assert (torch.tensor(w, dtype=torch.float64) @ PAIR).tolist() == pytest.approx(direction, abs=1e-6)


def test_the_three_tasks_of_reference() -> None:
    w = weights("upgrad", TRIPLE)
    assert w == pytest.approx([1.333333, 1.277778, 0.577778], abs=1e-6)
    assert (torch.tensor(w, dtype=torch.float64) @ TRIPLE).tolist() == pytest.approx(
        [0.055556, 0.122222, 0.577778], abs=1e-6
    )


def test_uncertainty_and_its_gradient() -> None:
    losses, s = torch.tensor([2.0, 0.5], dtype=torch.float64), torch.tensor([-0.5, -0.5], dtype=torch.float64)
    assert uncertainty.objective(losses, s).item() == pytest.approx(1.560902, abs=1e-6)
    _learns_downhill("uncertainty", uncertainty.objective, {"start": -0.5}, s)
    assert as_published("uncertainty", start=-0.5)(Seen(losses)).tolist() == pytest.approx(
        (torch.exp(-s) / 2).tolist(), abs=1e-12
    )


def test_imtl_l_and_its_gradient() -> None:
    _learns_downhill("imtl-l", imtl_l.objective, {}, torch.zeros(2, dtype=torch.float64))


def _learns_downhill(name: str, objective: Any, options: dict[str, float], start: Tensor) -> None:
    """The gradient that is followed is the objective's, by finite differences; following it ends at the optimum."""
    losses = torch.tensor([2.0, 0.5], dtype=torch.float64)
    balancer = make_balancer(name, **options)
    followed: list[Tensor] = []
    learned = balancer.s  # type: ignore[attr-defined]
    step = learned.step
    learned.step = lambda gradient: (followed.append(gradient), step(gradient))
    for _ in range(600):
        balancer.learn(Seen(losses))
    steps = torch.eye(2, dtype=torch.float64) * 1e-6
    numeric = [(objective(losses, start + e) - objective(losses, start - e)).item() / 2e-6 for e in steps]
    assert followed[0].tolist() == pytest.approx(numeric, abs=1e-6)
    weighted = balancer(Seen(losses)) * losses
    assert weighted.tolist() == pytest.approx([weighted[0].item()] * 2, rel=1e-3)


def test_dwa_over_epochs() -> None:
    balancer = make_balancer("dwa")
    for epoch, losses in enumerate(([2.0, 2.0], [1.0, 2.0], [9.0, 9.0])):
        # Two steps an epoch whose mean is given; what counts is the mean.
        for part in (0.5, 1.5):
            now = Seen(torch.tensor(losses) * part, epoch=epoch)
            found = balancer(now).tolist()
            assert found == pytest.approx([1.0, 1.0] if epoch < 2 else [0.875647, 1.124353], abs=1e-6)
            balancer.learn(now)


def test_dwa_takes_means_over_steps_with_labels() -> None:
    balancer = make_balancer("dwa")
    for epoch, steps in enumerate(([[2.0, 2.0], [2.0, 0.0]], [[1.0, 2.0], [1.0, 0.0]], [[1.0, 1.0]])):
        for losses in steps:
            now = Seen(torch.tensor(losses), epoch=epoch)
            last = balancer(now)
            balancer.learn(now)
    assert last.tolist() == pytest.approx([0.875647, 1.124353], abs=1e-6)


def test_gradnorm_moves_norms_to_their_targets() -> None:
    balancer = make_balancer("gradnorm", rate=0.01)
    norms = torch.tensor([1.0, 3.0], dtype=torch.float64)
    balancer.learn(Seen(torch.tensor([1.0, 1.0]), torch.diag(norms**2)))
    for _ in range(600):
        balancer.learn(Seen(torch.tensor([0.5, 1.0]), torch.diag(norms**2)))
    w = balancer(Seen(torch.tensor([0.5, 1.0]), torch.diag(norms**2)))
    assert w.sum().item() == pytest.approx(2.0)
    # What is left is in the ratio 1 : 2, so norms come to stand as 1 : 2^1.5.
    assert (w[1] * norms[1] / (w[0] * norms[0])).item() == pytest.approx(2**1.5, rel=0.1)


def test_gls_is_the_gradient_of_the_geometric_mean() -> None:
    losses = torch.tensor([2.0, 0.5, 4.0], dtype=torch.float64, requires_grad=True)
    losses.log().mean().exp().backward()
    assert as_published("gls")(Seen(losses)).tolist() == pytest.approx(losses.grad.tolist())  # type: ignore[union-attr]


# -- TorchJD's -------------------------------------------------------------------------------------------------------


def test_famo_is_torchjds() -> None:
    ours, theirs = as_published("famo"), scalarization.FAMO(3).double()
    r = np.random.default_rng(0)
    for _ in range(20):
        before = torch.from_numpy(r.uniform(0.1, 2, 3)).requires_grad_()
        after = torch.from_numpy(r.uniform(0.1, 2, 3))
        theirs(before).backward()
        assert ours(Seen(before)).tolist() == pytest.approx(before.grad.tolist(), rel=1e-6)  # type: ignore[union-attr]
        theirs.update(after)
        ours.learn(Seen(before), after)


def test_gradvac_is_torchjds() -> None:
    ours, theirs = make_balancer("gradvac"), aggregation.GradVacWeighting()
    for step in range(20):
        now = seen(random_rows(step), seed=step)
        torch.manual_seed(derive(step, "gradvac"))
        assert ours(now).tolist() == pytest.approx(theirs(now.gramian).tolist(), rel=1e-6)
        ours.learn(now)


@pytest.mark.parametrize("tasks", [2, 3, 6])
def test_mgda_is_no_longer_than_torchjds(tasks: int) -> None:
    for seed in range(20):
        g = (j := random_rows(seed, tasks)) @ j.T
        ours, theirs = torch.from_numpy(shortest(g.numpy())), aggregation.MGDAWeighting()(g)
        assert ours @ g @ ours <= theirs @ g @ theirs + 1e-12
        if tasks == 2:
            assert ours.tolist() == pytest.approx(theirs.tolist(), abs=1e-9)


# -- optimality ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [2, 3, 8])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_solvers_end_at_the_optimum(tasks: int, scale: float) -> None:
    for seed in range(10):
        j = random_rows(seed, tasks, 12) * scale
        g = (j @ j.T).numpy()
        size = scale**2
        w = shortest(g)
        # Karush, Kuhn, Tucker: every gradient goes at least as far along the shortest one as it does itself.
        assert w.sum() == pytest.approx(1.0)
        assert (g @ w).min() >= w @ g @ w - 1e-9 * size
        v = least_above(g, np.eye(tasks)[0])
        assert (v >= np.eye(tasks)[0] - 1e-12).all()
        assert (g @ v).min() >= -1e-9 * size
        assert ((v - np.eye(tasks)[0]) * (g @ v)).max() <= 1e-9 * size
        a = bargain(g)
        assert (a > 0).all()
        assert g @ a == pytest.approx(1 / a, rel=1e-6)


@pytest.mark.parametrize("tasks", [2, 3, 5])
@pytest.mark.parametrize("c", [0.2, 0.5, 1.0])
def test_no_direction_near_the_mean_is_better_for_the_worst_task_than_cagrads(tasks: int, c: float) -> None:
    r = np.random.default_rng(0)
    for seed in range(5):
        j = random_rows(seed, tasks, 6).numpy()
        mean, d = j.mean(0), solve(j @ j.T, c) @ j
        radius = c * np.linalg.norm(mean)
        assert np.linalg.norm(d - mean) == pytest.approx(radius, rel=1e-6)
        others = r.normal(size=(20000, 6))
        others *= radius / np.linalg.norm(others, axis=1, keepdims=True)
        near = d - mean + 0.1 * others
        near *= radius / np.linalg.norm(near, axis=1, keepdims=True)
        assert ((mean + np.concatenate([others, near])) @ j.T).min(1).max() <= (j @ d).min() + 1e-9


# -- properties ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), [("mgda", {}), ("upgrad", {}), ("nash-mtl", {}), ("cagrad", {"c": 1.0})])
@pytest.mark.parametrize("seed", range(10))
def test_non_conflicting(name: str, options: dict[str, float], seed: int) -> None:
    j = random_rows(seed, 5, 7)
    gain = j @ (make_balancer(name, **options)(seen(j)) @ j)
    assert gain.min() >= -1e-8


def test_two_tasks_are_not_harmed_by_surgery() -> None:
    for seed in range(10):
        j = random_rows(seed, 2)
        for name in ("pcgrad", "gradvac", "aligned-mtl"):
            assert (j @ (make_balancer(name)(seen(j)) @ j)).min() >= -1e-9, name


@pytest.mark.parametrize("name", EXACT)
def test_permutation_equivariant(name: str) -> None:
    j, balancer = random_rows(3), make_balancer(name)
    w = balancer(seen(j))
    for order in itertools.permutations(range(4)):
        assert balancer(seen(j[list(order)])).tolist() == pytest.approx(w[list(order)].tolist(), rel=1e-5)


@pytest.mark.parametrize("name", ["equal", "gls", "famo", "uncertainty", "imtl-l", "dwa"])
def test_weights_of_losses_are_permutation_equivariant(name: str) -> None:
    losses = torch.tensor([0.3, 1.0, 2.0])
    w = make_balancer(name)(Seen(losses))
    assert make_balancer(name)(Seen(losses[[2, 0, 1]])).tolist() == pytest.approx(w[[2, 0, 1]].tolist())


@pytest.mark.parametrize("name", [n for n in GRAMIAN if n != "nash-mtl"])
def test_a_common_scale_does_not_matter(name: str) -> None:
    j = random_rows(5)
    w = make_balancer(name)(seen(j))
    for scale in (1e-4, 1e3):
        assert make_balancer(name)(seen(j * scale)).tolist() == pytest.approx(w.tolist(), rel=1e-5)


def test_nash_has_a_direction_of_constant_size() -> None:
    j = random_rows(5)
    for scale in (1e-4, 1.0, 1e3):
        for limit, norm in ((0.0, 2.0), (1.0, 1.0)):
            d = make_balancer("nash-mtl", max_norm=limit)(seen(j * scale)) @ (j * scale)
            assert d.norm().item() == pytest.approx(norm, rel=1e-6)


@pytest.mark.parametrize("name", ["nash-mtl", "imtl-g"])
def test_the_scale_of_one_task_does_not_turn_the_direction(name: str) -> None:
    j = random_rows(6)
    scaled = j * torch.tensor([1.0, 30.0, 0.2, 5.0])[:, None]
    one, other = (make_balancer(name)(seen(rows)) @ rows for rows in (j, scaled))
    assert torch.cosine_similarity(one, other, dim=0).item() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("name", ["pcgrad", "upgrad"])
def test_linear_under_scaling(name: str) -> None:
    """A(diag(c) J) is linear in c > 0, as TorchJD's table of properties says of UPGrad and of PCGrad with two tasks."""
    j = random_rows(7, 2)
    r = np.random.default_rng(1)

    def direction(c: Tensor) -> Tensor:
        rows = c[:, None] * j
        return make_balancer(name)(seen(rows)) @ rows

    a, b = (torch.from_numpy(r.uniform(0.1, 3, 2)) for _ in range(2))
    assert direction(2 * a + b).tolist() == pytest.approx((2 * direction(a) + direction(b)).tolist(), rel=1e-8)


# -- the contract ----------------------------------------------------------------------------------------------------


def made(name: str, **options: Any) -> Balancer:
    return make_balancer(name, **({"weights": [0.5, 1.0, 2.0]} if name == "fixed" else {}), **options)


@pytest.mark.parametrize("name", NAMES)
def test_reduction_is_a_factor_of_the_number_of_tasks(name: str) -> None:
    now = seen(random_rows(8, 3), [0.3, 1.0, 2.0], seed=4)
    total, mean = made(name)(now), made(name, reduction="mean")(now)
    assert total.tolist() == pytest.approx((3 * mean).tolist())


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.95])
def test_given_weights_decide_between_tasks_that_compete(share: float) -> None:
    """One number that one task wants at 1 and the other at -1, each by half the squared distance."""
    balancer, x = make_balancer("fixed", weights=[2 * share, 2 * (1 - share)]), torch.zeros(1, dtype=torch.float64)
    for _ in range(200):
        gradients = torch.stack([x - 1, x + 1])
        x = x - 0.1 * balancer(seen(gradients, [float((x - 1) ** 2 / 2), float((x + 1) ** 2 / 2)])) @ gradients
    assert float(x) == pytest.approx(2 * share - 1, abs=1e-4)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("rlw", "fixed")])
def test_orthogonal_gradients_of_one_length_and_equal_losses_weigh_the_same(name: str) -> None:
    w = make_balancer(name)(seen(torch.eye(3), [1.0, 1.0, 1.0]))
    assert w.tolist() == pytest.approx([w[0].item()] * 3)
    if name not in ("uncertainty", "cagrad", "nash-mtl"):
        assert w[0].item() == pytest.approx(1.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_without_labels_takes_no_part(name: str) -> None:
    """It weighs nothing, the others weigh what they would without it, and what is learned of it stays as it was."""
    j = random_rows(9, 3)
    j[1] = 0
    now = seen(j, [0.3, 0.0, 2.0])
    balancer = made(name)
    w = balancer(now)
    assert w[1] == 0
    if name not in ("rlw", "fixed", "pcgrad"):
        alone = make_balancer(name)(seen(j[[0, 2]], [0.3, 2.0]))
        assert w[[0, 2]].tolist() == pytest.approx(alone.tolist())
    balancer.learn(now, torch.tensor([0.2, 0.0, 1.9]))
    assert torch.isfinite(balancer(now)).all()
    nothing = seen(torch.zeros(3, 2), [0.0, 0.0, 0.0])
    balancer.learn(nothing, torch.zeros(3))
    assert balancer(nothing).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_state_carries_on(name: str) -> None:
    one, other = made(name), made(name)
    for step in range(6):
        now = seen(random_rows(step, 3), [0.3 + step, 1.0, 2.0], epoch=step // 2, seed=step)
        assert one(now).tolist() == other(now).tolist()
        one.learn(now, now.losses * torch.tensor([0.9, 0.8, 1.1]))
        other = made(name)
        other.load_state(one.state())


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_the_registry(name: str) -> None:
    method = get("balancing", name)
    signature = inspect.signature(method.build)
    given = {n: p.default for n, p in signature.parameters.items() if p.default is not inspect.Parameter.empty}
    assert given == dict(method.defaults["any"])
    assert (made(name).needs == "gramian") == ("gramian" in method.needs)


def test_gradients_that_cancel_out_or_depend_on_each_other_give_finite_weights() -> None:
    g = random_rows(1, 1)
    for j in (torch.cat([g, -2 * g]), torch.cat([g, g, -g]), torch.cat([g, g])):
        for name in GRAMIAN:
            w = make_balancer(name)(seen(j))
            assert torch.isfinite(w).all(), name
            # IMTL-G divides by a sum of weights that may come near to zero.
            assert name == "imtl-g" or (w @ j).norm() <= 4 * j.norm(), name


def test_rlw_draws_by_the_step_alone() -> None:
    losses = torch.ones(3)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, again, other = (make_balancer("rlw")(Seen(losses, seed=seed)) for seed in (1, 1, 2))
    make_balancer("pcgrad")(seen(random_rows(0)))
    assert one.tolist() == again.tolist() != other.tolist()
    assert one.sum().item() == pytest.approx(3.0)
    assert torch.equal(torch.random.get_rng_state(), before)


# -- bad options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("uppgrad", {}, "Unknown balancing"),
        ("dwa", {"temprature": 1.0}, "no option 'temprature'"),
        ("dwa", {"temperature": 0.0}, "must be positive"),
        ("equal", {"reduction": "max"}, "no reduction 'max'"),
        ("fixed", {"weights": [1.0, -1.0]}, "not negative"),
        ("fixed", {"weights": [0.0, 0.0]}, "not all zero"),
        ("cagrad", {"c": -1.0}, "must not be negative"),
        ("nash-mtl", {"max_norm": -1.0}, "must not be negative"),
        ("gradvac", {"beta": 2.0}, "from 0 to 1"),
    ],
)
def test_bad_options_say_so(name: str, options: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        make_balancer(name, **options)
    assert caught.value.hint


def test_weights_must_fit_the_tasks() -> None:
    with pytest.raises(ConfigError, match="2 weights for 3 tasks"):
        make_balancer("fixed", weights=[1.0, 2.0])(Seen(torch.ones(3)))


def test_without_torchjd_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchjd", None)
    with pytest.raises(ConfigError, match="torchjd") as caught:
        from_torchjd._find("PCGradWeighting")
    assert "headstart[multitask]" in caught.value.hint
