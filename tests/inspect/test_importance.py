"""Gradient times input: exact for linear models, nothing for padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from headstart.data.schema import Sample
from headstart.inspect.importance import importance
from headstart.models.backbone import InputSpec, Provenance
from headstart.models.model import Head, Model
from headstart.models.opening import open_model
from headstart.models.series_backbone import SeriesBackbone
from headstart.models.wanted import Wanted
from headstart.train.batch import Batch

TEXTS = ["the cat sat", "a dog and the other dog", "rain"] * 2


class Same(nn.Module):
    def forward(self, s):
        return s


def batch_of(backbone, inputs):
    states = [backbone.preprocess(backbone.settle(Sample(str(i), x)), "plain", 0) for i, x in enumerate(inputs)]
    return Batch([str(i) for i in range(len(inputs))], {"plain": backbone.collate(states)})


@pytest.fixture
def linear() -> Model:
    spec = InputSpec("sequence", 2, 0, 0, mean=(0.0, 1.0), std=(1.0, 2.0), pooling="mean")
    backbone = SeriesBackbone({"same": Same()}, spec, Provenance("x", "x", "x", "x", "x"), 2, "rnn")
    torch.manual_seed(0)
    return Model(backbone, {"y": Head(2, 3)})


def test_values_of_a_linear_model_add_up_to_the_lead_of_its_answer(linear: Model) -> None:
    r = np.random.default_rng(0)
    inputs = [r.normal(size=(n, 2)).astype(np.float32) for n in (4, 9)]
    inputs[1][2, 0] = np.nan
    batch = batch_of(linear.backbone, inputs)
    values = importance(linear, batch)
    with torch.no_grad():
        logits = linear(batch).logits["y"]
    for i, found in enumerate(values):
        best = int(logits[i].argmax())
        others = [k for k in range(3) if k != best]
        bias = linear.heads[0].linear.bias.detach()
        lead = (logits[i] - bias)[best] - (logits[i] - bias)[others].mean()
        assert found.shape == inputs[i].shape
        assert found.sum() == pytest.approx(float(lead), abs=1e-5)
    assert values[1][2, 0] == 0


def test_a_constant_model_rests_on_nothing(linear: Model) -> None:
    nn.init.zeros_(linear.heads[0].linear.weight)
    values = importance(linear, batch_of(linear.backbone, [np.ones((5, 2), np.float32)]))
    assert (values[0] == 0).all()


@pytest.mark.parametrize("name", ["awd-lstm", "gru"])
def test_texts_have_a_value_for_every_token(name: str) -> None:
    backbone = open_model(f"scratch:{name}", Wanted(modality="text", corpus=lambda: TEXTS, arch="width=16"))
    model = Model(backbone, {"y": Head(48, 3)}).train()
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    together = importance(model, batch_of(backbone, TEXTS[:3]))
    assert [len(v) for v in together] == [len(backbone.tokenizer.encode(t)) for t in TEXTS[:3]]
    assert model.training
    for text, value in zip(TEXTS[:3], together, strict=True):
        alone = importance(model, batch_of(backbone, [text]))[0]
        assert np.allclose(alone, value, atol=1e-6)
        assert np.abs(value).sum() > 0


def test_pictures_have_none() -> None:
    model = Model(open_model("scratch:timm:test_resnet", Wanted(size=32)), {"y": Head(1, 2)})
    assert importance(model, Batch([], {"plain": {}})) is None
