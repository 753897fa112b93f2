"""Training on kept activations ends where training through the frozen stages ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.data import load_data
from headstart.data.augment import Augmentation
from headstart.data.dataset import Dataset
from headstart.finetune.supervised import Loss, Supervised
from headstart.models import Wanted, open_vision, parse_reference
from headstart.models.backbone import Backbone
from headstart.models.model import Head, Model
from headstart.models.opening import open_model
from headstart.train.cached import CachedReader
from headstart.train.inference import outputs
from headstart.train.loop import Settings, Trainer, Work
from headstart.train.phase import Phase
from headstart.train.reader import Reader

N, CLASSES = 12, 3
SHIFTS = Augmentation(shift=0.2, rotate=20)


def pictures() -> Dataset:
    made = np.random.default_rng(0).integers(0, 256, (N, 40, 40, 3), dtype=np.uint8)
    return load_data((made, np.arange(N) % CLASSES))


def texts() -> Dataset:
    words = np.random.default_rng(0).choice(["cat", "dog", "sun", "rain", "tree", "stone"], (N, 9))
    return load_data(
        ([" ".join(row[: 2 + i % 7]) for i, row in enumerate(words)], [f"c{i % CLASSES}" for i in range(N)])
    )


def series() -> Dataset:
    r = np.random.default_rng(0)
    return load_data(
        ([r.normal(size=(4 + i, 2)).astype(np.float32) for i in range(N)], np.arange(N) % CLASSES),
        modality="sequence",
    )


def vision(name: str) -> Backbone:
    return open_vision(parse_reference(f"scratch:timm:{name}"), Wanted(size=64)).eval()


def gru() -> Backbone:
    wanted = Wanted(size=0, channels=2, modality="sequence", mean=(0, 0), std=(1, 1), arch="width=6,layers=2")
    return open_model("scratch:gru", wanted).eval()


def minilm() -> Backbone:
    return open_model("sample:all-minilm-l6-v2", Wanted(size=32, channels=3, modality="text")).eval()


NETWORKS = {
    "resnet": (lambda: vision("test_resnet"), pictures),
    "efficientnet": (lambda: vision("test_efficientnet"), pictures),
    "convnext": (lambda: vision("test_convnext"), pictures),
    "vit": (lambda: vision("test_vit"), pictures),
    "mobilenet": (lambda: vision("mobilenetv3_small_050"), pictures),
    "minilm": (minilm, texts),
    "gru": (gru, series),
}


def trained(name: str, cached: bool, scratch: Path) -> tuple[dict[str, Tensor], np.ndarray]:
    """Weights and logits after two epochs of the last stages, starting from the last possible cut but one."""
    make, load = NETWORKS[name]
    torch.manual_seed(0)
    backbone, data = make(), load()
    names = list(backbone.stages)
    cut = [c for c in backbone.cuts if c != names[-1]][-1]
    reader = Reader({"train": data}, backbone, 0)
    state = backbone.begin(reader.batch("train", [0], ("plain",)).views["plain"])
    model = Model(backbone, {"label": Head(backbone.pool(backbone.run(state)).shape[1], CLASSES)})
    rates = dict.fromkeys([*names[names.index(cut) + 1 :], "head"], 1e-3)
    phase = Phase("last", rates, 2, batch_size=4, cut=cut if cached else None)
    order = "length" if backbone.by_length else "shuffle"
    objective = Supervised(data.schema.tasks, Loss(0.0, None, {"label": 1.0}, 0, 0), "plain", order)
    trainer = Trainer(model, reader, [Work(phase, [objective])], Settings(scratch=scratch))
    torch.manual_seed(0)
    trainer.run()
    weights = {n: p.detach().clone() for n, p in model.named_parameters() if not n.startswith("backbone.source_head")}
    return weights, outputs(model, trainer.ctx.reader, "train").logits["label"]


@pytest.mark.parametrize("name", NETWORKS)
def test_cached_equals_uncached(name: str, tmp_path: Path) -> None:
    (one, logits), (other, plain) = trained(name, True, tmp_path), trained(name, False, tmp_path)
    before = NETWORKS[name][0]().state_dict()
    assert any(not torch.equal(one[n], before[n.removeprefix("backbone.")]) for n in one if n.startswith("backbone."))
    # Over all weights: the gradients of an attention's key biases are zero but for rounding, which Adam blows up.
    here, there = (torch.cat([w[n].flatten() for n in one]) for w in (one, other))
    assert float((here - there).norm()) <= 1e-4 * float(there.norm())
    assert np.allclose(logits, plain, rtol=1e-3, atol=1e-3)


def test_states_of_texts_in_windows_are_not_kept(tmp_path: Path) -> None:
    """Behind a stage such a text has a row per window, and what is kept has one per text: the phase runs uncached."""
    data = texts()
    wanted = Wanted(size=6, modality="text", long="windows", arch="width=6,embedding=4", corpus=lambda: ["cat dog sun"])
    ended = []
    for cut in ("rnn.0", None):
        torch.manual_seed(0)
        backbone = open_model("scratch:lstm", wanted)
        assert "rnn.0" in backbone.cuts, "within a batch it can be resumed, which importance of tokens does"
        model = Model(backbone, {"label": Head(3 * 6, CLASSES)})
        objective = Supervised(data.schema.tasks, Loss(0.0, None, {"label": 1.0}, 0, 0), "plain", "length")
        phase = Phase("last", {"rnn.1": 1e-2, "head": 1e-2}, 2, batch_size=4, cut=cut)
        Trainer(
            model, Reader({"train": data}, backbone, 0), [Work(phase, [objective])], Settings(scratch=tmp_path)
        ).run()
        ended.append(model.state_dict())
    assert all(torch.equal(tensor, ended[1][name]) for name, tensor in ended[0].items())


def views_of(reader: CachedReader, epochs: int) -> list[Tensor]:
    return [reader.batch("a", range(N), ("train",), epoch=e).views["train"]["x"].clone() for e in range(epochs)]


def test_views_repeat_after_their_number(tmp_path: Path) -> None:
    backbone = vision("test_resnet")
    backbone.augmentations = {"train": SHIFTS}
    plain = Reader({"a": pictures()}, backbone, 0)
    cut = backbone.cuts[1]
    made = views_of(CachedReader(plain, cut, torch.device("cpu"), 3, tmp_path), 5)
    assert all(torch.equal(made[e], made[e + 3]) for e in range(2))
    assert not any(torch.equal(made[0], made[e]) for e in (1, 2))
    # View e is the one that would be drawn in epoch e without keeping.
    for e in range(3):
        batch = plain.batch("a", range(N), ("train",), epoch=e)
        with torch.no_grad():
            alone = backbone.run(backbone.begin(batch.views["train"]), upto=cut)["x"]
        assert torch.allclose(made[e], alone, atol=1e-5)


def test_the_frozen_part_is_run_once_per_view(tmp_path: Path) -> None:
    backbone = vision("test_resnet")
    backbone.augmentations = {"train": SHIFTS}
    seen: list[int] = []
    first = next(m for m in backbone.modules() if isinstance(m, torch.nn.Conv2d))
    first.register_forward_hook(lambda _, __, out: seen.append(len(out)))
    reader = CachedReader(Reader({"a": pictures()}, backbone, 0), backbone.cuts[1], torch.device("cpu"), 2, tmp_path)
    views_of(reader, 6)
    assert sum(seen) == 2 * N
    reader.batch("a", range(N), ("plain",))
    reader.batch("a", range(N), ("plain",), epoch=1)
    assert sum(seen) == 3 * N


def test_files_go_with_the_reader(tmp_path: Path) -> None:
    backbone = vision("test_resnet")
    reader = CachedReader(Reader({"a": pictures()}, backbone, 0), backbone.cuts[0], torch.device("cpu"), 1, tmp_path)
    reader.batch("a", [0], ("plain",))
    assert list(tmp_path.glob("*/*.npy"))
    del reader
    assert not list(tmp_path.iterdir())


def test_a_batch_is_as_long_as_its_longest_sample(tmp_path: Path) -> None:
    backbone = gru()
    reader = CachedReader(Reader({"a": series()}, backbone, 0), backbone.cuts[0], torch.device("cpu"), 1, tmp_path)
    for index in ([0, 2], [11], list(range(N))):
        state = reader.batch("a", index, ("plain",)).views["plain"]
        assert state["mask"].shape[1] == state["x"].shape[1] == 4 + max(index)
        assert state["mask"].sum(1).tolist() == [4 + i for i in index]


def test_pictures_that_memory_has_no_room_for_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, data = vision("test_resnet"), pictures()
    read: list[int] = []
    inner = type(data).read

    def counted(self: Dataset, i: int, size_hint: int | None = None) -> object:
        read.append(i)
        return inner(self, i, size_hint=size_hint)

    monkeypatch.setattr(type(data), "read", counted)
    each = 64 * 64 * 3
    plain = Reader({"a": data}, backbone, 0)
    tight = Reader({"a": data}, backbone, 0, room=5 * each)
    whole = [b.views["plain"]["x"] for b in plain.sweep("a", 5)]
    assert len(read) == N
    for _ in range(3):
        for a, b in zip(whole, tight.sweep("a", 5), strict=True):
            assert torch.equal(a, b.views["plain"]["x"])
    assert len(read) == 2 * N
    once = Reader({"a": data}, backbone, 0, room=0)
    for _ in range(2):
        list(once.sweep("a", 5))
    assert len(read) == 4 * N


def test_pictures_of_other_shapes_are_not_kept() -> None:
    from headstart.train.settled import SettledPictures

    store = SettledPictures(3, np.zeros((2, 2, 1), np.uint8))
    store.put(0, np.ones((2, 2, 3), np.uint8))
    store.put(1, np.full((2, 2, 1), 7, np.uint8))
    assert 0 not in store
    assert 1 in store
    assert store.get(1).tolist() == np.full((2, 2, 1), 7).tolist()
    assert not SettledPictures.fit(10**15, np.zeros((9, 9, 3), np.uint8))
