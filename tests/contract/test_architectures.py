"""Every architecture on a tiny CNN, RNN and Transformer: outputs, gradients, and what it is equal to.

New architectures are tested here by being registered.
"""

from __future__ import annotations

import copy

import pytest
import torch
from test_trunk import assert_same, everything, weights
from toys import CLASSES, WIDTH, Embed, Toy, ToyBackbone, cross_entropy, toy_model, toy_parts

from headstart.core.errors import ConfigError
from headstart.core.registry import methods
from headstart.data.schema import Task
from headstart.finetune.supervised import Supervised
from headstart.models.model import Head, Model
from headstart.multitask import Balanced, make_architecture, make_balancer
from headstart.train.batch import Terms
from headstart.train.loop import MemoryLog, Settings, Trainer, Work
from headstart.train.phase import Phase
from headstart.train.reader import Reader

FAMILIES = ("cnn", "rnn", "transformer")
NAMES = [m.name for m in methods("architecture")]
TASKS = ("a", "b", "c")
LAST = {"cnn": "body.1", "rnn": "layer.1", "transformer": "block.1"}
MIDDLE = {"cnn": "body.0", "rnn": "layer.0", "transformer": "block.0"}


class Labels(Toy):
    """Three label columns that say different things."""

    def labels(self, task=None):
        return (self._labels * (TASKS.index(task) + 1) + 1) % CLASSES


def build(family, name, **options) -> Model:
    plain = toy_model(family, TASKS)
    heads = dict(zip(TASKS, plain.heads, strict=True))
    torch.manual_seed(1)
    return make_architecture(name, plain.backbone, heads, **options)


def reader_of(model, family):
    toy = toy_parts(family, TASKS)["train"]
    return Reader({"train": Labels(toy.inputs, toy._labels, TASKS)}, model.backbone, 0)


def batch_of(model, family, n=12):
    return reader_of(model, family).batch("train", range(n), ("plain",), labels=True)


def logits(model, family):
    with torch.no_grad():
        return model.eval()(batch_of(model, family)).logits


def shaken(model):
    """With other weights everywhere, so that nothing is equal by being zero."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def separate(model, task):
    """The network and head of a task, as a model of that task alone."""
    number = model.tasks.index(task)
    return Model(model.networks()[number], {task: model.heads[number]})


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NAMES)
def test_every_task_gets_logits_and_starts_where_hard_sharing_does(name, family):
    """But for cross-stitch units, all of them start from the network and the heads as they are."""
    model = build(family, name)
    found, hard = logits(model, family), logits(toy_model(family, TASKS), family)
    for task in TASKS:
        assert found[task].shape == (12, CLASSES)
        assert torch.allclose(found[task], hard[task], atol=1e-5), task
    output = model(batch_of(model, family))
    assert output.features.shape[1] % WIDTH == 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_what_they_should(name, family):
    """Of one task: its own head, at least one tensor that decides its features, and no other task's head."""
    model = shaken(build(family, name))
    batch = batch_of(model, family)
    cross_entropy(model(batch).logits["b"], batch, "b").backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(n.startswith("heads.1") for n in reached)
    assert not any(n.startswith(("heads.0", "heads.2")) for n in reached)
    if name in ("branching", "soft-sharing"):
        assert not any(n.startswith("copies.1") for n in reached)
        assert any(n.startswith("copies.0") for n in reached)
    if name == "soft-sharing":
        assert not any(n.startswith("backbone") for n in reached)
    if name in ("hard", "branching", "mmoe", "cgc"):
        first = next(iter(model.backbone.stages.values()))
        assert all(p.grad is not None for p in first.parameters())
    if name in ("adapters", "norms"):
        assert any(n.startswith("parts.sharing.1.") for n in reached)
        assert not any(n.startswith(("parts.sharing.0.", "parts.sharing.2.")) for n in reached)
    if name == "cgc":
        assert not any(n.startswith(("parts.sharing.own.0", "parts.sharing.own.2")) for n in reached)
    if name == "cross-stitch":
        assert sum(n.startswith("parts.sharing") for n in reached) == 2
        assert all(any(n.startswith(prefix) for n in reached) for prefix in ("backbone", "copies.0", "copies.1"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NAMES)
def test_every_trained_tensor_is_in_exactly_one_group(name, family):
    model = build(family, name)
    listed = [id(p) for parameters in model.groups().values() for p in parameters]
    assert len(listed) == len(set(listed))
    whole = {id(p) for n, p in model.named_parameters() if not n.startswith("backbone.source_head")}
    assert set(listed) == whole


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NAMES)
def test_state_dict_round_trip(name, family):
    model, fresh = shaken(build(family, name)), build(family, name)
    before = logits(model, family)
    assert not torch.allclose(before["b"], logits(fresh, family)["b"])
    fresh.load_state_dict(model.state_dict())
    for task in TASKS:
        assert torch.equal(before[task], logits(fresh, family)[task])


def trainer_of(model, family, epochs=2, objective=None, checkpoint=None, log=None, update=None, **phase):
    tasks = tuple(Task(t, "single-label", ("a", "b", "c")) for t in TASKS)
    rates = {**everything(model), "*": 1e-2}
    if getattr(model, "freezes", False):
        rates = {"head": 1e-2, "*": 1e-2}
    work = Work(
        Phase("all", rates, epochs, batch_size=16, **phase),
        [objective or Supervised(tasks, view="plain")],
        update or Balanced(make_balancer("equal")),
    )
    settings = Settings(seed=0, checkpoint=checkpoint, every=0 if checkpoint else 1e9)
    return Trainer(model, reader_of(model, family), [work], settings, log=log)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_every_loss_and_resumes(name, family, tmp_path):
    log = MemoryLog()
    whole = trainer_of(build(family, name), family, epochs=4, log=log)
    before = copy.deepcopy(weights(whole.model))
    whole.run()
    steps = [r["terms"] for r in log.records if r["kind"] == "step"]
    for task in TASKS:
        first, last = (sum(s[task] for s in part) for part in (steps[:3], steps[-3:]))
        assert last < first, task
    after = weights(whole.model)
    if name in ("adapters", "norms"):
        assert all(torch.equal(after[n], before[n]) for n in before if n.startswith("backbone."))
    path = tmp_path / "c.safetensors"
    trainer_of(build(family, name), family, epochs=4, checkpoint=path, stop_after=2).run()
    resumed = trainer_of(build(family, name), family, epochs=4, checkpoint=path)
    resumed.run()
    assert_same(after, weights(resumed.model))


# -- what they are equal to --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_branching_after_the_last_stage_is_hard_sharing(family):
    branched, hard = build(family, "branching", after=LAST[family]), build(family, "hard")
    assert not branched.copies
    trainer_of(branched, family).run()
    trainer_of(hard, family).run()
    assert_same(weights(branched), weights(hard))


SEPARATE = [("branching", {"after": "input"}), ("cross-stitch", {"own": 1.0}), ("soft-sharing", {"strength": 0.0})]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "options"), SEPARATE, ids=[name for name, _ in SEPARATE])
def test_without_sharing_they_are_separate_networks(name, options, family):
    """In outputs, and in gradients: a task's loss moves its own network as if it were alone."""
    model = shaken(build(family, name, **options))
    if name == "cross-stitch":
        with torch.no_grad():
            for unit in model.parts["sharing"].units:
                unit.copy_(torch.eye(len(TASKS)))
    batch = batch_of(model, family)
    found = model.eval()(batch)
    assert found.shared is None
    losses = [cross_entropy(found.logits[t], batch, t) for t in TASKS]
    mine = [[p for p in network.parameters() if p.requires_grad] for network in model.networks()]
    joint = torch.autograd.grad(torch.stack(losses).sum(), [p for ps in mine for p in ps], allow_unused=True)
    alone = []
    for task, parameters in zip(TASKS, mine, strict=True):
        one = separate(model, task).eval()(batch)
        assert torch.allclose(one.logits[task], found.logits[task], atol=1e-6)
        alone += torch.autograd.grad(cross_entropy(one.logits[task], batch, task), parameters, allow_unused=True)
    for a, b in zip(joint, alone, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_branching_in_the_middle_shares_exactly_the_stages_before(family):
    model = build(family, "branching", after=MIDDLE[family])
    names = list(model.backbone.stages)
    for name in names:
        first, second = (set(map(id, network.stages[name].parameters())) for network in model.networks()[:2])
        assert (first == second) if names.index(name) <= 1 else not (first & second)
    assert model.common == MIDDLE[family]


def test_branching_is_balanced_on_what_is_shared():
    """Gradients are taken where the tasks part, so a gradient-based method works on a branched network."""
    model = build("transformer", "branching", after="block.0")
    output = model(batch_of(model, "transformer"))
    assert output.shared.shape == (12, 4, WIDTH)
    trainer_of(model, "transformer", update=Balanced(make_balancer("mgda"))).run()


def test_kept_activations_give_the_same_branches():
    """Behind a frozen prefix that all tasks share, training on kept activations is training."""
    rates = {"body.1": 1e-3, "head": 1e-3}
    trained = []
    for cut in (None, "stem"):
        model = build("cnn", "branching", after="body.0")
        trainer = trainer_of(model, "cnn")
        trainer.works[0].phase = Phase("top", rates, 2, batch_size=16, cut=cut)
        trainer.run()
        trained.append(weights(model))
    for name, tensor in trained[0].items():
        assert torch.allclose(tensor, trained[1][name], atol=1e-5), name
    model = build("cnn", "soft-sharing")
    trainer = trainer_of(model, "cnn")
    trainer.works[0].phase = Phase("top", rates, 2, batch_size=16, cut="stem")
    with pytest.raises(ValueError, match="tasks part after the input"):
        trainer.run()


@pytest.mark.parametrize("family", FAMILIES)
def test_soft_sharing_draws_networks_together(family):
    def distance(strength):
        model = shaken(build(family, "soft-sharing", strength=strength))
        trainer_of(model, family, epochs=3).run()
        return float(model.penalties()["soft_sharing"].detach()) / strength

    assert distance(10.0) < distance(1e-6)
    model = shaken(build(family, "soft-sharing", strength=0.5))
    pairs = [(0, 1), (0, 2), (1, 2)]
    by_hand = 0.0
    for i, j in pairs:
        for p, q in zip(*(model.networks()[k].stage_parameters().values() for k in (i, j)), strict=True):
            by_hand += sum(float(((a - b) ** 2).sum().detach()) for a, b in zip(p, q, strict=True))
    assert float(model.penalties()["soft_sharing"].detach()) == pytest.approx(0.5 * by_hand, rel=1e-4)


def test_cross_stitch_mixes_as_its_matrix_says():
    model = shaken(build("transformer", "cross-stitch"))
    batch = batch_of(model, "transformer")
    with torch.no_grad():
        states = [model.backbone.begin(batch.views["plain"])] * 3
        names = ["patches", "block.0", "block.1"]
        for place, name in enumerate(names):
            states = [n.stages[name](s) for n, s in zip(model.eval().networks(), states, strict=True)]
            if name != names[-1]:
                unit = model.parts["sharing"].units[place]
                xs = [s["x"] for s in states]
                states = [{"x": sum(unit[t, u] * xs[u] for u in range(3))} for t in range(3)]
        by_hand = model.heads[2](states[2]["x"].mean(1))
        assert torch.allclose(model(batch).logits["c"], by_hand, atol=1e-5)


def test_experts_are_weighed_by_each_tasks_gate():
    for name in ("mmoe", "cgc"):
        model = shaken(build("cnn", name)).eval()
        batch, parts = batch_of(model, "cnn"), model.parts["sharing"]
        with torch.no_grad():
            output = model(batch)
            x = output.shared
            experts = list(parts["experts"]) if name == "mmoe" else [*parts["own"][1], *parts["shared"]]
            share = parts["gates"][1](x)
            assert torch.allclose(share.sum(1), torch.ones(len(x)))
            by_hand = sum(share[:, e : e + 1] * expert(x) for e, expert in enumerate(experts))
            assert torch.allclose(output.logits["b"], model.heads[1](by_hand), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_are_merged_weights(family):
    """A task's pass is that of a network whose weights have been changed for real; others are not touched."""
    model = shaken(build(family, "adapters")).eval()
    merged = copy.deepcopy(model.backbone)
    with torch.no_grad():
        named = dict(merged.named_parameters())
        for name, tensor in model.edits(1).items():
            named[name].copy_(tensor)
    alone = Model(merged, {"b": model.heads[1]})
    assert torch.allclose(logits(alone, family)["b"], logits(model, family)["b"], atol=1e-5)
    assert not any("source_head" in name or "table" in name for name in model.names)


def test_norms_keep_statistics_per_task():
    model = build("cnn", "norms").train()
    before = copy.deepcopy(model.backbone.state_dict())
    model(batch_of(model, "cnn"))
    assert all(torch.equal(before[n], t) for n, t in model.backbone.state_dict().items())
    counts = [b for n, b in model.parts.named_buffers() if b.dtype == torch.int64]
    assert len(counts) == 9
    assert all(int(count) == 1 for count in counts)


def test_losses_with_a_penalty_beside_them():
    model = shaken(build("cnn", "soft-sharing"))
    tasks = tuple(Task(t, "single-label", ("a", "b", "c")) for t in TASKS)
    terms = Supervised(tasks, view="plain").losses(model, {"train": batch_of(model, "cnn")}, None)
    assert isinstance(terms, Terms)
    assert set(terms.tasks) == set(TASKS)
    assert set(terms.extra) == {"soft_sharing"}


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("bransching", {}, "'branching'"),
        ("branching", {"after": "body.9"}, "cannot branch after 'body.9'"),
        ("branching", {"afterwards": "stem"}, "has no option 'afterwards'"),
        ("soft-sharing", {"strength": -1.0}, "cannot be -1"),
        ("cross-stitch", {"own": 1.5}, "cannot start with 1.5"),
        ("mmoe", {"experts": 0}, "0 experts"),
        ("cgc", {"shared": 0, "own": 0}, "0 shared and 0 own"),
        ("adapters", {"rank": 0}, "rank 0"),
    ],
)
def test_options_that_do_not_fit(name, options, said):
    with pytest.raises(ConfigError, match=said):
        build("cnn", name, **options)


def test_a_network_without_norms_has_biases_per_task():
    assert all("bias" in name for name in build("rnn", "norms").names)
    bare = ToyBackbone({"embed": Embed()}, "rnn")
    with pytest.raises(ConfigError, match="neither normalisation layers nor biases"):
        make_architecture("norms", bare, {"a": Head(WIDTH, CLASSES)})
