"""Architectures on networks of timm: networks whose stages are found by watching, and not written as stages."""

from __future__ import annotations

import pytest
import torch

from headstart.core.registry import methods
from headstart.models import Wanted, open_vision, parse_reference
from headstart.models.model import Head
from headstart.multitask import make_architecture
from headstart.train.batch import Batch

NAMES = [m.name for m in methods("architecture")]


@pytest.mark.parametrize("network", ["test_resnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_timm(name, network):
    backbone = open_vision(parse_reference(f"scratch:timm:{network}"), Wanted(size=None)).eval()
    size = backbone.input_spec.size
    pictures = torch.randint(0, 255, (2, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    batch = Batch(["0", "1"], {"plain": {"x": pictures}})
    with torch.no_grad():
        features = backbone.pool(backbone.run(backbone.begin({"x": pictures})))
    heads = {task: Head(features.shape[1], 3) for task in ("a", "b")}
    model = make_architecture(name, backbone, heads).eval()
    output = model(batch)
    for task, head in heads.items():
        assert torch.allclose(output.logits[task], head(features), rtol=1e-4, atol=1e-4)
    output.logits["b"].sum().backward()
    assert not any(p.grad is not None for p in heads["a"].parameters())
    listed = [id(p) for parameters in model.groups().values() for p in parameters]
    assert len(listed) == len(set(listed))
    again = make_architecture(name, backbone, heads)
    again.load_state_dict(model.state_dict())
