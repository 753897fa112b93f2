"""Every shape of method through the one loop, on every family that it applies to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import (
    SCENARIOS,
    CrossEntropy,
    DomainAdversarial,
    Features,
    LanguageModel,
    Relabel,
    TestTimeEntropy,
    TowardsTeacher,
    toy_model,
    toy_parts,
)

from headstart.train.loop import MemoryLog, Score, Settings, Trainer, Work
from headstart.train.phase import Phase
from headstart.train.reader import Reader
from headstart.train.update import OneBackward

CASES = [(name, family) for name, (families, *_) in SCENARIOS.items() for family in families]


def everything(model, rate=0.01):
    return dict.fromkeys([*model.backbone.stages, "head", "*"], rate)


def build(name, family, epochs=2, log=None, checkpoint=None, every=1e9, **phase):
    _, tasks, objectives, update = SCENARIOS[name]
    model = toy_model(family, tasks)
    reader = Reader(toy_parts(family, tasks), model.backbone, seed=0)
    work = Work(Phase("all", everything(model), epochs, batch_size=16, **phase), objectives(), update())
    settings = Settings(seed=0, checkpoint=checkpoint, every=every)
    return Trainer(model, reader, [work], settings, log=log)


def weights(model):
    return {n: t.clone() for n, t in model.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize(("name", "family"), CASES)
def test_scenario_learns(name, family):
    log = MemoryLog()
    trainer = build(name, family, epochs=6, log=log)
    before = weights(trainer.model)
    trainer.run()
    steps = [r for r in log.records if r["kind"] == "step"]
    assert len(steps) == 6 * 3
    assert all(np.isfinite(r["loss"]) for r in steps)
    after = weights(trainer.model)
    moved = [n for n in before if not torch.equal(before[n], after[n])]
    assert any(n.startswith("backbone.") for n in moved)
    key = "ce" if "ce" in steps[0]["terms"] else next(iter(steps[0]["terms"]))
    first, last = (np.mean([r["terms"][key] for r in part]) for part in (steps[:3], steps[-3:]))
    assert last < first


class Killed(Exception):
    pass


class KillingLog(MemoryLog):
    """Raises at a step, as a killed process would stop there."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def write(self, record):
        super().write(record)
        if record["kind"] == "step" and record["step"] == self.at:
            raise Killed


def assert_ended_alike(a, b, start):
    """Up to rounding, over all weights: an attention's key biases have no other gradient, and Adam blows it up."""
    a, b, start = (torch.cat([w[n].flatten() for n in start]) for w in (a, b, start))
    way = float((b - start).norm())
    assert way > 0.1, "nothing was trained"
    assert float((a - b).norm()) <= 0.01 * way


@pytest.mark.parametrize("at", [3, 4])
@pytest.mark.parametrize(("name", "family"), CASES)
def test_resumed_run_equals_uninterrupted(name, family, at, tmp_path):
    """A kill inside an epoch, and at its start: the same weights and the same log, bit by bit."""
    whole_log = MemoryLog()
    whole = build(name, family, epochs=3, log=whole_log, average=0.9)
    whole.run()

    # every=0 writes a checkpoint after each step; the step that is killed is lost and done again.
    log = KillingLog(at)
    killed = build(name, family, epochs=3, log=log, checkpoint=tmp_path / "c.safetensors", every=0, average=0.9)
    with pytest.raises(Killed):
        killed.run()
    log.at = None
    again = build(name, family, epochs=3, log=log, checkpoint=tmp_path / "c.safetensors", every=0, average=0.9)
    again.run()

    assert_same(weights(whole.model), weights(again.model))
    strip = [{k: v for k, v in r.items() if k != "seconds"} for r in whole_log.records]
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in log.records] == strip


def test_resume_reruns_no_epoch_hook(tmp_path):
    log = KillingLog(4)
    trainer = build("relabel", "cnn", epochs=3, log=log, checkpoint=tmp_path / "c", every=0)
    with pytest.raises(Killed):
        trainer.run()
    log.at = None
    again = build("relabel", "cnn", epochs=3, log=log, checkpoint=tmp_path / "c", every=0)
    again.run()
    objective = again.works[0].objectives[0]
    assert isinstance(objective, Relabel)
    assert objective.epochs == 3


def test_carry_flows_within_an_epoch_and_stops_at_its_end():
    trainer = build("language model", "rnn", epochs=2)
    trainer.run()
    objective = trainer.works[0].objectives[0]
    assert isinstance(objective, LanguageModel)
    assert objective.carried == [False, True, True, False, True, True]


def test_composed_objectives_share_one_forward():
    model = toy_model("cnn")
    reader = Reader(toy_parts("cnn"), model.backbone, 0)
    work = Work(Phase("all", everything(model), 1, batch_size=16), [CrossEntropy(), TowardsTeacher(), Features()])
    trainer = Trainer(model, reader, [work], Settings())
    trainer.run()
    sweeps = 1  # `Features.prepare` sweeps 48 samples in one batch
    assert model.calls == 3 + sweeps


@pytest.mark.parametrize("family", ["cnn", "rnn", "transformer"])
def test_target_labels_change_nothing(family):
    def run(permute):
        parts = toy_parts(family)
        if permute:
            parts["target"]._labels = np.roll(parts["target"]._labels, 7)
        model = toy_model(family)
        work = Work(Phase("all", everything(model), 2, batch_size=16), [DomainAdversarial()])
        Trainer(model, Reader(parts, model.backbone, 0), [work], Settings()).run()
        return weights(model)

    assert_same(run(False), run(True))


@pytest.mark.parametrize("family", ["cnn", "rnn", "transformer"])
def test_changing_cuts_cached_equals_uncached(family):
    """Gradual unfreezing in three phases: kept activations give the same weights."""

    def run(cached):
        model = toy_model(family)
        names = list(model.backbone.stages)
        works = []
        for depth in (3, 2, 1, 0):
            rates = dict.fromkeys([*names[depth:], "head"], 0.01)
            cut = names[depth - 1] if cached and depth else None
            works.append(Work(Phase(f"from {depth}", rates, 1, batch_size=48, cut=cut), [Plain()]))
        Trainer(model, Reader(toy_parts(family), model.backbone, 0), works, Settings()).run()
        return weights(model)

    assert_ended_alike(run(True), run(False), weights(toy_model(family)))


class Plain(CrossEntropy):
    """Cross-entropy on the view without randomness: what may be kept."""

    from headstart.train.batch import Feed as _Feed

    feeds = (_Feed(paces=True, views=("plain",)),)


class Lengthwise(CrossEntropy):
    """Cross-entropy on samples of similar length together; notes the epoch of every step."""

    from headstart.train.batch import Feed as _Feed

    feeds = (_Feed(paces=True, order="length"),)

    def __init__(self):
        self.seen = []

    def losses(self, model, batches, ctx, only=None):
        self.seen.append(ctx.clock.epoch)
        return super().losses(model, batches, ctx, only)


@pytest.mark.parametrize("family", ["cnn", "rnn", "transformer"])
@pytest.mark.parametrize("bn", ["freeze", "adapt"])
def test_frozen_stage_is_bit_identical(family, bn):
    model = toy_model(family)
    names = list(model.backbone.stages)
    before = weights(model)
    rates = {names[-1]: 0.01, "head": 0.01}
    work = Work(Phase("last", rates, 2, batch_size=16, bn=bn), [CrossEntropy()])
    Trainer(model, Reader(toy_parts(family), model.backbone, 0), [work], Settings()).run()
    after = weights(model)
    for stage in names[:-1]:
        prefix = f"backbone.{stage.replace('.', '_')}."
        assert any(n.startswith(prefix) for n in before)
        for name in before:
            if name.startswith(prefix):
                assert torch.equal(before[name], after[name]), name
    assert any(
        not torch.equal(before[n], after[n]) for n in before if n.startswith(f"backbone.{names[-1].replace('.', '_')}.")
    )


def test_bn_freeze_and_adapt():
    def run(bn):
        model = toy_model("cnn")
        work = Work(Phase("all", everything(model), 1, batch_size=16, bn=bn), [CrossEntropy()])
        Trainer(model, Reader(toy_parts("cnn"), model.backbone, 0), [work], Settings()).run()
        return model.backbone.stages["stem"].norm

    assert torch.equal(run("freeze").running_mean, torch.zeros(8))
    assert not torch.equal(run("adapt").running_mean, torch.zeros(8))


def test_rates_are_the_ones_asked_for_at_every_step():
    model = toy_model("cnn")
    log = MemoryLog()
    rates = {"body.0": 1e-3, "body.1": 4e-3, "head": 1e-2}
    work = Work(Phase("p", rates, 2, batch_size=16, schedule="cosine", warmup=0.5), [CrossEntropy()])
    Trainer(model, Reader(toy_parts("cnn"), model.backbone, 0), [work], Settings(), log=log).run()
    steps = [r for r in log.records if r["kind"] == "step"]
    factors = [0, 1 / 3, 2 / 3, 1.0, 0.75, 0.25]
    for record, factor in zip(steps, factors, strict=True):
        assert record["rates"] == pytest.approx({k: v * factor for k, v in rates.items()}, abs=1e-12)


def test_accumulation_equals_one_large_batch():
    def run(batch_size, accumulate):
        model = toy_model("transformer").eval()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            elif isinstance(module, torch.nn.MultiheadAttention):
                module.dropout = 0.0
        phase = Phase("p", everything(model), 1, batch_size=batch_size, accumulate=accumulate)
        parts = {"train": toy_parts("transformer")["train"]}
        Trainer(model, Reader(parts, model.backbone, 0), [Work(phase, [Plain()])], Settings()).run()
        return weights(model)

    assert_ended_alike(run(48, 1), run(16, 3), weights(toy_model("transformer")))


def test_a_phase_of_one_step_trains_and_longer_ones_warm_up():
    def first_rate(epochs):
        log = MemoryLog()
        model = toy_model("cnn")
        work = Work(Phase("p", everything(model), epochs, batch_size=48), [CrossEntropy()])
        Trainer(model, Reader(toy_parts("cnn"), model.backbone, 0), [work], Settings(), log=log).run()
        return next(r for r in log.records if r["kind"] == "step")["rates"]["head"]

    assert first_rate(1) == 0.01
    assert first_rate(2) == 0


def test_an_epoch_in_order_of_length_has_as_many_steps_as_the_first():
    """49 samples in batches of 16: the one that is left over joins a batch in every epoch, wherever that comes."""
    model = toy_model("cnn")
    model.backbone.length = lambda sample: 1
    objective = Lengthwise()
    work = Work(Phase("p", everything(model), 6, batch_size=16), [objective])
    parts = {"train": toy_parts("cnn", n=49)["train"]}
    history = Trainer(model, Reader(parts, model.backbone, 0), [work], Settings()).run()
    assert len(history.epochs) == 6
    assert objective.seen == [e for e in range(6) for _ in range(3)]


def test_early_stopping_and_best_weights():
    model = toy_model("cnn")
    reader = Reader(toy_parts("cnn"), model.backbone, 0)
    values = iter([0.5, 0.9, 0.4, 0.3, 0.2, 0.1])
    seen = []

    def validate(m, phase, epoch, kind):
        value = next(values)
        seen.append((value, weights(m)))
        return Score(value, 1 - value, value)

    work = Work(Phase("p", everything(model), 6, batch_size=16, patience=2), [CrossEntropy()])
    trainer = Trainer(model, reader, [work], Settings(), validate=validate)
    history = trainer.run()
    assert len(history.epochs) == 4
    assert history.kept[0]["epoch"] == 1
    assert_same(weights(model), seen[1][1])


def test_non_finite_gradients_move_nothing():
    class Broken(CrossEntropy):
        def losses(self, model, batches, ctx, only=None):
            terms = super().losses(model, batches, ctx, only)
            if ctx.clock.step == 1:
                terms.tasks["ce"] = terms.tasks["ce"] * float("nan")
            return terms

    model = toy_model("cnn")
    log = MemoryLog()
    work = Work(Phase("p", everything(model), 1, batch_size=16), [Broken()], OneBackward())
    Trainer(model, Reader(toy_parts("cnn"), model.backbone, 0), [work], Settings(), log=log).run()
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert log.records[-1]["skipped_steps"] == 1


@pytest.mark.parametrize("family", ["cnn", "transformer"])
def test_predictor_adapts_at_test_time_and_resets(family):
    model = toy_model(family)
    parts = toy_parts(family)
    reader = Reader(parts, model.backbone, 0)
    Trainer(model, reader, [Work(Phase("p", everything(model), 2, batch_size=16), [CrossEntropy()])], Settings()).run()
    predictor = TestTimeEntropy(model)
    batch = reader.batch("target", range(48), ("plain",), labels=False)
    first = predictor.predict(batch)
    for _ in range(4):
        last = predictor.predict(batch)

    def entropy(p):
        return float(-(p * p.log()).sum(1).mean())

    assert entropy(last) < entropy(first)
    predictor.reset()
    assert_same(weights(model), predictor.start)
