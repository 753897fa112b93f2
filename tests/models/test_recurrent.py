"""LSTM and GRU: packed padding, directions, pooling, stages, normalisation in the bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models.own_networks import TEXTS, batch_of, features, reopened, saved, series_network, text_network
from torch import Tensor

from headstart.core.errors import ConfigError
from headstart.models.model import Model
from headstart.models.opening import open_model
from headstart.models.wanted import Wanted
from headstart.train.modes import set_train_mode
from headstart.train.phase import Phase

CELLS = ["gru", "lstm"]
POOLINGS = ["attention", "last", "max", "mean", "concat"]


def unequal_series() -> list[np.ndarray]:
    r = np.random.default_rng(0)
    return [r.normal(size=(n, 3)).astype(np.float32) for n in (4, 11, 30)]


def by_hand(positions: Tensor, how: str, weight: Tensor | None = None) -> Tensor:
    """(L, D) of one unpadded series read from both ends -> its pooled vector."""
    half = positions.shape[1] // 2
    last = torch.cat([positions[-1, :half], positions[0, half:]])
    if how == "attention":
        assert weight is not None
        return torch.softmax(positions @ weight, 0) @ positions
    return {
        "last": last,
        "max": positions.amax(0),
        "mean": positions.mean(0),
        "concat": torch.cat([last, positions.amax(0), positions.mean(0)]),
    }[how]


class TestPadding:
    @pytest.mark.parametrize("how", POOLINGS)
    @pytest.mark.parametrize("cell", CELLS)
    def test_pooled_vectors_are_those_of_torch_without_padding(self, cell: str, how: str) -> None:
        backbone = series_network(cell, "layers=1,width=8", pooling=how)
        weight = None
        if how == "attention":
            weight = backbone.stages["pooling"].attention.weight
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
        found = features(backbone, unequal_series())
        for row, x in zip(found, unequal_series(), strict=True):
            with torch.no_grad():
                positions, _ = backbone.stages["rnn.0"].rnn(torch.from_numpy(x)[None])
                torch.testing.assert_close(row, by_hand(positions[0], how, weight), atol=1e-6, rtol=1e-5)

    @pytest.mark.parametrize("cell", CELLS)
    def test_what_stands_behind_the_end_is_never_read(self, cell: str) -> None:
        backbone = text_network(cell, "bidirectional=yes", pooling="concat")
        batch = batch_of(backbone, TEXTS[:3])
        other = {**batch, "ids": batch["ids"].masked_fill(~batch["mask"], 5)}
        assert not torch.equal(batch["ids"], other["ids"])
        with torch.no_grad():
            assert torch.equal(backbone.pool(backbone.run(batch)), backbone.pool(backbone.run(other)))

    @pytest.mark.parametrize("cell", CELLS)
    def test_gradients_are_those_of_the_texts_one_by_one(self, cell: str) -> None:
        """The loss of a padded batch moves the weights as the texts alone would."""
        together, alone = (text_network(cell, "bidirectional=yes", pooling="concat").train() for _ in range(2))
        together.pool(together.run(batch_of(together, TEXTS[:3]))).square().sum().backward()
        for text in TEXTS[:3]:
            alone.pool(alone.run(batch_of(alone, [text]))).square().sum().backward()
        for (name, a), (_, b) in zip(together.named_parameters(), alone.named_parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, atol=1e-5, rtol=1e-4, msg=name)

    def test_an_empty_text_has_a_vector(self) -> None:
        assert torch.isfinite(features(text_network("gru", pooling="concat"), ["", "the cat"])).all()


class TestDirections:
    def test_a_backward_half_reads_from_the_end(self) -> None:
        """Changing the last step changes the backward features of the first position, never the forward ones."""
        backbone = series_network("gru", "layers=1,width=8")
        one = unequal_series()[1]
        two = one.copy()
        two[-1] += 1
        with torch.no_grad():
            first, second = (backbone.run(batch_of(backbone, [x]))["x"][0, 0] for x in (one, two))
        assert torch.equal(first[:4], second[:4])
        assert not torch.equal(first[4:], second[4:])

    def test_one_direction_never_sees_what_follows(self) -> None:
        backbone = text_network("lstm", pooling="last")
        with torch.no_grad():
            first, second = (
                backbone.run(batch_of(backbone, [t]))["x"][0, :4] for t in ("the cat sat on", "the cat sat a mat")
            )
        assert torch.equal(first, second)

    @pytest.mark.parametrize("how", POOLINGS)
    def test_every_stage_of_both_directions_can_be_pooled(self, how: str) -> None:
        """What a choice of stages asks for; an attention that comes later has not been learnt: the mean."""
        backbone = text_network("gru", "bidirectional=yes", pooling=how)
        for name, state in backbone.walk(batch_of(backbone, TEXTS)):
            assert torch.isfinite(backbone.pool(state)).all(), name
            if how == "attention" and name != "pooling":
                weight = state["mask"].float()[..., None]
                expected = (state["x"] * weight).sum(1) / weight.sum(1)
                torch.testing.assert_close(backbone.pool(state), expected)


class TestWindows:
    @pytest.mark.parametrize("how", POOLINGS)
    def test_a_long_text_is_the_mean_of_its_windows(self, how: str) -> None:
        backbone = text_network("gru", "bidirectional=yes", pooling=how, size=6, long="windows")
        inner = backbone.tokenizer.encode(" ".join(TEXTS[:3]))[1:-1]
        bos, eos = backbone.tokenizer.special.bos, backbone.tokenizer.special.eos
        parts = [np.array([bos, *inner[i : i + 4], eos], np.int32) for i in range(0, len(inner), 4)]
        assert len(parts) == 4
        expected = torch.cat([features(backbone, [part]) for part in parts]).mean(0)
        found = features(backbone, [" ".join(TEXTS[:3]), "a dog"])
        torch.testing.assert_close(found[0], expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(found[1:], features(backbone, ["a dog"]), atol=1e-6, rtol=1e-5)

    def test_truncation_reads_the_first_window_alone(self) -> None:
        text = " ".join(TEXTS[:3])
        cut = text_network("gru", size=6)
        torch.testing.assert_close(features(cut, [text]), features(cut, ["the cat sat on"]))


class TestStages:
    @pytest.mark.parametrize("cell", CELLS)
    def test_they_run_from_the_embedding_to_the_top(self, cell: str) -> None:
        assert list(text_network(cell, "layers=3").stages) == ["embedding", "rnn.0", "rnn.1", "rnn.2"]
        assert list(series_network(cell, "layers=3").stages) == ["rnn.0", "rnn.1", "rnn.2"]
        assert list(series_network(cell, "layers=1", pooling="attention").stages) == ["rnn.0", "pooling"]

    def test_a_frozen_stage_has_no_gradient_and_no_dropout(self) -> None:
        backbone = text_network("lstm", "dropout=0.5")
        model = Model(backbone, {})
        rates = {"rnn.1": 1e-3}
        for name, parameters in backbone.stage_parameters().items():
            for parameter in parameters:
                parameter.requires_grad_(name in rates)
        set_train_mode(model, Phase("top", rates, 1, batch_size=4))
        state = batch_of(backbone, TEXTS)
        first, second = (backbone.run(state, upto="rnn.0")["x"] for _ in range(2))
        assert torch.equal(first, second)
        assert not torch.equal(backbone.run(state)["x"], backbone.run(state)["x"])
        backbone.pool(backbone.run(state)).square().sum().backward()
        for name, parameters in backbone.stage_parameters().items():
            assert all((p.grad is not None) == (name == "rnn.1") for p in parameters), name

    def test_ending_at_a_narrower_embedding_keeps_attention(self, tmp_path: Path) -> None:
        backbone = text_network("gru", pooling="attention")
        backbone.end_at("embedding")
        assert list(backbone.stages) == ["embedding", "pooling"]
        torch.nn.init.normal_(backbone.stages["pooling"].attention.weight)
        expected = features(backbone, TEXTS)
        assert expected.shape == (len(TEXTS), 8)
        assert torch.equal(features(reopened(backbone, tmp_path, 8), TEXTS), expected)


class TestBundle:
    @pytest.mark.parametrize("cell", [*CELLS, "inception-time"])
    def test_channel_normalisation_comes_back(self, cell: str, tmp_path: Path) -> None:
        mean, std = (1.1, -200.3, 0.1), (2.7, 31.3, 1e-3)
        backbone = series_network(cell, mean=mean, std=std)
        inputs = [x * np.array(std, np.float32) + np.array(mean, np.float32) for x in unequal_series()]
        expected = features(backbone, inputs)
        again = reopened(backbone, tmp_path, expected.shape[1])
        assert (again.input_spec.mean, again.input_spec.std) == (mean, std)
        assert torch.equal(features(again, inputs), expected)
        assert not torch.allclose(features(series_network(cell), inputs), expected, atol=1e-3)

    @pytest.mark.parametrize("how", POOLINGS)
    def test_a_network_of_words_comes_back(self, how: str, tmp_path: Path) -> None:
        backbone = text_network("lstm", "bidirectional=yes", pooling=how)
        expected = features(backbone, TEXTS)
        assert torch.equal(features(reopened(backbone, tmp_path, expected.shape[1]), TEXTS), expected)

    def test_another_domain_is_standardised_by_its_own_statistics(self, tmp_path: Path) -> None:
        folder = saved(series_network("gru", mean=(5.0,) * 3), tmp_path, 128)
        wanted = Wanted(modality="sequence", channels=3, mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 2.0))
        again = open_model(f"run:{folder}", wanted)
        state = batch_of(again, [np.array([[1, 2, 7]], np.float32)])
        assert state["x"].tolist() == [[[0, 0, 2]]]

    def test_a_pooling_that_it_has_not_is_refused(self, tmp_path: Path) -> None:
        folder = saved(text_network("gru"), tmp_path, 36)
        with pytest.raises(ConfigError, match="cannot pool positions by 'cls'"):
            open_model(f"run:{folder}", Wanted(modality="text", pooling="cls", corpus=lambda: TEXTS))
