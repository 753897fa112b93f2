"""Balancing through the one loop: what it must not change, what it must change, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_trunk import Killed, KillingLog, assert_same, everything, weights
from toys import CLASSES, TowardsTeacher, Toy, TwoTasks, cross_entropy, toy_model, toy_parts

from headstart.core.registry import methods
from headstart.multitask import Balanced, make_balancer
from headstart.multitask.balancing import Seen
from headstart.train.batch import Terms
from headstart.train.loop import MemoryLog, Settings, Trainer, Work
from headstart.train.phase import Phase
from headstart.train.reader import Reader
from headstart.train.trial import trial
from headstart.train.update import OneBackward, Step

NAMES = [m.name for m in methods("balancing")]
TASKS = ("a", "b")


def balancer(name, **options):
    return make_balancer(name, **({"weights": [0.5, 2.0]} if name == "fixed" else {}), **options)


class Labels(Toy):
    """Two label columns that say different things."""

    def labels(self, task=None):
        return (self._labels * 2 + 1) % CLASSES if task == "b" else self._labels


def train(update, family="cnn", objectives=None, epochs=2, log=None, checkpoint=None, dtype=torch.float32, **phase):
    model = toy_model(family, TASKS)
    toy = toy_parts(family, TASKS)["train"]
    parts = {"train": Labels(toy.inputs, toy._labels, TASKS)}
    phase = {"batch_size": 16, **phase}
    work = Work(Phase("all", everything(model), epochs, **phase), objectives or [TwoTasks()], update)
    every = 0 if checkpoint else 1e9
    settings = Settings(seed=0, checkpoint=checkpoint, every=every, dtype=dtype)
    return Trainer(model, Reader(parts, model.backbone, 0), [work], settings, log=log)


def trained(update, **options):
    trainer = train(update, **options)
    trainer.run()
    return weights(trainer.model)


@pytest.mark.parametrize("family", ["cnn", "rnn", "transformer"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_equal_weighting_is_the_plain_update(family, accumulate):
    """Bit by bit, also with a penalty beside the tasks, with accumulation, and while gradients are watched."""

    def objectives():
        return [TwoTasks(), TowardsTeacher()]

    plain = trained(OneBackward(), family=family, objectives=objectives(), accumulate=accumulate)
    for update in (Balanced(balancer("equal")), Balanced(balancer("equal"), watch=1)):
        assert_same(plain, trained(update, family=family, objectives=objectives(), accumulate=accumulate))


def test_equal_weighting_is_the_plain_update_in_bfloat16():
    plain = trained(OneBackward(), family="transformer", dtype=torch.bfloat16)
    assert_same(plain, trained(Balanced(balancer("equal")), family="transformer", dtype=torch.bfloat16))


@pytest.mark.parametrize("at", ["features", "parameters"])
@pytest.mark.parametrize("name", NAMES)
def test_resumed_run_equals_uninterrupted(name, at, tmp_path):
    """A kill at the start of the third epoch, when DWA's weights have begun to differ."""
    if at == "parameters" and balancer(name).needs == "losses":
        at = "features"
    whole_log, log = MemoryLog(), KillingLog(7)
    whole = train(Balanced(balancer(name), at, watch=2), epochs=4, log=whole_log, batch_size=16)
    whole.run()
    path = tmp_path / "c.safetensors"
    with pytest.raises(Killed):
        train(Balanced(balancer(name), at, watch=2), epochs=4, log=log, checkpoint=path).run()
    log.at = None
    again = train(Balanced(balancer(name), at, watch=2), epochs=4, log=log, checkpoint=path)
    again.run()
    assert_same(weights(whole.model), weights(again.model))
    strip = [{k: v for k, v in r.items() if k != "seconds"} for r in whole_log.records]
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in log.records] == strip
    one, other = (t.works[0].update.cosines() for t in (whole, again))
    assert one.keys() == other.keys() == {0, 1, 2, 3}
    assert all(torch.equal(one[epoch], other[epoch]) for epoch in one)


@pytest.mark.parametrize("at", ["features", "parameters"])
@pytest.mark.parametrize("name", NAMES)
def test_every_method_learns_both_tasks_in_bfloat16_with_accumulation(name, at):
    log = MemoryLog()
    update = Balanced(balancer(name), at)
    train(update, "transformer", epochs=8, log=log, dtype=torch.bfloat16, accumulate=2, batch_size=8).run()
    steps = [r["terms"] for r in log.records if r["kind"] == "step"]
    for task in TASKS:
        first, last = (np.mean([s[task] for s in part]) for part in (steps[:6], steps[-6:]))
        assert last < first, task
        assert all(np.isfinite(s[f"weight.{task}"]) for s in steps)


# -- one step, looked at closely ---------------------------------------------------------------------------------------


class Caught(torch.optim.SGD):
    """Keeps the gradients that a step would use, and moves nothing."""

    def step(self, closure=None):
        self.caught = [None if p.grad is None else p.grad.clone() for g in self.param_groups for p in g["params"]]


def gradients(update, model, losses, shares=(1.0,)):
    """Parameter name -> gradient after one call of an update; `losses(i)` makes the terms of a micro-batch."""
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    optimizer = Caught(named.values(), lr=0.0)
    logs = update(Step(model, lambda i, only: losses(i), list(shares), optimizer))
    return dict(zip(named, optimizer.caught, strict=True)), logs


def one_batch(family="transformer", n=48):
    model = toy_model(family, TASKS).eval()
    toy = toy_parts(family, TASKS)["train"]
    reader = Reader({"train": Labels(toy.inputs, toy._labels, TASKS)}, model.backbone, 0)
    return model, lambda rows: reader.batch("train", rows, ("plain",), labels=True)


def terms(model, batch):
    o = model(batch)
    return Terms({t: cross_entropy(o.logits[t], batch, t) for t in TASKS}, shared=o.features)


@pytest.mark.parametrize("at", ["features", "parameters"])
def test_shared_parameters_get_the_weighted_sum_and_heads_their_own(at):
    model, batch = one_batch()
    found, logs = gradients(Balanced(balancer("mgda"), at), model, lambda i: terms(model, batch(range(48))))
    alone = {}
    for task in TASKS:
        model.zero_grad()
        terms(model, batch(range(48))).tasks[task].backward()
        alone[task] = {n: p.grad for n, p in model.named_parameters()}
        alone[task] = {n: None if g is None else g.clone() for n, g in alone[task].items()}
    for name, gradient in found.items():
        own = [alone[t][name] for t in TASKS if alone[t][name] is not None]
        if name.startswith("heads."):
            assert len(own) == 1
            assert torch.allclose(gradient, own[0], atol=1e-7), name
        elif gradient is not None:
            mixed = sum(logs[f"weight.{t}"] * alone[t][name] for t in TASKS)
            assert torch.allclose(gradient, mixed, atol=1e-6), name
    j = torch.stack(
        [
            torch.cat([alone[t][n].flatten() for n in found if not n.startswith("heads.") and alone[t][n] is not None])
            for t in TASKS
        ]
    )
    if at == "parameters":
        expected = balancer("mgda")(Seen(torch.ones(2), j.double() @ j.double().T))
        assert [logs[f"weight.{t}"] for t in TASKS] == pytest.approx(expected.tolist(), abs=1e-5)


def test_accumulation_on_parameters_is_one_large_batch():
    model, batch = one_batch()
    whole, _ = gradients(Balanced(balancer("upgrad"), "parameters"), model, lambda i: terms(model, batch(range(48))))
    micro = [range(8), range(8, 48)]
    split, _ = gradients(
        Balanced(balancer("upgrad"), "parameters"), model, lambda i: terms(model, batch(micro[i])), (8 / 48, 40 / 48)
    )
    for name, gradient in whole.items():
        if gradient is not None:
            assert torch.allclose(gradient, split[name], atol=1e-6), name


def test_gradnorm_weighs_heads_too():
    model, batch = one_batch()
    update = Balanced(balancer("gradnorm"))
    for step in range(3):
        found, logs = gradients(update, model, lambda i: terms(model, batch(range(48))))
        model.zero_grad()
        losses = terms(model, batch(range(48))).tasks
        sum(logs[f"weight.{t}"] * losses[t] for t in TASKS).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                assert torch.allclose(found[name], parameter.grad, atol=1e-6), (step, name)
    assert logs["weight.a"] != 1.0


@pytest.mark.parametrize("at", ["features", "parameters"])
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_labels_of_a_task(name, at):
    """The task's head gets no gradient, and the backbone what the other task alone gives it, up to the weight."""
    model, batch = one_batch()

    def only_a(i):
        found = terms(model, batch(range(48)))
        found.tasks["b"] = found.tasks["b"] * 0.0
        return found

    update = Balanced(balancer(name), at)
    found, logs = gradients(update, model, only_a)
    assert logs["weight.b"] == 0
    model.zero_grad()
    terms(model, batch(range(48))).tasks["a"].backward()
    for n, parameter in model.named_parameters():
        if n.startswith("heads.1"):
            assert not found[n].any(), n
        elif n.startswith("backbone") and parameter.grad is not None:
            assert torch.allclose(found[n], logs["weight.a"] * parameter.grad, rtol=1e-4, atol=1e-6), n


@pytest.mark.parametrize("at", ["features", "parameters"])
def test_a_frozen_backbone_trains_its_heads(at):
    model, batch = one_batch()
    model.backbone.requires_grad_(False)
    losses = terms(model, batch(range(48)))
    losses.total().backward()
    plain = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    found, logs = gradients(Balanced(balancer("mgda"), at), model, lambda i: terms(model, batch(range(48))))
    assert found.keys() == plain.keys()
    assert all(torch.allclose(found[n], plain[n]) for n in plain)
    assert logs["a"] == pytest.approx(losses.tasks["a"].item())


def test_famo_looks_again_at_the_same_batch_and_leaves_no_trace():
    """With the same dropout, so a step of length 0 changes no loss; the norms' statistics are moved once."""
    seen = []
    method = balancer("famo")
    learn = method.learn
    method.learn = lambda before, after=None: (seen.append((before.losses, after)), learn(before, after))
    model = toy_model("cnn", TASKS).train()
    toy = toy_parts("cnn", TASKS)["train"]
    batch = Reader({"train": Labels(toy.inputs, toy._labels, TASKS)}, model.backbone, 0).batch(
        "train", range(48), ("plain",), labels=True
    )
    torch.manual_seed(5)  # as the loop does before every step
    gradients(Balanced(method), model, lambda i: terms(model, batch))
    before, after = seen[0]
    assert after.tolist() == pytest.approx(before.tolist(), abs=1e-6)
    assert model.backbone.stages["stem"].norm.num_batches_tracked == 1


def test_cosines_tell_a_conflict():
    class Against(TwoTasks):
        """The second task wants the opposite of the first through the same head."""

        def losses(self, model, batches, ctx, only=None):
            found = super().losses(model, batches, ctx, only)
            found.tasks["b"] = 5.0 - 0.5 * found.tasks["a"]
            return found

    update = Balanced(balancer("equal"), watch=2)
    train(update, objectives=[Against()], epochs=2).run()
    for matrix in update.cosines().values():
        assert matrix.tolist() == [pytest.approx([1.0, -1.0], abs=1e-6), pytest.approx([-1.0, 1.0], abs=1e-6)]


@pytest.mark.parametrize("at", ["features", "parameters"])
def test_non_finite_losses_move_and_teach_nothing(at):
    model, batch = one_batch()

    def broken(i):
        found = terms(model, batch(range(48)))
        found.tasks["a"] = found.tasks["a"] * float("nan")
        return found

    for name in NAMES:
        update = Balanced(balancer(name), at)
        fresh = update.balancer.state()
        named = list(model.parameters())
        before = [p.clone() for p in named]
        optimizer = torch.optim.SGD([p for p in named if p.requires_grad], lr=0.1)
        logs = update(Step(model, lambda i, only: broken(i), [1.0], optimizer))
        assert logs["skipped"] == 1.0
        assert all(torch.equal(a, b) for a, b in zip(before, named, strict=True))
        assert str(update.balancer.state()) == str(fresh), name


@pytest.mark.parametrize(
    ("name", "at", "forwards"), [("uncertainty", "features", 1), ("mgda", "features", 1), ("famo", "features", 2)]
)
def test_forward_passes_per_step(name, at, forwards):
    trainer = train(Balanced(balancer(name), at), epochs=1)
    trainer.run()
    assert trainer.model.calls == 3 * forwards


@pytest.mark.parametrize("at", ["features", "parameters"])
def test_backward_passes_through_the_backbone(at):
    """One with gradients of features, however many tasks; one per task with those of parameters."""
    model, batch = one_batch()
    passes = []
    first = next(iter(model.backbone.stages.values()))

    def counted(i):
        handle = first.register_forward_hook(
            lambda m, args, out: out["x"].register_hook(lambda g: passes.append(1)) and None
        )
        found = terms(model, batch(range(48)))
        handle.remove()
        return found

    gradients(Balanced(balancer("mgda"), at), model, counted)
    assert len(passes) == (1 if at == "features" else 2)


def test_a_trial_teaches_nothing():
    """Steps that look for a rate leave no trace in what a balancing method learns."""
    update = Balanced(balancer("uncertainty"))
    trainer = train(update)
    before = str(update.state())
    losses = [loss for loss, _ in trial(trainer.model, trainer.reader, trainer.works[0], trainer.settings, [1.0] * 3)]
    assert str(update.state()) == before
    # The loss that is judged is the tasks', without their weights.
    assert losses[0] == pytest.approx(2 * np.log(CLASSES), rel=0.5)
