"""The trunk on a CUDA device: skipped, saying so, where there is none."""

from __future__ import annotations

import pytest
import torch
from test_trunk import Plain, everything, weights
from toys import toy_model, toy_parts

from headstart.train.loop import MemoryLog, Settings, Trainer, Work
from headstart.train.phase import Phase
from headstart.train.precision import choose_precision
from headstart.train.reader import Reader

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]


def train(family, device, dtype=torch.float32):
    model = toy_model(family)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    log = MemoryLog()
    work = Work(Phase("p", everything(model), 4, batch_size=16), [Plain()])
    settings = Settings(device=torch.device(device), dtype=dtype)
    Trainer(model, Reader(toy_parts(family), model.backbone, 0), [work], settings, log=log).run()
    return model, [r["loss"] for r in log.records if r["kind"] == "step"]


@pytest.mark.parametrize("family", ["cnn", "rnn", "transformer"])
def test_float32_follows_the_cpu(family):
    on_gpu, losses = train(family, "cuda")
    on_cpu, expected = train(family, "cpu")
    assert losses == pytest.approx(expected, rel=1e-2)
    for name, tensor in weights(on_cpu).items():
        assert torch.allclose(tensor, weights(on_gpu)[name].cpu(), atol=1e-2), name


@pytest.mark.parametrize("family", ["cnn", "transformer"])
def test_bfloat16_learns(family):
    assert choose_precision("auto", torch.device("cuda")) == torch.bfloat16
    _, losses = train(family, "cuda", torch.bfloat16)
    assert losses[-1] < losses[0]
