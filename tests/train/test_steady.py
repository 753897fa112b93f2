"""Rates are lowered where the first steps would blow up, and only there; no trace is left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from headstart.data import load_data
from headstart.finetune.supervised import Supervised
from headstart.models import Wanted, open_vision, parse_reference
from headstart.models.model import Head, Model
from headstart.train.loop import Settings, Work
from headstart.train.phase import Phase
from headstart.train.reader import Reader
from headstart.train.steady import steadier

GUESSING = float(np.log(2))


def setup(rate: float) -> tuple[Model, Reader, Work]:
    pictures = np.random.default_rng(0).integers(0, 60, (24, 16, 16, 3), dtype=np.uint8)
    labels = np.arange(24) % 2
    pictures[labels == 1] += 150
    data = load_data((pictures, labels))
    torch.manual_seed(0)
    backbone = open_vision(parse_reference("scratch:timm:test_resnet"), Wanted(size=32))
    model = Model(backbone, {"label": Head(int(backbone.net.num_features), 2)})
    phase = Phase("p", dict.fromkeys([*backbone.stages, "head"], rate), 3, batch_size=12, bn="freeze", clip=None)
    return model, Reader({"train": data}, backbone, 0), Work(phase, [Supervised(data.schema.tasks)])


def test_usual_rates_are_kept_without_a_word() -> None:
    assert steadier(*setup(1e-3), Settings(), GUESSING) == (1.0, "")


def test_rates_that_blow_up_are_lowered_and_it_is_said() -> None:
    model, reader, work = setup(3.0)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    factor, why = steadier(model, reader, work, Settings(), GUESSING)
    assert factor < 1
    assert why.startswith(f"Rates are {factor:g} times the usual ones")
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())


def test_losses_that_are_not_finite_count_as_blown_up() -> None:
    model, reader, work = setup(1e-3)
    work = replace(work, phase=replace(work.phase, rates=dict.fromkeys(work.phase.rates, 1e18)))
    factor, _ = steadier(model, reader, work, Settings(), GUESSING)
    assert factor < 1
