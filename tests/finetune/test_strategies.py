"""Every strategy trains exactly the stages it names, at the rates it names; the rest stays bit-identical."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from headstart.core.errors import ConfigError
from headstart.core.registry import get, methods
from headstart.data import load_data
from headstart.data.dataset import Dataset
from headstart.finetune import Situation, make_strategy
from headstart.finetune.strategies import epochs_for, rates
from headstart.finetune.supervised import Supervised
from headstart.models import TracedBackbone, Wanted, open_vision, parse_reference
from headstart.models.backbone import Backbone
from headstart.models.model import Head, Model
from headstart.models.opening import open_model
from headstart.train.loop import MemoryLog, Settings, Trainer, Work
from headstart.train.modes import make_optimizer, parameter_groups, set_train_mode
from headstart.train.phase import Phase, Strategy
from headstart.train.reader import Reader
from headstart.train.schedule import make_schedule

NAMES = [m.name for m in methods("strategy")]
NETWORKS = ["test_resnet", "test_vit", "gru"]
"""A CNN, a Transformer and an RNN."""
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@cache
def data(network: str) -> Dataset:
    rng = np.random.default_rng(0)
    if network == "gru":
        return load_data((rng.normal(size=(16, 9, 2)).astype(np.float32), np.arange(16) % 2), modality="sequence")
    return load_data((rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8), np.arange(16) % 2))


def opened(network: str) -> Backbone:
    if network == "gru":
        small = {"arch": "layers=3,width=8", "mean": (0.0, 0.0), "std": (1.0, 1.0)}
        return open_model("scratch:gru", Wanted(modality="sequence", channels=2, **small))
    return open_vision(parse_reference(f"scratch:timm:{network}"), Wanted(size=32))


def width(network: str) -> int:
    """Features that the network gives."""
    backbone = opened(network).eval()
    batch = Reader({"train": data(network)}, backbone, 0).batch("train", [0], ("plain",))
    with torch.no_grad():
        return int(backbone.pool(backbone.run(backbone.begin(batch.views["plain"]))).shape[1])


def situation(backbone: Backbone, **chosen: Any) -> Situation:
    sizes = {name: sum(p.numel() for p in ps) for name, ps in backbone.stage_parameters().items()}
    return Situation(sizes, backbone.family, 16, {"epochs": 1, "batch_size": 8, "ema": 0.5, "warmup": 0.0, **chosen})


def trained(network: str, phase: Phase) -> tuple[Model, dict[str, torch.Tensor], MemoryLog]:
    backbone = opened(network)
    model = Model(backbone, {"label": Head(width(network), 2)})
    before = {n: t.clone() for n, t in model.state_dict().items()}
    log = MemoryLog()
    work = Work(phase, [Supervised(data(network).schema.tasks)])
    Trainer(model, Reader({"train": data(network)}, backbone, 0), [work], Settings(), log=log).run()
    return model, before, log


def stage_of_tensor(model: Model) -> dict[str, str]:
    """Name of each tensor of the model -> the stage it belongs to, or "head"."""
    owners: dict[int, str] = {}
    for stage, module in model.backbone.stages.items():
        for tensor in (*module.parameters(), *module.buffers()):
            owners.setdefault(id(tensor), stage)
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        n: owners.get(id(t), "head")
        for n, t in named.items()
        if n.startswith(("backbone.net", "backbone.rnn", "heads"))
    }


def supervised(strategy: Strategy) -> list[Phase]:
    """The phases that look at labels."""
    return [phase for phase in strategy.phases if phase.objective == "supervised"]


CASES = [(n, s) for n in NETWORKS for s in NAMES if s != "probe"]


def test_the_registered_ones() -> None:
    assert NAMES == ["probe", "partial", "full", "gradual", "lp-ft", "ulmfit"]
    assert make_strategy("probe", situation(opened("test_resnet"))) == Strategy("probe", (), "probe")


@pytest.mark.parametrize(("network", "name"), CASES)
@pytest.mark.parametrize("bn", ["freeze", "adapt"])
def test_trains_exactly_what_it_names(network: str, name: str, bn: str) -> None:
    for phase in supervised(make_strategy(name, situation(opened(network), bn=bn))):
        model, before, log = trained(network, phase)
        stages = stage_of_tensor(model)
        moved: dict[str, list[str]] = {}
        for tensor, value in model.state_dict().items():
            if tensor in stages and not torch.equal(before[tensor], value):
                moved.setdefault(stages[tensor], []).append(tensor)
        assert set(moved) == set(phase.rates), phase.name
        moved_statistics = {s for s, ts in moved.items() if any(t.endswith(STATISTICS) for t in ts)}
        with_norms = {stages[t] for t in stages if t.endswith(STATISTICS)} & set(phase.rates)
        assert moved_statistics == (with_norms if bn == "adapt" else set())
        for record in (r for r in log.records if r["kind"] == "step"):
            factor = make_schedule(phase.schedule, phase.warmup)(record["step"] / 2)
            assert record["rates"] == pytest.approx({k: v * factor for k, v in phase.rates.items()})


@pytest.mark.parametrize(("network", "name"), CASES)
def test_groups_modes_and_decay(network: str, name: str) -> None:
    backbone = opened(network)
    for phase in supervised(make_strategy(name, situation(backbone, weight_decay=0.3))):
        model = Model(backbone, {"label": Head(width(network), 2)})
        groups = parameter_groups(model, phase)
        named = model.groups()
        expected = {id(p): n for n in phase.rates for p in named[n]}
        given = {id(p): g for g in groups for p in g["params"]}
        assert sum(len(g["params"]) for g in groups) == len(given) == len(expected)
        assert given.keys() == expected.keys()
        for g in groups:
            for p in g["params"]:
                assert expected[id(p)] == g["name"]
                assert g["lr"] == phase.rates[g["name"]]
                assert g["weight_decay"] == (0.3 if p.dim() > 1 else 0.0)
        for name_, p in model.named_parameters():
            assert p.requires_grad == (id(p) in expected), name_
        model.train()  # as if anything had called it
        native = {id(m) for m in (backbone.net if isinstance(backbone, TracedBackbone) else backbone).modules()}
        set_train_mode(model, phase)
        for stage, module in model.backbone.stages.items():
            if stage not in phase.rates:
                assert not any(m.training for m in module.modules() if id(m) in native)
            else:
                assert any(m.training for m in module.modules() if id(m) in native)
        assert make_optimizer(groups, torch.device("cpu")).defaults["lr"] == 0


def test_norms_and_biases_keep_their_size_under_decay() -> None:
    """With no gradient, decay shrinks matrices and leaves vectors as they are."""
    model = Model(opened("test_resnet"), {"label": Head(8, 2)})
    phase = Phase("p", dict.fromkeys([*model.backbone.stages, "head"], 0.1), 1, weight_decay=0.5)
    optimizer = make_optimizer(parameter_groups(model, phase), torch.device("cpu"))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        shrunk = before[name] * (1 - 0.1 * 0.5) if p.dim() > 1 else before[name]
        assert torch.allclose(p, shrunk, atol=1e-7), name


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_means_the_same_for_every_family(network: str, name: str) -> None:
    """What is trained in which order, and that earlier stages are slower by one factor, hold on any stages."""
    backbone = opened(network)
    stages = list(backbone.stages)
    strategy = make_strategy(name, situation(backbone, lr=1.0, layer_decay=0.5, epochs=10, spare=0.0))
    trained = [[s for s in stages if s in phase.rates] for phase in supervised(strategy)]
    top = [stages[len(stages) - k :] for k in range(min(4, len(stages) - 1) + 1)]
    assert (
        trained
        == {
            "probe": [],
            "partial": [stages[-2:]],
            "full": [stages],
            "lp-ft": [stages],
            "gradual": [*top, stages],
            "ulmfit": [*top, stages],
        }[name]
    )
    for phase, named in zip(supervised(strategy), trained, strict=True):
        assert [phase.rates[s] for s in reversed(named)] == [0.5**i for i in range(len(named))]
        assert phase.rates["head"] == (0.1 if name == "lp-ft" else 3.0)
    assert strategy.head == ("probe" if name in ("probe", "lp-ft") else "random")


def test_ulmfit_is_the_paper_s_recipe() -> None:
    """Howard & Ruder 2018: rates / 2.6 a layer, slanted triangles with cut .1 and ratio 32, one layer more a phase."""
    s = Situation(dict.fromkeys(("embedding", "rnn.0", "rnn.1", "rnn.2"), 10), "rnn", 500)
    first, *others = make_strategy("ulmfit", s).phases
    assert (first.objective, first.name) == ("pretraining", "target texts")
    assert "head" not in first.rates
    for phase in (first, others[-1]):
        rates_ = [phase.rates[name] for name in s.stages]
        assert [b / a for a, b in itertools.pairwise(rates_)] == pytest.approx([2.6] * 3)
    for phase in (first, *others):
        factor = make_schedule(phase.schedule, phase.warmup)
        assert (factor(0.0), factor(0.1), factor(1.0)) == pytest.approx((1 / 32, 1.0, 1 / 32))


def test_a_transformer_on_few_samples_gets_steps_warm_up_and_layer_wise_rates() -> None:
    """Mosbach et al. 2021 and Zhang et al. 2021: hundreds of steps however few samples, a tenth of them warm-up."""
    names = [f"layer.{i}" for i in range(6)]
    (phase,) = make_strategy("full", Situation(dict.fromkeys(names, 10), "transformer", 100)).phases
    steps = phase.epochs * -(-100 // phase.batch_size)
    assert steps >= 400
    assert phase.warmup == 0.1
    ratios = [phase.rates[a] / phase.rates[b] for a, b in itertools.pairwise(names)]
    assert ratios == pytest.approx([0.9] * 5)


def test_the_optimizer_corrects_the_bias_of_its_moments() -> None:
    """The first step of Adam with correction is the rate itself, whatever the gradient's size; without, a third."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = make_optimizer([{"params": [weight], "lr": 0.5, "weight_decay": 0.0}], torch.device("cpu"))
    weight.grad = torch.tensor([1e-3])
    optimizer.step()
    assert weight.item() == pytest.approx(-0.5, rel=1e-4)


def test_shapes_of_the_strategies() -> None:
    backbone = opened("test_vit")
    names = list(backbone.stages)
    s = situation(backbone, lr=1.0, layer_decay=0.5, epochs=10)
    (partial,) = make_strategy("partial", s).phases
    assert list(partial.rates) == [*names[-2:], "head"]
    (full,) = make_strategy("full", s).phases
    assert full.rates == {**{n: 0.5 ** (len(names) - 1 - i) for i, n in enumerate(names)}, "head": 3.0}
    gradual = make_strategy("gradual", s).phases
    depths = [len(p.rates) - 1 for p in gradual]
    assert depths == [0, 1, 2, 3, 4, len(names)]
    assert all(set(a.rates) < set(b.rates) for a, b in itertools.pairwise(gradual))
    assert sum(p.epochs for p in gradual) == 10
    lp_ft = make_strategy("lp-ft", s)
    assert (lp_ft.head, list(lp_ft.phases[0].rates)) == ("probe", [*names, "head"])


def test_of_a_cnn_lp_ft_spares_the_cheap_start() -> None:
    situation_ = Situation({"stem": 10, "a": 15, "b": 100, "c": 900}, "cnn", 100)
    assert list(make_strategy("lp-ft", situation_).phases[0].rates) == ["b", "c", "head"]
    spared = Situation(situation_.stages, "cnn", 100, {"spare": 0.0})
    assert list(make_strategy("lp-ft", spared).phases[0].rates) == ["stem", "a", "b", "c", "head"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", ["cnn", "transformer", "rnn"])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_any_depth_and_family(name: str, family: str, count: int) -> None:
    stages = {f"s{i}": 10 for i in range(count)}
    if name == "partial" and count == 1:
        with pytest.raises(ConfigError, match="has 1 stages; --last-k 2"):
            make_strategy(name, Situation(stages, family, 50))
        return
    strategy = make_strategy(name, Situation(stages, family, 50))
    assert Strategy.from_json(strategy.as_json()) == strategy
    for phase in strategy.phases:
        if phase.objective == "supervised":
            assert set(phase.rates) <= {*stages, "head"}
            assert "head" in phase.rates
        else:  # parts that the objective adds, and no head: no label is looked at
            assert set(phase.rates) == {*stages, "*"}
        assert all(r > 0 for r in phase.rates.values())
        assert phase.epochs >= 1
    if strategy.phases:
        lr = get("strategy", name).defaults_for(family)["lr"]
        assert strategy.phases[-1].rates[f"s{count - 1}"] == lr


def test_rates_rise_towards_the_head() -> None:
    made = rates(["a", "b", "c", "d"], 1e-3, 0.7, 3e-3)
    values = list(made.values())
    assert values == sorted(values)
    assert made["b"] / made["c"] == pytest.approx(0.7)


def test_fewer_samples_get_more_epochs() -> None:
    settings = get("strategy", "full").defaults_for("cnn")
    epochs = [epochs_for(n, settings) for n in (50, 500, 4000, 100_000)]
    assert epochs == sorted(epochs, reverse=True)
    assert settings["least_epochs"] <= epochs[-1] <= epochs[0] <= settings["most_epochs"]
    assert epochs_for(50, {**settings, "epochs": 7}) == 7


def test_unknown_names_give_near_ones() -> None:
    with pytest.raises(ConfigError, match="'lp-ft'"):
        make_strategy("lpft", situation(opened("test_resnet")))


def test_a_rate_for_no_stage_is_refused() -> None:
    model = Model(opened("test_resnet"), {"label": Head(8, 2)})
    with pytest.raises(ConfigError, match=r"'layer5'(?s:.*)'layer4'"):
        parameter_groups(model, Phase("p", {"layer5": 1.0}, 1))
