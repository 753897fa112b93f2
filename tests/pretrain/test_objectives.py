"""Objectives without labels: what is hidden, what is predicted, what is carried on."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models.tiny_texts import save_family

from headstart.core.errors import ConfigError, DataError, ModelError
from headstart.data import load_inputs
from headstart.models.model import Model
from headstart.models.opening import open_model
from headstart.models.torchvision_import import prepare_torchvision
from headstart.models.vocabulary import train_vocabulary
from headstart.models.wanted import Wanted
from headstart.pretrain import pretraining_objective, unlabelled
from headstart.pretrain.corpus import Chunks, write_corpus
from headstart.pretrain.masked_series import stretches
from headstart.pretrain.masked_words import hide
from headstart.train.loop import Settings, Trainer, Work
from headstart.train.phase import Phase
from headstart.train.reader import Reader

WORDS = ["alpha", "beta", "gamma", "delta", "eps"]
CYCLE = [" ".join(WORDS[(i + k) % 5] for k in range(30)) for i in range(40)]


def language_network(arch: str = "width=24,layers=2,dropout=0"):
    return open_model("scratch:awd-lstm", Wanted(modality="text", corpus=lambda: CYCLE, arch=arch))


def trained(backbone, part, epochs: int, lr: float = 1e-2, checkpoint: Path | None = None, stop: int | None = None):
    """The losses of training on a part, and the model."""
    objective = pretraining_objective(backbone)
    model = Model(backbone, {})
    rates = dict.fromkeys(backbone.stages, lr) | {"*": lr}
    phase = Phase("all", rates, epochs, batch_size=4, objective="pretraining", keep="last", warmup=0.0)
    if stop is not None:
        phase = Phase(**{**phase.as_json(), "stop_after": stop})
    trainer = Trainer(
        model, Reader({"corpus": part}, backbone, 0), [Work(phase, [objective])], Settings(checkpoint=checkpoint)
    )
    history = trainer.run()
    return [e["train_loss"] for e in history.epochs], model, objective


class TestCorpus:
    def test_texts_stand_one_after_the_other(self, tmp_path: Path) -> None:
        tokenizer = train_vocabulary(CYCLE)
        corpus = write_corpus(["alpha beta", ("gamma", "delta eps")], tokenizer, tmp_path / "c.bin")
        assert tokenizer.tokens(corpus.tokens) == [
            "<bos>", "alpha", "beta", "<eos>", "<bos>", "gamma", "<eos>", "<bos>", "delta", "eps", "<eos>",
        ]  # fmt: skip

    def test_a_finished_file_is_used_again_for_the_same_texts_only(self, tmp_path: Path) -> None:
        tokenizer = train_vocabulary(CYCLE)
        write_corpus(CYCLE, tokenizer, tmp_path / "c.bin", "key")
        before = (tmp_path / "c.bin").stat().st_mtime_ns

        def refuse():
            raise AssertionError("read again")
            yield

        assert len(write_corpus(refuse(), tokenizer, tmp_path / "c.bin", "key")) == 40 * 32
        assert (tmp_path / "c.bin").stat().st_mtime_ns == before
        assert len(write_corpus(CYCLE[:2], tokenizer, tmp_path / "c.bin", "other")) == 64

    def test_pieces_overlap_by_what_is_asked(self, tmp_path: Path) -> None:
        corpus = write_corpus(CYCLE[:5], train_vocabulary(CYCLE), tmp_path / "c.bin")
        chunks = Chunks(corpus, 7, ahead=1)
        assert len(chunks) == (5 * 32 - 1) // 7
        one, two = chunks.read(3).inputs, chunks.read(4).inputs
        assert len(one) == 8
        assert one[-1] == two[0]
        train, held = chunks.split(0.25)
        assert (len(train), len(held)) == (len(chunks) - round(len(chunks) / 4), round(len(chunks) / 4))
        assert np.array_equal(held.read(0).inputs, chunks.read(len(train)).inputs)

    def test_empty_texts_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="nothing to learn"):
            write_corpus([], train_vocabulary(CYCLE), tmp_path / "c.bin")


class TestLanguageModel:
    def test_a_cycle_of_words_is_learned(self, tmp_path: Path) -> None:
        backbone = language_network()
        part = unlabelled(backbone, load_inputs(CYCLE, "text"), tmp_path)
        losses, model, objective = trained(backbone, part, 70)
        assert losses[0] > 1.2
        reader = Reader({"corpus": part}, backbone, 0)
        model.eval()
        with torch.no_grad():
            total, count = objective.judge(model, reader.batch("corpus", [0, 1], ("plain",), labels=False))
        assert count == 140
        assert objective.shown(total / count) < 1.35  # between texts it cannot know
        assert objective.shown(math.log(7)) == pytest.approx(7)

    def test_the_decoder_is_the_embedding(self, tmp_path: Path) -> None:
        backbone = language_network()
        part = unlabelled(backbone, load_inputs(CYCLE, "text"), tmp_path)
        before = backbone.token_embedding().weight.detach().clone()
        _, model, _ = trained(backbone, part, 1)
        sizes = {name: tuple(p.shape) for name, p in model.parts["decoder"].named_parameters()}
        assert sizes == {"bias": (backbone.tokenizer.size,)}
        assert not torch.equal(backbone.token_embedding().weight, before)

    def test_stopped_in_the_middle_it_ends_the_same(self, tmp_path: Path) -> None:
        arch = "width=24,layers=2"
        data = load_inputs(CYCLE, "text")
        whole = language_network(arch)
        trained(whole, unlabelled(whole, data, tmp_path / "a"), 4)
        halved, file = language_network(arch), tmp_path / "c.safetensors"
        trained(halved, unlabelled(halved, data, tmp_path / "b"), 4, checkpoint=file, stop=2)
        again = language_network(arch)
        trained(again, unlabelled(again, data, tmp_path / "b"), 4, checkpoint=file)
        for a, b in zip(whole.parameters(), again.parameters(), strict=True):
            assert torch.equal(a, b)

    def test_both_directions_are_refused(self, tmp_path: Path) -> None:
        backbone = open_model(
            "scratch:gru", Wanted(modality="text", corpus=lambda: CYCLE, arch="width=8,bidirectional=yes")
        )
        part = unlabelled(backbone, load_inputs(CYCLE, "text"), tmp_path)
        with pytest.raises(ModelError, match="both ends"):
            trained(backbone, part, 1)


class TestMaskedWords:
    def test_shares_are_those_of_the_paper(self) -> None:
        tokenizer = train_vocabulary(CYCLE)
        tokenizer.special = type(tokenizer.special)(**{**vars(tokenizer.special), "mask": 4})
        ids = torch.full((200, 100), 6)
        ids[:, 0], ids[:, -1] = tokenizer.special.bos, tokenizer.special.eos
        mask = torch.ones_like(ids, dtype=torch.bool)
        mask[:, 50:60] = False
        state, chosen = hide({"ids": ids, "mask": mask}, tokenizer, 0.15, seed=3)
        assert not chosen[:, [0, -1]].any()
        assert not chosen[:, 50:60].any()
        inside = chosen[:, 1:50]
        assert float(inside.float().mean()) == pytest.approx(0.15, abs=0.01)
        shown = state["ids"][chosen]
        assert float((shown == 4).float().mean()) == pytest.approx(0.8 + 0.1 / tokenizer.size, abs=0.02)
        assert torch.equal(state["ids"][~chosen], ids[~chosen])
        again, _ = hide({"ids": ids, "mask": mask}, tokenizer, 0.15, seed=3)
        other, _ = hide({"ids": ids, "mask": mask}, tokenizer, 0.15, seed=4)
        assert torch.equal(again["ids"], state["ids"])
        assert not torch.equal(other["ids"], state["ids"])

    def test_a_transformer_learns(self, tmp_path: Path) -> None:
        prepare_torchvision()
        backbone = open_model(f"hf:{save_family('bert', tmp_path / 'bert')}", Wanted(modality="text", size=16))
        texts = ["the cat sat on the mat", "a dog ran in the rain", "wind and rain"] * 10
        part = unlabelled(backbone, load_inputs(texts, "text"), tmp_path)
        losses, model, _ = trained(backbone, part, 12, lr=5e-3)
        assert losses[-1] < 0.8 * losses[0]
        assert set(model.parts) == {"decoder"}


class TestMaskedSeries:
    def test_stretches_have_the_share_and_length_asked(self) -> None:
        made = stretches(torch.Size((60, 300, 4)), 0.15, 3.0, seed=1)
        assert float(made.float().mean()) == pytest.approx(0.15, abs=0.01)
        starts = (made[:, 1:] & ~made[:, :-1]).sum() + made[:, 0].sum()
        assert float(made.sum() / starts) == pytest.approx(3.0, abs=0.2)
        assert not torch.equal(made[..., 0], made[..., 1])

    def test_a_wave_is_filled_in(self) -> None:
        r = np.random.default_rng(0)
        t = np.arange(40)
        waves = [np.sin(0.4 * t + r.uniform(0, 6))[:, None] * np.array([1.0, -2.0]) for _ in range(32)]
        data = load_inputs([w.astype(np.float32) for w in waves], "sequence")
        backbone = open_model(
            "scratch:gru",
            Wanted(modality="sequence", channels=2, mean=(0.0, 0.0), std=(0.7, 1.4), arch="layers=1,width=32"),
        )
        losses, model, objective = trained(backbone, data, 25)
        assert losses[0] > 0.6  # about 1 is guessing the mean
        batch = Reader({"x": data}, backbone, 0).batch("x", range(32), ("plain",), labels=False)
        model.eval()
        with torch.no_grad():
            total, count = objective.judge(model, batch)
        assert total / count < 0.2

    def test_missing_values_are_never_asked_for(self) -> None:
        backbone = open_model("scratch:gru", Wanted(modality="sequence", channels=1, arch="layers=1,width=8"))
        data = load_inputs([np.array([[1.0], [np.nan]] * 200, np.float32)], "sequence")
        _, model, objective = trained(backbone, data, 1)
        batch = Reader({"x": data}, backbone, 0).batch("x", [0], ("plain",), labels=False)
        model.eval()
        with torch.no_grad():
            total, count = objective.judge(model, batch)
        assert 10 < count < 60
        assert math.isfinite(total)


def test_pictures_have_none() -> None:
    with pytest.raises(ConfigError, match="pictures"):
        pretraining_objective(open_model("scratch:timm:test_resnet", Wanted(size=32)))


def test_objective_without_anything_known_is_silent() -> None:
    """A batch in which nothing was hidden gives a loss of zero with a gradient."""
    backbone = open_model("scratch:gru", Wanted(modality="sequence", channels=1, arch="layers=1,width=8"))
    data = load_inputs([np.full((4, 1), np.nan, np.float32), np.ones((4, 1), np.float32)], "sequence")
    losses, _, _ = trained(backbone, data, 2)
    assert all(math.isfinite(v) for v in losses)
