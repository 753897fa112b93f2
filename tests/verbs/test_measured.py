"""What a run measures of the machine is decided once: a resumed run goes on as it began."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.finetune.supervised import Loss, Supervised
from headstart.models import Wanted, open_vision, parse_reference
from headstart.models.model import Head, Model
from headstart.store.runfolder import RunFolder
from headstart.train import trial as module
from headstart.train.loop import Settings, Work
from headstart.train.phase import Phase
from headstart.train.reader import Reader
from headstart.train.trial import faster_precision, trial
from headstart.verbs.job import Job, open_job
from headstart.verbs.options import make_options


@pytest.fixture
def data() -> hs.Dataset:
    pictures = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    return hs.load_data((pictures, np.arange(24) % 3))


def job_at(folder: Path, data: hs.Dataset, **options: object) -> Job:
    return open_job(RunFolder(folder), make_options({"model": "scratch:timm:test_resnet", **options}), data)


def test_precision_is_measured_once(tmp_path: Path, data: hs.Dataset) -> None:
    job = job_at(tmp_path, data)
    assert job.settle_precision("full", lambda: (torch.bfloat16, "why")) == "why"
    assert job.training_dtype == torch.bfloat16

    def never() -> tuple[torch.dtype, str]:
        raise AssertionError("measured again")

    resumed = job_at(tmp_path, data)
    assert resumed.settle_precision("full", never) == "why"
    assert resumed.training_dtype == torch.bfloat16
    assert resumed.precision_of("full") == "bfloat16"


def test_a_precision_asked_for_is_not_measured(tmp_path: Path, data: hs.Dataset) -> None:
    job = job_at(tmp_path, data, precision="bfloat16")
    job.settle_precision("full", lambda: pytest.fail("measured"))
    assert job.training_dtype == torch.bfloat16


def test_a_network_is_opened_once_and_every_copy_is_its_own(
    tmp_path: Path, data: hs.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_at(tmp_path, data)
    first = job.open(32)
    truth = {n: t.clone() for n, t in first.state_dict().items()}
    monkeypatch.setattr("headstart.verbs.job.open_model", lambda *a: pytest.fail("opened again"))
    for parameter in first.parameters():
        parameter.data.add_(1.0)
    first.end_at("layer2")
    again = job.open(32)
    assert list(again.stages)[-1] == "layer4"
    assert all(torch.equal(truth[n], t) for n, t in again.state_dict().items())


def test_large_networks_are_not_kept_beside_their_copy(
    tmp_path: Path, data: hs.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.verbs.job.MOST_KEPT", 10)
    job = job_at(tmp_path, data)
    job.open(32)
    assert job._opened == {}


def prepared(data: hs.Dataset) -> tuple[Model, Reader, Work]:
    backbone = open_vision(parse_reference("scratch:timm:test_resnet"), Wanted(size=32))
    state = backbone.run({"x": torch.zeros(1, 3, 32, 32)})
    model = Model(backbone, {"label": Head(backbone.pool(state).shape[1], 3)})
    rates = dict.fromkeys([*backbone.stages, "head"], 0.1)
    objective = Supervised(data.schema.tasks, Loss(0.0, None, {"label": 1.0}, 0, 0), "plain", "shuffle")
    return model, Reader({"train": data}, backbone, 0), Work(Phase("all", rates, 1, batch_size=8), [objective])


def test_a_trial_leaves_no_trace(data: hs.Dataset) -> None:
    model, reader, work = prepared(data)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    losses = [loss for loss, _ in trial(model, reader, work, Settings(), [1.0] * 4)]
    assert len(losses) == 4
    assert losses[0] != losses[-1]
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert not model.parts


@pytest.mark.parametrize(("seconds", "dtype", "words"), [
    ((0.2, 0.1), torch.bfloat16, "2.0 times as long in float32"),
    ((0.1, 0.2), torch.float32, "2.0 times as long in bfloat16"),
    ((0.1, 0.099), torch.float32, "float32"),
])  # fmt: skip
def test_the_faster_format_is_taken(
    data: hs.Dataset,
    monkeypatch: pytest.MonkeyPatch,
    seconds: tuple[float, float],
    dtype: torch.dtype,
    words: str,
) -> None:
    took = dict(zip((torch.float32, torch.bfloat16), seconds, strict=True))
    monkeypatch.setattr(module, "trial", lambda m, r, w, settings, f: [(1.0, took[settings.dtype])] * 3)
    found, why = faster_precision(*prepared(data), Settings(dtype=torch.bfloat16))
    assert found == dtype
    assert words in why


def test_nothing_is_compared_with_itself(data: hs.Dataset) -> None:
    assert faster_precision(*prepared(data), Settings()) == (torch.float32, "")


def test_another_network_keeps_nothing_of_this_one(tmp_path: Path, data: hs.Dataset) -> None:
    """Networks, features, and the network of frozen passes are its own, whatever this job has computed before."""
    job = job_at(tmp_path / "a", data)
    job.features(32, "train", [("layer4", 1)])
    options = job.options.model_copy(update={"model": "scratch:timm:test_resnet", "seed": 7})
    found = job.with_network(options).features(32, "train", [("layer4", 1)])[("layer4", 1)]
    fresh = dataclasses.replace(job_at(tmp_path / "b", data), options=options)
    truth = fresh.features(32, "train", [("layer4", 1)])[("layer4", 1)]
    assert torch.equal(found, truth)
    assert not torch.allclose(found, job.features(32, "train", [("layer4", 1)])[("layer4", 1)])
