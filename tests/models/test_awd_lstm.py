"""AWD-LSTM against its paper: what is dropped, for how long, how it starts, and what it is without."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tests.models.own_networks import TEXTS, batch_of, features, reopened, text_network
from torch.nn import functional as F

from headstart.models.awd_lstm import AwdLstmConfig, WeightDropped, Words


def dropped_stage(weights: float, features: float = 0.0) -> WeightDropped:
    torch.manual_seed(0)
    return WeightDropped("rnn.0", 5, 5, weights, features).train()


def state_of(x: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"x": x, "mask": torch.ones(x.shape[:2], dtype=torch.bool)}


class TestWeightDrop:
    def test_it_is_an_lstm_with_some_hidden_weights_gone(self) -> None:
        """The formula, with the mask drawn by hand."""
        stage, x = dropped_stage(0.5), torch.randn(2, 6, 5)
        torch.manual_seed(3)
        found = stage(state_of(x))["x"]
        torch.manual_seed(3)
        hidden = F.dropout(stage.rnn.weight_hh_l0, 0.5, True)
        share = float((hidden == 0).float().mean())
        assert 0.3 < share < 0.7
        plain = torch.nn.LSTM(5, 5, batch_first=True)
        plain.load_state_dict({**stage.rnn.state_dict(), "weight_hh_l0": hidden})
        torch.testing.assert_close(found, plain(x)[0])

    def test_the_first_step_has_no_hidden_state_to_drop(self) -> None:
        """Input-to-hidden weights are whole, and so is the first step."""
        stage, x = dropped_stage(0.9), torch.randn(2, 6, 5)
        found, whole = stage(state_of(x))["x"], stage.rnn(x)[0]
        torch.testing.assert_close(found[:, 0], whole[:, 0])
        assert not torch.allclose(found[:, 1:], whole[:, 1:], atol=1e-4)

    def test_dropped_weights_have_no_gradient(self) -> None:
        stage = dropped_stage(0.5)
        torch.manual_seed(3)
        stage(state_of(torch.randn(2, 6, 5)))["x"].sum().backward()
        torch.manual_seed(3)
        torch.randn(2, 6, 5)
        kept = F.dropout(torch.ones_like(stage.rnn.weight_hh_l0), 0.5, True) > 0
        assert stage.rnn.weight_hh_l0.grad is not None
        assert torch.equal(stage.rnn.weight_hh_l0.grad != 0, kept)

    def test_nothing_is_dropped_in_eval_mode(self) -> None:
        stage, x = dropped_stage(0.9, 0.9).eval(), torch.randn(2, 6, 5)
        torch.testing.assert_close(stage(state_of(x))["x"], stage.rnn(x)[0])

    def test_a_state_at_the_start_is_taken_up(self) -> None:
        stage, x, h, c = dropped_stage(0.0), torch.randn(2, 6, 5), torch.randn(1, 2, 5), torch.randn(1, 2, 5)
        found = stage({**state_of(x), "carry.rnn.0": torch.cat([h, c]).transpose(0, 1)})["x"]
        torch.testing.assert_close(found, stage.rnn(x, (h, c))[0])


class TestVariationalDropout:
    def test_each_sequence_drops_features_of_its_own_at_all_steps(self) -> None:
        stage = dropped_stage(0.0, 0.5)
        x = torch.randn(8, 6, 5)
        made = stage(state_of(x))["x"]
        gone = made == 0
        assert torch.equal(gone, gone[:, :1].expand_as(gone))
        assert len({tuple(row.tolist()) for row in gone[:, 0]}) > 1
        torch.testing.assert_close(made[~gone], (stage.rnn(x)[0] * 2)[~gone])

    def test_a_word_is_dropped_at_all_its_places_and_others_are_scaled(self) -> None:
        torch.manual_seed(0)
        words = Words(40, 3, words=0.25, features=0.0).train()
        ids = torch.randint(40, (6, 50))
        made = words({"ids": ids})["x"]
        gone = (made == 0).all(-1)
        names = {int(i) for i in ids[gone]}
        assert names.isdisjoint(int(i) for i in ids[~gone])
        assert 3 <= len(names) <= 20
        torch.testing.assert_close(made[~gone], (words.table(ids) / 0.75)[~gone])


class TestNetwork:
    def test_rates_stand_where_the_paper_puts_them(self) -> None:
        """Between the layers the hidden rate, behind the last the output rate, in front the input rate."""
        stages = text_network("awd-lstm", "input_dropout=0.4,hidden_dropout=0.3,output_dropout=0.2").stages
        assert stages["embedding"].features == pytest.approx(0.4)
        assert [stages[f"rnn.{i}"].features for i in range(3)] == pytest.approx([0.3, 0.3, 0.2])
        assert [stages[f"rnn.{i}"].weights for i in range(3)] == pytest.approx([0.2] * 3)

    def test_one_factor_scales_all_rates(self) -> None:
        backbone = text_network("awd-lstm", "dropout=0").train()
        assert torch.equal(features(backbone, TEXTS), features(backbone, TEXTS))
        assert text_network("awd-lstm", "dropout=0.5").stages["rnn.0"].weights == pytest.approx(0.1)

    def test_defaults_are_three_layers_of_400_and_ten_thousand_words(self) -> None:
        config = AwdLstmConfig()
        assert (config.layers, config.width, config.words) == (3, 400, 10_000)

    def test_weights_start_within_the_bounds_of_the_paper(self) -> None:
        backbone = text_network("awd-lstm")
        table = backbone.token_embedding().weight
        assert 0.09 < float(table.detach().abs().max()) <= 0.1
        bound = 1 / math.sqrt(12)
        for i in range(3):
            largest = max(float(p.detach().abs().max()) for p in backbone.stages[f"rnn.{i}"].parameters())
            assert 0.9 * bound < largest <= bound

    def test_words_are_as_wide_as_the_top_so_that_they_can_be_tied(self) -> None:
        backbone = text_network("awd-lstm")
        state = backbone.run(batch_of(backbone, TEXTS))
        assert state["x"].shape[-1] == backbone.token_embedding().embedding_dim == backbone.width

    def test_stages_run_from_the_embedding_to_the_top(self) -> None:
        backbone = text_network("awd-lstm")
        assert list(backbone.stages) == list(backbone.cuts) == ["embedding", "rnn.0", "rnn.1", "rnn.2"]

    def test_a_bundle_gives_the_same(self, tmp_path: Path) -> None:
        backbone = text_network("awd-lstm")
        expected = features(backbone, TEXTS)
        assert torch.equal(features(reopened(backbone, tmp_path, 36), TEXTS), expected)

    def test_half_precision_carries_its_state_on(self) -> None:
        backbone = text_network("awd-lstm").train()
        for stage in backbone.stages.values():
            stage.carries = True
        batch = batch_of(backbone, TEXTS)
        with torch.autocast("cpu", torch.bfloat16):
            first = backbone.run(batch)
            carried = {k: v for k, v in first.items() if k.startswith("carry.")}
            second = backbone.run({**batch, **carried})
        assert len(carried) == 3
        assert torch.isfinite(second["x"]).all()
