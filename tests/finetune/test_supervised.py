"""The supervised loss against written-out references: mixing, smoothing, weights, missing labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.core.seeding import derive
from headstart.data.schema import Task
from headstart.finetune.supervised import Loss, Supervised, mix
from headstart.models.backbone import StagedBackbone
from headstart.models.model import Model
from headstart.train.batch import Batch
from headstart.train.objective import Clock, Context

ONE = Task("y", "single-label", ("a", "b", "c"))
MANY = Task("y", "multi-label", ("a", "b", "c"))
NUMBER = Task("y", "regression")
SIDE = 6


class Linear(nn.Module):
    """Linear in the pixels, so that the logits of a mixed picture are the mixed logits."""

    width = 3 * SIDE * SIDE

    def forward(self, s: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"x": s["x"].flatten(1)}


def model_for(task: Task) -> Model:
    torch.manual_seed(0)
    return Model(StagedBackbone({"flat": Linear()}), {"y": nn.Linear(Linear.width, task.outputs)})


def batch_of(y: Tensor, present: Tensor | None = None) -> Batch:
    x = torch.randn(len(y), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    present = torch.ones(len(y), dtype=torch.bool) if present is None else present
    return Batch([str(i) for i in range(len(y))], {"train": {"x": x}}, {"y": y}, {"y": present})


def loss_of(task: Task, loss: Loss, batch: Batch, step: int = 0) -> Tensor:
    model = model_for(task)
    ctx = Context(model, None, 0, clock=Clock(step=step))  # type: ignore[arg-type]
    return Supervised((task,), loss).losses(model, {"train": batch}, ctx).total()


def logits_of(task: Task, batch: Batch) -> Tensor:
    model = model_for(task)
    return model(batch).logits["y"]


Y = torch.tensor([0, 2, 1, 1, 0, 2, 2, 0])


def test_plain_cross_entropy() -> None:
    batch = batch_of(Y)
    expected = -logits_of(ONE, batch).log_softmax(1)[torch.arange(8), Y].mean()
    assert torch.allclose(loss_of(ONE, Loss(), batch), expected)


def test_label_smoothing() -> None:
    batch = batch_of(Y)
    target = 0.8 * F.one_hot(Y, 3) + 0.2 / 3
    expected = -(target * logits_of(ONE, batch).log_softmax(1)).sum(1).mean()
    assert torch.allclose(loss_of(ONE, Loss(label_smoothing=0.2), batch), expected)


def test_class_weights_are_a_weighted_mean() -> None:
    batch, weights = batch_of(Y), torch.tensor([1.0, 3.0, 0.5])
    each = -logits_of(ONE, batch).log_softmax(1)[torch.arange(8), Y]
    expected = (each * weights[Y]).sum() / weights[Y].sum()
    assert torch.allclose(loss_of(ONE, Loss(class_weights={"y": weights}), batch), expected)


def test_missing_single_labels_are_left_out() -> None:
    present = torch.tensor([True, False, True, True, False, True, True, True])
    whole = batch_of(torch.where(present, Y, 0), present)
    kept = Batch(
        whole.ids, {"train": {"x": whole.views["train"]["x"][present]}}, {"y": Y[present]}, {"y": present[present]}
    )
    assert torch.allclose(loss_of(ONE, Loss(), whole), loss_of(ONE, Loss(), kept))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_missing_entries_of_multi_label(smoothing: float) -> None:
    """Whole rows and single entries: neither value nor gradient depends on what is missing."""
    y = torch.tensor([[1, 0, float("nan")], [0, 0, 1], [0, 0, 0], [float("nan"), 1, float("nan")]])
    present = torch.tensor([True, True, False, True])
    batch = batch_of(y, present)
    z, total, count = logits_of(MANY, batch).detach(), 0.0, 0
    for i in range(4):
        for k in range(3):
            if present[i] and not torch.isnan(y[i, k]):
                t = float(y[i, k]) * (1 - smoothing) + smoothing / 2
                total += -(t * F.logsigmoid(z[i, k]) + (1 - t) * F.logsigmoid(-z[i, k])).item()
                count += 1
    assert count == 6
    assert loss_of(MANY, Loss(label_smoothing=smoothing), batch).item() == pytest.approx(total / count, rel=1e-5)


def test_missing_entries_have_no_gradient() -> None:
    y = torch.tensor([[1, float("nan")], [float("nan"), 0.0]])
    z = torch.zeros(2, 2, requires_grad=True)
    task = Task("y", "multi-label", ("a", "b"))
    Supervised((task,))._each(task, z, y, torch.tensor([True, True])).backward()
    assert z.grad is not None
    assert (z.grad != 0).tolist() == [[True, False], [False, True]]
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize(("task", "y"), [(ONE, Y), (MANY, torch.full((8, 3), torch.nan)), (NUMBER, torch.zeros(8))])
def test_a_batch_without_any_label_is_zero_with_gradients(task: Task, y: Tensor) -> None:
    model = model_for(task)
    batch = batch_of(y, torch.zeros(8, dtype=torch.bool))
    total = Supervised((task,)).losses(model, {"train": batch}, Context(model, None)).total()  # type: ignore[arg-type]
    total.backward()
    assert total.item() == 0
    assert float(model.heads[0].weight.grad.abs().max()) == 0


def test_regression_is_measured_in_its_spread() -> None:
    y = torch.tensor([1.0, 5.0, -2.0, 0.0])
    batch = batch_of(y)
    z = logits_of(NUMBER, batch)[:, 0]
    assert torch.allclose(loss_of(NUMBER, Loss(spread={"y": 4.0}), batch), (((z - y) / 4) ** 2).mean() / 2)


@given(mixup=st.sampled_from([0.0, 0.2, 1.0]), cutmix=st.sampled_from([0.0, 1.0]), step=st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_mixed_labels_have_the_shares_of_the_pixels(mixup: float, cutmix: float, step: int) -> None:
    """For a network that averages pixels, mixing inputs and mixing one-hot targets must agree."""
    loss = Loss(mixup=mixup, cutmix=cutmix)
    if not (mixup or cutmix):
        return
    n = 8
    # Picture i is constant i: a mixed picture shows how much of which partner it holds.
    x = torch.arange(float(n)).view(n, 1, 1, 1).expand(n, 3, SIDE, SIDE).clone()
    batch = Batch([str(i) for i in range(n)], {"train": {"x": x}}, {}, {})
    mixed, partner, share = mix(batch, "train", model_for(ONE), loss, step)
    assert 0 <= float(share) <= 1
    assert sorted(partner.tolist()) == list(range(n))
    assert mixed.begun
    out = mixed.views["train"]["x"]
    own = torch.arange(float(n))
    assert torch.allclose(out.mean((1, 2, 3)), share * own + (1 - share) * partner, atol=1e-4)
    assert torch.equal(batch.views["train"]["x"], x), "the batch given must stay as it was"
    if not mixup:
        # CutMix pastes: every pixel is one picture's, and the partner's form one box.
        for i in range(n):
            pasted = out[i, 0] == float(partner[i])
            assert bool(((out[i, 0] == i) | pasted).all())
            if partner[i] != i and bool(pasted.any()):
                rows, columns = pasted.any(1), pasted.any(0)
                assert int(pasted.sum()) == int(rows.sum()) * int(columns.sum())


@pytest.mark.parametrize("loss", [Loss(mixup=0.5), Loss(cutmix=1.0), Loss(mixup=0.4, cutmix=1.0, label_smoothing=0.1)])
def test_mixed_loss_against_soft_targets(loss: Loss) -> None:
    for step in range(5):
        batch = batch_of(Y)
        mixed, partner, share = mix(batch, "train", model_for(ONE), loss, derive(0, "mix", step))
        target = share * F.one_hot(Y, 3) + (1 - share) * F.one_hot(Y[partner], 3)
        target = (1 - loss.label_smoothing) * target + loss.label_smoothing / 3
        expected = -(target * logits_of(ONE, mixed).log_softmax(1)).sum(1).mean()
        assert torch.allclose(loss_of(ONE, loss, batch, step), expected, atol=1e-6)


def test_mixing_is_a_function_of_the_step() -> None:
    batch, loss = batch_of(Y), Loss(mixup=0.5)
    torch.manual_seed(1)
    first = loss_of(ONE, loss, batch, 3)
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(first, loss_of(ONE, loss, batch, 3))
    assert not torch.equal(first, loss_of(ONE, loss, batch, 4))


def test_both_kinds_of_mixing_are_drawn() -> None:
    batch, model = batch_of(Y), model_for(ONE)
    pasted = 0
    for step in range(40):
        mixed, _, _ = mix(batch, "train", model, Loss(mixup=1.0, cutmix=1.0), step)
        x = batch.views["train"]["x"]
        out = mixed.views["train"]["x"]
        pasted += bool(torch.isin(out.flatten(), x.flatten()).all())
    assert 10 <= pasted <= 30


def test_several_tasks_stay_apart() -> None:
    tasks = (Task("a", "single-label", ("x", "y")), Task("b", "regression"))
    backbone = StagedBackbone({"flat": Linear()})
    model = Model(backbone, {"a": nn.Linear(Linear.width, 2), "b": nn.Linear(Linear.width, 1)})
    x = torch.randn(4, 3, SIDE, SIDE)
    have = torch.ones(4, dtype=torch.bool)
    batch = Batch(
        list("0123"),
        {"train": {"x": x}},
        {"a": torch.tensor([0, 1, 1, 0]), "b": torch.zeros(4)},
        {"a": have, "b": have},
    )
    terms = Supervised(tasks).losses(model, {"train": batch}, Context(model, None))  # type: ignore[arg-type]
    assert set(terms.tasks) == {"a", "b"}
    assert terms.extra == {}
    assert terms.shared is not None
