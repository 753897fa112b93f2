"""Headstart's own architectures: padding, directions, cuts, dropout of weights, vocabularies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from headstart.core.errors import ConfigError, ModelError
from headstart.data.schema import Sample
from headstart.models.awd_lstm import AwdLstmConfig, locked_dropout
from headstart.models.backbone import Backbone
from headstart.models.inception_time import masked_norm
from headstart.models.opening import open_model
from headstart.models.own import configured
from headstart.models.pooling import pool_positions
from headstart.models.recurrent import SeriesRecurrentConfig
from headstart.models.vocabulary import carry_over, extended, train_vocabulary
from headstart.models.wanted import Wanted

TEXTS = ["the cat sat on the mat", "a dog", "The dog and the cat, really!", "这本书 很好看", "a cat and a mat"] * 2
SERIES = ["gru", "lstm", "inception-time"]
WORDS = ["gru", "lstm", "awd-lstm"]


def series(**options) -> Wanted:
    return Wanted(**{"channels": 3, "modality": "sequence", "mean": (1.0, 0, 0), "std": (2.0, 1, 1)} | options)


def texts(**options) -> Wanted:
    return Wanted(**{"modality": "text", "corpus": lambda: TEXTS, "arch": "width=16"} | options)


def opened(name: str, **options) -> Backbone:
    if name in SERIES and "modality" not in options and "corpus" not in options:
        return open_model(f"scratch:{name}", series(**options)).eval()
    return open_model(f"scratch:{name}", texts(**options)).eval()


def words(name: str, **options) -> Backbone:
    return open_model(f"scratch:{name}", texts(**options)).eval()


def batch_of(backbone: Backbone, inputs: list) -> dict:
    settled = [backbone.settle(Sample(str(i), x)) for i, x in enumerate(inputs)]
    return backbone.begin(backbone.collate([backbone.preprocess(s, "plain", 0) for s in settled]))


@torch.no_grad()
def features(backbone: Backbone, inputs: list) -> torch.Tensor:
    return backbone.pool(backbone.run(batch_of(backbone, inputs)))


@pytest.fixture
def unequal() -> list[np.ndarray]:
    r = np.random.default_rng(0)
    made = [r.normal(size=(n, 3)).astype(np.float32) for n in (5, 17, 40)]
    made[1][3, 1] = np.nan
    return made


class TestPadding:
    @pytest.mark.parametrize("pooling", ["mean", "max", "last", "concat", "attention"])
    @pytest.mark.parametrize("name", SERIES)
    def test_series_alone_and_together_are_equal(self, name: str, pooling: str, unequal: list[np.ndarray]) -> None:
        backbone = opened(name, pooling=pooling)
        alone = torch.cat([features(backbone, [x]) for x in unequal])
        assert torch.allclose(features(backbone, unequal), alone, atol=1e-6)

    @pytest.mark.parametrize("pooling", ["mean", "last", "concat", "attention"])
    @pytest.mark.parametrize("name", WORDS)
    def test_texts_alone_and_together_are_equal(self, name: str, pooling: str) -> None:
        backbone = words(name, pooling=pooling)
        alone = torch.cat([features(backbone, [x]) for x in TEXTS[:5]])
        assert torch.allclose(features(backbone, TEXTS[:5]), alone, atol=1e-6)

    def test_inception_in_training_does_not_see_padding(self, unequal: list[np.ndarray]) -> None:
        """Statistics of the norm are those of the steps that there are."""
        norm, x = nn.BatchNorm1d(2), torch.randn(2, 2, 6)
        mask = torch.ones(2, 6, dtype=torch.bool)
        mask[1, 3:] = False
        made = masked_norm(norm, x, mask)
        inside = made.transpose(1, 2)[mask]
        assert torch.allclose(inside.mean(0), torch.zeros(2), atol=1e-6)
        assert torch.allclose(inside.var(0, unbiased=False), torch.ones(2), atol=1e-3)
        assert (made.transpose(1, 2)[~mask] == 0).all()


class TestSeries:
    def test_channels_are_standardised_and_missing_is_the_mean(self) -> None:
        backbone = opened("gru")
        x = np.array([[3.0, 0, 0], [np.nan, 1, 2]], np.float32)
        state = batch_of(backbone, [x])
        assert state["x"][0].tolist() == [[1, 0, 0], [0, 1, 2]]

    def test_indicators_say_where_values_are_missing(self) -> None:
        backbone = opened("gru", arch="indicators=yes")
        x = np.array([[3.0, 0, 0], [np.nan, 1, 2]], np.float32)
        assert batch_of(backbone, [x])["x"][0, :, 3:].tolist() == [[0, 0, 0], [1, 0, 0]]
        assert features(backbone, [x]).shape == (1, 384)

    def test_last_of_two_directions_are_both_ends(self) -> None:
        x = torch.arange(24.0).reshape(1, 6, 4)
        mask = torch.tensor([[True] * 4 + [False] * 2])
        assert pool_positions(x, mask, "last", 2).tolist() == [[12, 13, 2, 3]]
        assert pool_positions(x, mask, "last").tolist() == [[12, 13, 14, 15]]

    def test_pytorch_says_the_same(self) -> None:
        """One layer in both directions against nn.GRU run by hand."""
        backbone = opened("gru", arch="layers=1,width=8", pooling="last", mean=(0.0,) * 3, std=(1.0,) * 3)
        x = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)
        rnn = backbone.stages["rnn.0"].rnn
        _, h = rnn(torch.from_numpy(x)[None])
        assert torch.allclose(features(backbone, [x])[0], torch.cat([h[0, 0], h[1, 0]]), atol=1e-6)


class TestStages:
    @pytest.mark.parametrize("name", [*SERIES, *(f"words:{n}" for n in WORDS)])
    def test_every_cut_resumes_exactly_and_owns_every_tensor_once(self, name: str, unequal: list[np.ndarray]) -> None:
        kind, _, own = name.rpartition(":")
        backbone, inputs = (words(own, pooling="attention"), TEXTS) if kind else (opened(own), unequal)
        state = batch_of(backbone, inputs)
        with torch.no_grad():
            whole = backbone.pool(backbone.run(state))
            for cut in backbone.cuts:
                kept = backbone.run(state, upto=cut)
                assert torch.equal(backbone.pool(backbone.run(kept, after=cut)), whole), cut
        owned = [id(p) for group in backbone.stage_parameters().values() for p in group]
        assert sorted(owned) == sorted(id(p) for p in backbone.parameters())

    def test_ending_early_keeps_names_and_pooling(self) -> None:
        backbone = words("awd-lstm", pooling="attention")
        before = features(backbone, TEXTS)
        kept = set(backbone.tensors())
        backbone.end_at("rnn.0")
        assert list(backbone.stages) == ["embedding", "rnn.0", "pooling"]
        assert backbone.ended_at == "rnn.0"
        assert set(backbone.tensors()) < kept
        assert not torch.allclose(features(backbone, TEXTS), before)
        with pytest.raises(ModelError, match=r"no stage 'rnn.2'"):
            backbone.end_at("rnn.2")

    def test_weights_are_a_function_of_the_seed(self) -> None:
        one, two, three = (opened("lstm", seed=s) for s in (1, 1, 2))
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
        assert not torch.equal(next(one.parameters()), next(three.parameters()))


class TestAwdLstm:
    def test_weights_drop_in_training_only_and_stay_raw(self) -> None:
        backbone = words("awd-lstm", arch="width=16,input_dropout=0,hidden_dropout=0,output_dropout=0")
        raw = {n: p.clone() for n, p in backbone.named_parameters()}
        still = features(backbone, TEXTS)
        assert torch.equal(still, features(backbone, TEXTS))
        backbone.train()
        assert not torch.equal(features(backbone, TEXTS), features(backbone, TEXTS))
        backbone.eval()
        assert torch.equal(features(backbone, TEXTS), still)
        assert all(torch.equal(p, raw[n]) for n, p in backbone.named_parameters())

    def test_without_dropout_it_is_an_lstm(self) -> None:
        backbone = words("awd-lstm", arch="width=16,layers=1", pooling="last")
        stage, text = backbone.stages["rnn.0"], TEXTS[0]
        ids = torch.from_numpy(backbone.tokenizer.encode(text)).long()[None]
        _, (h, _) = stage.rnn(backbone.token_embedding()(ids))
        assert torch.allclose(features(backbone, [text])[0], h[0, 0], atol=1e-6)

    def test_locked_dropout_drops_the_same_features_at_all_steps(self) -> None:
        torch.manual_seed(0)
        x = locked_dropout(torch.ones(3, 7, 200), 0.4, True)
        assert (x == x[:, :1]).all()
        assert float((x == 0).float().mean()) == pytest.approx(0.4, abs=0.06)
        assert x.unique().tolist() == pytest.approx([0.0, 1 / 0.6])

    def test_state_is_carried_on(self) -> None:
        """Two halves, the state carried over, are the whole."""
        backbone = words("awd-lstm")
        for stage in backbone.stages.values():
            stage.carries = True
        ids = torch.randint(4, backbone.tokenizer.size, (2, 12))
        with torch.no_grad():
            whole = backbone.run({"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)})["x"]
            half = {"ids": ids[:, :6], "mask": torch.ones(2, 6, dtype=torch.bool)}
            first = backbone.run(half)
            carried = {k: v for k, v in first.items() if k.startswith("carry.")}
            assert set(carried) == {"carry.rnn.0", "carry.rnn.1", "carry.rnn.2"}
            second = backbone.run({**half, "ids": ids[:, 6:], **carried})
        assert torch.allclose(torch.cat([first["x"], second["x"]], 1), whole, atol=1e-6)

    def test_defaults_are_those_of_the_paper(self) -> None:
        config = AwdLstmConfig()
        assert (config.layers, config.width, config.words) == (3, 400, 10_000)


class TestVocabulary:
    def test_words_and_characters_of_unspaced_scripts(self) -> None:
        tokenizer = train_vocabulary(TEXTS)
        tokens = tokenizer.tokens(tokenizer.encode("The cat 这本书, unheard!"))
        assert tokens == ["<bos>", "the", "cat", "这", "本", "书", ",", "<unk>", "!", "<eos>"]

    def test_the_most_frequent_words_are_kept(self) -> None:
        tokenizer = train_vocabulary(["b b b a a c"] * 2 + ["once"], words=6)
        assert set(tokenizer.vocabulary) == {"<pad>", "<unk>", "<bos>", "<eos>", "a", "b"}
        assert "once" not in train_vocabulary(["b b once"], words=100).vocabulary

    def test_files_bring_it_back(self) -> None:
        from headstart.models.tokens import Tokenizer

        tokenizer = train_vocabulary(TEXTS)
        again = Tokenizer.from_files(tokenizer.files())
        assert again.vocabulary == tokenizer.vocabulary
        assert again.encode(TEXTS[2]).tolist() == tokenizer.encode(TEXTS[2]).tolist()

    def test_embeddings_of_shared_words_are_carried_over(self) -> None:
        old, new = train_vocabulary(["cat dog"] * 2), train_vocabulary(["dog bird bird"] * 2)
        weight = torch.randn(old.size, 3)
        made, counts = carry_over(old, weight, new)
        assert (counts.shared, counts.total) == (5, 6)
        assert torch.equal(made[new.vocabulary["dog"]], weight[old.vocabulary["dog"]])
        assert torch.allclose(made[new.vocabulary["bird"]], weight.mean(0))

    def test_extending_keeps_numbers(self) -> None:
        old, new = train_vocabulary(["cat dog"] * 2), train_vocabulary(["dog bird bird"] * 2)
        both = extended(old, new)
        assert {t: both.vocabulary[t] for t in old.vocabulary} == old.vocabulary
        assert both.size == old.size + 1
        assert both.tokens(both.encode("bird dog")) == ["<bos>", "bird", "dog", "<eos>"]

    def test_a_network_reads_another_vocabulary(self) -> None:
        backbone = words("awd-lstm")
        known = features(backbone, ["the cat"])
        counts = backbone.with_vocabulary(extended(backbone.tokenizer, train_vocabulary(["zebra zebra the"] * 2)))
        assert torch.allclose(features(backbone, ["the cat"]), known)
        assert counts.total == counts.shared + 1
        assert backbone.carried == counts


class TestArchitecture:
    def test_unknown_keys_and_values_are_named(self) -> None:
        with pytest.raises(ConfigError, match=r"no 'widht'") as told:
            configured(SeriesRecurrentConfig, "widht=3")
        assert "width" in told.value.hint
        for wrong in ("width=wide", "layers=0", "dropout=-1", "bidirectional=perhaps", "width=7"):
            with pytest.raises(ConfigError, match="--arch"):
                configured(SeriesRecurrentConfig, wrong)
        made = configured(SeriesRecurrentConfig, "layers=3, width=64,bidirectional=no")
        assert (made.layers, made.width, made.bidirectional) == (3, 64, False)

    def test_other_data_are_refused(self) -> None:
        with pytest.raises(ModelError, match="not for the modality 'text'") as told:
            open_model("scratch:inception-time", texts())
        assert "scratch:awd-lstm" in told.value.hint
        with pytest.raises(ModelError, match="not for the modality 'sequence'"):
            open_model("scratch:awd-lstm", series())
        with pytest.raises(ModelError, match="there are none"):
            open_model("scratch:gru", Wanted(modality="text"))
        with pytest.raises(ConfigError, match="pool"):
            opened("gru", pooling="cls")
