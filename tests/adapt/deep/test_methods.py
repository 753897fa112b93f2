"""Deep methods on the one loop: a suite over all that are registered, with every family of networks."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "contract"))

from test_trunk import Killed, KillingLog, assert_same, everything, weights
from toys import Toy, toy_model, toy_parts

from headstart.adapt.deep import Setting, build, names
from headstart.adapt.deep.method import Alignment
from headstart.adapt.deep.statistics import Tent, adapt_statistics
from headstart.core.errors import ConfigError
from headstart.data.schema import Task
from headstart.finetune.supervised import Supervised
from headstart.train.batch import Terms
from headstart.train.inference import outputs
from headstart.train.loop import MemoryLog, Settings, Trainer, Work
from headstart.train.phase import Phase
from headstart.train.reader import Reader
from headstart.train.trial import faster_precision
from headstart.train.update import Alternate, Step, Turn

TASK = Task("y", "single-label", ("a", "b", "c"))
SETTING = Setting("y", 3)
FAMILIES = ("cnn", "rnn", "transformer")


def trainer(
    name, family="cnn", parts=None, epochs=2, log=None, checkpoint=None, setting=SETTING, dtype=torch.float32, **phase
):
    model = toy_model(family)
    recipe = build(name, setting)
    parts = parts or toy_parts(family)
    rates = {**everything(model), "*": 1e-3}
    if recipe.frozen_head:
        del rates["head"]
    plain = [] if recipe.alone else [Supervised((TASK,), view=setting.view)]
    work = Work(
        Phase("adapt", rates, epochs, **{"batch_size": 16, **phase}), [*plain, *recipe.objectives], recipe.update
    )
    settings = Settings(seed=0, dtype=dtype, checkpoint=checkpoint, every=0 if checkpoint else 1e9)
    return Trainer(model, Reader(parts, model.backbone, 0), [work], settings, log=log)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", [*names(), "cdan-e+mcc+pseudo-labels"])
def test_it_trains_with_finite_losses(name, family):
    log = MemoryLog()
    made = trainer(name, family, log=log)
    before = weights(made.model)
    made.run()
    steps = [r for r in log.records if r["kind"] == "step"]
    assert steps
    assert all(np.isfinite(v) for r in steps for v in r["terms"].values())
    after = weights(made.model)
    moved = [k for k in before if not torch.equal(before[k], after[k])]
    assert any(k.startswith("backbone.") for k in moved)
    if build(name, SETTING).frozen_head:
        assert not any(k.startswith("heads.") for k in moved)


@pytest.mark.parametrize("name", [*names(), "cdan-e+mcc+pseudo-labels"])
def test_in_bfloat16_losses_are_those_of_float32(name):
    """Only the network runs in it; kernels, covariances and singular values do not."""
    losses = {}
    for dtype in (torch.float32, torch.bfloat16):
        log = MemoryLog()
        trainer(name, epochs=1, log=log, dtype=dtype).run()
        losses[dtype] = [r["terms"] for r in log.records if r["kind"] == "step"]
    assert all(np.isfinite(v) for terms in losses[torch.bfloat16] for v in terms.values())
    first = {dtype: terms[0] for dtype, terms in losses.items()}
    assert first[torch.bfloat16] == pytest.approx(first[torch.float32], rel=0.03, abs=3e-3)


@pytest.mark.parametrize("name", [*names(), "cdan-e+mcc+pseudo-labels"])
def test_its_steps_can_be_timed_beforehand(name):
    """What is learned before the first step (labels of the target) is learned for the trial, and by nothing else."""
    made = trainer(name)
    (work,) = made.works
    before, parts = weights(made.model), set(made.model.parts)
    states = [o.state() for o in work.objectives]
    dtype, why = faster_precision(made.model, made.reader, work, Settings(seed=0, dtype=torch.bfloat16))
    assert dtype in (torch.float32, torch.bfloat16)
    assert why
    assert_same(before, weights(made.model))
    assert set(made.model.parts) == parts
    for objective, state in zip(work.objectives, states, strict=True):
        assert_same(objective.state(), state)


def test_an_alignment_never_sees_less_than_float32():
    seen = []

    class Watched(Alignment):
        name = "watched"

        def loss(self, model, source, target, y, ctx):
            seen.append(
                {*(o.features.dtype for o in (source, target)), *(o.logits["y"].dtype for o in (source, target))}
            )
            seen.append({torch.is_autocast_enabled("cpu")})
            return source.features.mean() + target.features.mean()

    made = trainer("dan", epochs=1, dtype=torch.bfloat16)
    (work,) = made.works
    made.works = [replace(work, objectives=[work.objectives[0], Watched(SETTING)])]
    made.run()
    assert {value for found in seen for value in found} == {torch.float32, False}


@pytest.mark.parametrize("name", [*names(), "dann+mcc"])
def test_permuting_the_targets_labels_changes_nothing(name):
    parts = toy_parts("cnn")
    first = trainer(name, parts=parts)
    first.run()
    target = parts["target"]
    mixed = Toy(target.inputs, np.random.default_rng(5).permutation(target._labels), name="target")
    second = trainer(name, parts={**parts, "target": mixed})
    second.run()
    assert_same(weights(first.model), weights(second.model))


@pytest.mark.parametrize("name", ["dann", "cdan-e", "mcd", "adda", "pseudo-labels", "shot", "mdd", "deep-jdot"])
def test_a_resumed_run_equals_an_uninterrupted_one(name, tmp_path):
    whole = trainer(name, epochs=3)
    whole.run()
    path, log = tmp_path / "c.safetensors", KillingLog(5)
    with pytest.raises(Killed):
        trainer(name, epochs=3, log=log, checkpoint=path).run()
    log.at = None
    again = trainer(name, epochs=3, log=log, checkpoint=path)
    again.run()
    assert_same(weights(whole.model), weights(again.model))


@pytest.mark.parametrize("name", names())
def test_a_target_smaller_than_a_batch_and_an_absent_class(name):
    parts = toy_parts("cnn")
    source, target = parts["train"], parts["target"]
    two = np.flatnonzero(source._labels < 2)
    small = {
        "train": Toy(source.inputs[two], source._labels[two]),
        "target": Toy(target.inputs[:5], target._labels[:5], name="target"),
    }
    log = MemoryLog()
    trainer(name, parts=small, log=log).run()
    assert all(np.isfinite(r["loss"]) for r in log.records if r["kind"] == "step")


@pytest.mark.parametrize("name", [n for n in names() if build(n, SETTING).passes == 1 and n not in ("adda", "shot")])
def test_one_pass_of_each_batch(name):
    made = trainer(name, epochs=1)
    steps = MemoryLog()
    made.log = steps
    made.run()
    count = len([r for r in steps.records if r["kind"] == "step"])
    sweeps = 0 if name != "pseudo-labels" else 1
    assert made.model.calls == 2 * count + sweeps


@pytest.mark.parametrize(("steps", "passes"), [(1, 1), (2, 2), (4, 3), (10, 6)])
def test_what_a_step_of_mcd_costs(steps, passes):
    """By counting: a forward pass of a domain is 1, one with gradients of the network 3, and a pass of both 6."""
    assert build("mcd", SETTING, steps=steps).passes == passes
    made = trainer("mcd", epochs=1)
    (work,) = made.works
    mcd = work.objectives[0]
    mcd.steps = steps
    made.works = [replace(work, update=mcd.update())]
    cost = []
    stem = made.model.backbone.stages["stem"].conv
    stem.register_forward_hook(lambda *_: cost.append(1))
    stem.weight.register_hook(lambda _: cost.append(2))
    log = MemoryLog()
    made.log = log
    made.run()
    count = len([r for r in log.records if r["kind"] == "step"])
    assert round(sum(cost) / count / 6) == passes


def test_a_loss_read_in_several_turns_is_logged_once():
    """Its mean over them: "ce" does not move here, and "gap" is read before and after it has."""
    model = toy_model("cnn")
    model.requires_grad_(False)
    weight = model.head().linear.weight.requires_grad_(True)
    seen = []

    def terms(i, only):
        seen.append(float(weight.detach().square().sum()))
        return Terms({"ce": 3.0 + 0 * weight.sum(), "gap": weight.square().sum()})

    update = Alternate(Turn(("heads",), ("ce",)), Turn(("heads",), ("ce", "-gap")), Turn(("heads",), ("gap",), times=2))
    logs = update(Step(model, terms, [1.0], torch.optim.SGD([weight], lr=0.1)))
    assert logs["ce"] == pytest.approx(3)
    assert logs["gap"] == pytest.approx((seen[1] + (seen[2] + seen[3]) / 2) / 2)


# -- a problem that can be solved --------------------------------------------------------------------------------------


class Points(nn.Module):
    """A small network on points in a plane, as one stage."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.width = 16

    def forward(self, s):
        return {**s, "x": self.layers(s["x"])}


def turned_clouds(degrees: float) -> dict[str, Toy]:
    """Three clouds around the origin; the target's are turned."""
    r = np.random.default_rng(0)
    y = np.arange(150) % 3
    angle = 2 * np.pi * y / 3
    x = np.stack([np.cos(angle), np.sin(angle)], 1) * 2 + 0.35 * r.normal(size=(150, 2))
    t = np.radians(degrees)
    turned = x @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
    order = r.permutation(150)
    return {
        "train": Toy(x.astype(np.float32), y),
        "target": Toy(turned[order].astype(np.float32), y[order], name="target"),
    }


def accuracy_on_target(name: str | None, degrees: float = 50, epochs: int = 25) -> float:
    from toys import Head, Model, ToyBackbone

    class Plane(ToyBackbone):
        def preprocess(self, sample, view, seed):
            return {"x": torch.as_tensor(sample.inputs)}

        def pool(self, s, grid=1):
            return s["x"]

    torch.manual_seed(0)
    model = Model(Plane({"points": Points()}, "cnn"), {"y": Head(16, 3)})
    parts = turned_clouds(degrees)
    reader = Reader(parts, model.backbone, 0)
    rates = {"points": 3e-3, "head": 3e-3, "*": 3e-3}
    learned = Work(Phase("source", rates, 15, batch_size=30), [Supervised((TASK,))])
    works = [learned]
    if name is not None:
        recipe = build(name, SETTING)
        if recipe.frozen_head:
            rates = {k: v for k, v in rates.items() if k != "head"}
        plain = [] if recipe.alone else [Supervised((TASK,))]
        works.append(Work(Phase("adapt", rates, epochs, batch_size=30), [*plain, *recipe.objectives], recipe.update))
    Trainer(model, reader, works, Settings(seed=0)).run()
    said = outputs(model.eval(), reader, "target").logits["y"].argmax(1)
    return float((said == parts["target"]._labels).mean())


@pytest.fixture(scope="module")
def floor() -> float:
    return accuracy_on_target(None)


@pytest.mark.parametrize("name", ["dan", "jan", "dann", "cdan-e", "mcc", "dsan", "pseudo-labels", "shot"])
def test_turned_clouds_are_recovered(name, floor):
    assert 0.4 < floor < 0.8
    assert accuracy_on_target(name) > floor + 0.1


# -- names and options -------------------------------------------------------------------------------------------------


class TestBuild:
    def test_options_go_to_those_that_have_them(self):
        recipe = build("mcc+dann", SETTING, temperature=1.0, weight=0.5)
        assert recipe.objectives[0].temperature == 1.0
        assert [o.weight for o in recipe.objectives] == [0.5, 0.5]

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("danm", {}, "dan"),
            ("coral", {}, "trains no network"),
            ("adabn", {}, "trains no network"),
            ("mcd+mcc", {}, "cannot be joined"),
            ("mcc+mcc", {}, "twice"),
            ("dann", {"heat": 1}, "no option 'heat'"),
        ],
    )
    def test_mistakes(self, name, options, message):
        with pytest.raises(ConfigError) as error:
            build(name, SETTING, **options)
        assert message in f"{error.value} {error.value.hint}"

    def test_a_wide_outer_product_is_projected(self, monkeypatch):
        from headstart.adapt.deep import adversarial

        monkeypatch.setattr(adversarial, "WIDEST", 20)
        made = trainer("cdan", epochs=1)
        made.run()
        assert made.model.parts["projections"].features.shape == (16, 20)


# -- without training --------------------------------------------------------------------------------------------------


def batches(model, parts, size=16):
    return list(Reader(parts, model.backbone, 0).sweep("target", size, labels=False))


class TestStatistics:
    def test_batch_norms_get_the_targets_statistics(self):
        model, parts = toy_model("cnn"), toy_parts("cnn")
        whole = batches(model, parts, 48)
        x = whole[0].views["plain"]["x"]
        expected = model.backbone.stages["stem"].conv(x)
        assert adapt_statistics(model, whole) == 3
        norm = model.backbone.stages["stem"].norm
        torch.testing.assert_close(norm.running_mean, expected.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, expected.transpose(0, 1).flatten(1).var(1), rtol=1e-4, atol=1e-5)
        assert norm.momentum == 0.1
        assert not norm.training

    def test_a_network_without_batch_norms_is_left_alone(self):
        model, parts = toy_model("transformer"), toy_parts("transformer")
        before = weights(model)
        assert adapt_statistics(model, batches(model, parts)) == 0
        assert_same(before, weights(model))

    def test_a_target_of_one_sample_has_none(self):
        model, parts = toy_model("cnn"), toy_parts("cnn")
        adapt_statistics(model, batches(model, parts))
        before = weights(model)
        assert adapt_statistics(model, batches(model, parts)[:0]) == 0
        assert adapt_statistics(model, batches(model, parts, 1)[:1]) == 0
        assert_same(before, weights(model))


class TestTent:
    def test_entropy_falls_and_only_norms_move(self):
        model, parts = toy_model("cnn"), toy_parts("cnn")
        before = weights(model)
        tent = Tent(model, "y", lr=0.05, collapse=0)
        for _ in range(10):
            for batch in batches(model, parts):
                p = tent.predict(batch)
                assert p.shape == (16, 3)
        assert tent.losses[-1] < tent.losses[0]
        moved = {k for k, v in weights(model).items() if not torch.equal(v, before[k])}
        assert moved
        assert all(".norm." in k and k.endswith(("weight", "bias")) for k in moved)

    def test_reset_and_episodes(self):
        model, parts = toy_model("cnn"), toy_parts("cnn")
        before = weights(model)
        tent = Tent(model, "y", lr=0.05, collapse=0)
        first = tent.predict(batches(model, parts)[0])
        tent.predict(batches(model, parts)[1])
        tent.reset()
        assert_same(before, weights(model))
        torch.testing.assert_close(tent.predict(batches(model, parts)[0]), first)
        episodic = Tent(toy_model("cnn"), "y", lr=0.05, episodic=True, collapse=0)
        own = batches(episodic.model, parts)
        again = [episodic.predict(own[0]), episodic.predict(own[1]), episodic.predict(own[0])]
        torch.testing.assert_close(again[0], again[2])

    def test_a_collapse_is_noticed_and_undone(self):
        model, parts = toy_model("cnn"), toy_parts("cnn")
        tent = Tent(model, "y", lr=5.0, collapse=0.9)
        for _ in range(6):
            for batch in batches(model, parts):
                tent.predict(batch)
        assert tent.collapses > 0

    def test_a_batch_of_one(self):
        model, parts = toy_model("cnn"), toy_parts("cnn")
        tent = Tent(model, "y")
        assert torch.isfinite(tent.predict(batches(model, parts, 1)[0])).all()

    def test_layer_norms(self):
        model, parts = toy_model("transformer"), toy_parts("transformer")
        tent = Tent(model, "y", lr=0.01)
        assert torch.isfinite(tent.predict(batches(model, parts)[0])).all()

    def test_a_network_without_norms(self):
        with pytest.raises(ConfigError, match="no normalisation layers"):
            Tent(toy_model("rnn"), "y")
