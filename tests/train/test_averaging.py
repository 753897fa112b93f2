"""The moving average: its formula, its statistics, and leaving the model as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.train.averaging import Average, trained_tensors


def net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    return model


def move(model: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for tensor in trained_tensors(model).values():
            tensor.add_(torch.randn(tensor.shape, generator=generator))


def test_only_what_trains_is_averaged() -> None:
    names = set(trained_tensors(net()))
    assert names == {"1.weight", "1.bias", "1.running_mean", "1.running_var", "2.weight", "2.bias"}


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.99])
def test_formula(decay: float) -> None:
    model = net()
    average = Average(model, decay)
    expected = {n: t.detach().double() for n, t in trained_tensors(model).items()}
    for t in range(1, 30):
        move(model, t)
        average.update(model)
        d = min(decay, (1 + t) / (10 + t))
        for name, now in trained_tensors(model).items():
            expected[name] = d * expected[name] + (1 - d) * now.detach().double()
    for name, value in expected.items():
        assert torch.allclose(average.shadow[name].double(), value, atol=1e-5)


def test_swapping_in_restores_even_after_a_failure() -> None:
    model = net()
    average = Average(model, 0.9)
    for t in range(3):
        move(model, t)
        average.update(model)
    before = {n: t.clone() for n, t in model.state_dict().items()}

    def fail() -> None:
        with average.swapped_in(model):
            for name, tensor in trained_tensors(model).items():
                assert torch.equal(tensor, average.shadow[name])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    average.copy_to(model)
    assert not torch.equal(before["2.weight"], model.state_dict()["2.weight"])
    assert torch.equal(before["0.weight"], model.state_dict()["0.weight"])


def test_state_round_trip_continues_alike() -> None:
    def run(stop: int | None) -> dict[str, torch.Tensor]:
        model = net()
        average = Average(model, 0.9)
        for t in range(8):
            if t == stop:
                state = average.state()
                average = Average(model, 0.9)
                average.load_state(state)
            move(model, t)
            average.update(model)
        return average.shadow

    whole, resumed = run(None), run(4)
    assert all(torch.equal(whole[n], resumed[n]) for n in whole)
