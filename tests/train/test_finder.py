"""The learning-rate finder: reads curves soberly, keeps ratios, and leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headstart.data import load_data
from headstart.finetune.supervised import Supervised
from headstart.models import Wanted, open_vision, parse_reference
from headstart.models.model import Head, Model
from headstart.train.finder import HIGHEST, LOWEST, STEPS, read_curve, suggest
from headstart.train.loop import Settings, Work
from headstart.train.phase import Phase
from headstart.train.reader import Reader
from headstart.train.update import OneBackward, Step

FACTORS = np.geomspace(LOWEST, HIGHEST, STEPS)


def curve(fall_at: float, rise_at: float, depth: float = 1.5) -> np.ndarray:
    """A loss that falls around one factor and explodes from another on."""
    t = np.log10(FACTORS)
    falling = 2.3 - depth / (1 + np.exp(-6 * (t - np.log10(fall_at))))
    return falling + np.where(rise_at < FACTORS, (FACTORS / rise_at) ** 1.5 - 1, 0)


@pytest.mark.parametrize("fall_at", [0.01, 0.1, 1.0])
def test_a_clear_curve(fall_at: float) -> None:
    factor, reason = read_curve(FACTORS, curve(fall_at, fall_at * 20))
    assert factor is not None
    assert fall_at / 3 <= factor <= fall_at * 3
    assert f"{factor:.2g}" in reason


def test_noise_moves_it_little() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, STEPS)
    factor, _ = read_curve(FACTORS, curve(0.1, 2.0) + noise)
    assert factor is not None
    assert 0.02 <= factor <= 0.7


@given(level=st.floats(0.01, 100), seed=st.integers(0, 50), ends=st.integers(0, STEPS))
def test_flat_and_rising_curves_suggest_nothing(level: float, seed: int, ends: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.01 * level, STEPS)
    for losses in (np.full(STEPS, level) + noise, level * (1 + np.linspace(0, 3, STEPS)) + noise):
        factor, reason = read_curve(FACTORS[:ends], losses[:ends])
        assert factor is None
        assert "no suggestion" in reason


def test_what_is_not_finite_is_left_out() -> None:
    losses = curve(0.1, 2.0)
    expected, _ = read_curve(FACTORS[:50], losses[:50])
    broken = losses.copy()
    broken[50:] = np.nan
    assert read_curve(FACTORS, broken)[0] == expected
    broken[50:] = np.inf
    assert read_curve(FACTORS, broken)[0] == expected
    assert read_curve(FACTORS, np.full(STEPS, np.nan))[0] is None


class Watching(OneBackward):
    """Keeps the rates of every step; optionally lets every loss after some steps be NaN."""

    def __init__(self, break_at: int = 10**6) -> None:
        self.rates: list[dict[str, float]] = []
        self.break_at = break_at

    def __call__(self, step: Step) -> dict[str, float]:
        self.rates.append({g["name"]: g["lr"] for g in step.optimizer.param_groups})
        logs = super().__call__(step)
        return {**logs, "ce": float("nan")} if len(self.rates) > self.break_at else logs


def setup(update: OneBackward) -> tuple[Model, Reader, Work]:
    pictures = np.random.default_rng(0).integers(0, 60, (24, 16, 16, 3), dtype=np.uint8)
    labels = np.arange(24) % 2
    pictures[labels == 1] += 150
    data = load_data((pictures, labels))
    backbone = open_vision(parse_reference("scratch:timm:test_resnet"), Wanted(size=32))
    model = Model(backbone, {"label": Head(int(backbone.net.num_features), 2)})
    names = list(backbone.stages)
    phase = Phase("p", {names[-2]: 1e-3, names[-1]: 4e-3, "head": 1e-2}, 3, batch_size=12, bn="adapt")
    return model, Reader({"train": data}, backbone, 0), Work(phase, [Supervised(data.schema.tasks)], update)


def test_ratios_are_kept_and_the_model_restored() -> None:
    update = Watching()
    model, reader, work = setup(update)
    model.backbone.stages["conv1"].requires_grad_(False)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    requires = {n: p.requires_grad for n, p in model.named_parameters()}
    factor, _ = suggest(model, reader, work, Settings())
    assert factor is None or 1e-3 <= factor <= 1e2
    assert len(update.rates) > 10
    for rates, swept in zip(update.rates, FACTORS, strict=False):
        assert rates == pytest.approx({n: r * swept for n, r in work.phase.rates.items()})
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert requires == {n: p.requires_grad for n, p in model.named_parameters()}


def test_losses_that_break_end_the_sweep() -> None:
    update = Watching(break_at=15)
    model, reader, work = setup(update)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    suggest(model, reader, work, Settings())
    assert len(update.rates) == 16
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
