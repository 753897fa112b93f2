"""What training leaves on disk while it runs, and what a sweep over a part gives."""

from __future__ import annotations

import json
import pickletools
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.data import load_data
from headstart.data.dataset import Dataset
from headstart.finetune.supervised import Supervised
from headstart.models import Wanted, open_vision, parse_reference
from headstart.models.model import Head, Model
from headstart.store.tensors import load_tree
from headstart.train.inference import outputs
from headstart.train.loop import MemoryLog, Score, Settings, Trainer, Work
from headstart.train.phase import Phase
from headstart.train.reader import Reader


class Killed(Exception):
    pass


class KillingLog(MemoryLog):
    def write(self, record):  # type: ignore[no-untyped-def]
        super().write(record)
        if record["kind"] == "step" and record["step"] == 5:
            raise Killed


@pytest.fixture(scope="module")
def data() -> Dataset:
    pictures = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
    return load_data((pictures, np.arange(24) % 2))


def model_of() -> Model:
    backbone = open_vision(parse_reference("scratch:timm:test_resnet"), Wanted(size=32))
    torch.manual_seed(0)
    return Model(backbone, {"label": Head(int(backbone.net.num_features), 2)})


def test_a_checkpoint_holds_everything_and_no_pickle(tmp_path: Path, data: Dataset) -> None:
    model = model_of()
    phase = Phase("p", dict.fromkeys([*model.backbone.stages, "head"], 1e-3), 3, batch_size=8, average=0.9, bn="adapt")
    path = tmp_path / "c.safetensors"
    work = Work(phase, [Supervised(data.schema.tasks)])
    trainer = Trainer(
        model,
        Reader({"train": data}, model.backbone, 0),
        [work],
        Settings(checkpoint=path, every=0),
        validate=lambda m, phase, epoch, kind: Score(epoch, 0.0, epoch),
        log=KillingLog(),
    )
    with pytest.raises(Killed):
        trainer.run()
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    end = max(v["data_offsets"][1] for k, v in header.items() if k != "__metadata__")
    assert 8 + length + end == len(content), "bytes besides the tensors"
    with pytest.raises(ValueError):
        list(pickletools.genops(content))

    tree = load_tree(path)
    assert tree["clock"] == {"epoch": 1, "step": 5}
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    assert set(trained) <= set(tree["model"])
    statistics = [n for n, _ in model.named_buffers() if "running_" in n]
    assert statistics
    assert set(statistics) <= set(tree["model"])
    assert set(tree["average"]["shadow"]) >= set(trained) | set(statistics)
    moments = tree["optimizer"]["state"]
    assert len(moments) == len(trained)
    assert all({"exp_avg", "exp_avg_sq", "step"} <= set(m) for m in moments.values())
    assert set(tree["best_tensors"]) >= set(trained)
    assert tree["history"]["epochs"][0]["epoch"] == 0


def test_outputs_do_not_depend_on_batches(data: Dataset) -> None:
    model = model_of()
    reader = Reader({"test": data}, model.backbone, 0)
    one = outputs(model, reader, "test", batch_size=24, features=True)
    other = outputs(model, reader, "test", batch_size=7, features=True)
    assert one.ids == other.ids == list(data.ids)
    assert one.logits["label"].shape == (24, 2)
    assert one.features is not None
    assert other.features is not None
    np.testing.assert_allclose(one.logits["label"], other.logits["label"], atol=1e-4)
    np.testing.assert_allclose(one.features, other.features, atol=1e-4)
    assert outputs(model, reader, "test").features is None


def test_outputs_move_no_statistics(data: Dataset) -> None:
    model = model_of().train()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    outputs(model, Reader({"test": data}, model.backbone, 0), "test")
    assert model.training
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
