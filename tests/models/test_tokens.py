"""Windows of tokens, and tokenizers that do not fit their network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models.own_networks import TEXTS, features, saved, text_network
from tests.models.tiny_texts import SENTENCES, save_family

from headstart.core.errors import ModelError
from headstart.data.schema import Sample
from headstart.models.bundle import load_bundle
from headstart.models.opening import open_model
from headstart.models.token_backbone import MOST_WINDOWS
from headstart.models.tokens import FILES, Tokenizer
from headstart.models.torchvision_import import prepare_torchvision
from headstart.models.vocabulary import train_vocabulary
from headstart.models.wanted import Wanted

prepare_torchvision()
WORDS = "one two three four five six seven eight nine ten"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_vocabulary([WORDS] * 2)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a tiny BERT."""
    root = tmp_path_factory.mktemp("bert")
    backbone = open_model(f"hf:{save_family('bert', root / 'hub')}", Wanted(modality="text", size=24))
    return saved(backbone, root / "bundle", 16)


class TestWindows:
    def test_every_token_stands_in_one_window(self, tokenizer: Tokenizer) -> None:
        windows, sides = tokenizer.windows(WORDS, 5, most=16)
        bos, eos = tokenizer.special.bos, tokenizer.special.eos
        assert sides is None
        assert all(w[0] == bos and w[-1] == eos and len(w) <= 5 for w in windows)
        assert [n for w in windows for n in w[1:-1]] == tokenizer.encode(WORDS)[1:-1].tolist()

    def test_as_many_windows_as_allowed(self, tokenizer: Tokenizer) -> None:
        windows, _ = tokenizer.windows(WORDS, 5, most=2)
        assert tokenizer.tokens(windows[1]) == ["<bos>", "four", "five", "six", "<eos>"]
        assert len(windows) == 2

    def test_many_texts_at_once_are_as_one_by_one(self, tokenizer: Tokenizer) -> None:
        texts = ["one two three four five six seven", "eight", ("one two three", "four five six seven"), "two " * 40]
        for most in (1, 3):
            together = tokenizer.windows_of(texts, 8, most)
            assert together == [tokenizer.windows(text, 8, most) for text in texts]

    def test_a_short_text_has_one(self, tokenizer: Tokenizer) -> None:
        windows, _ = tokenizer.windows("one two", 5, most=16)
        assert windows == [tokenizer.encode("one two").tolist()]

    def test_the_longer_side_of_a_pair_is_cut(self, tokenizer: Tokenizer) -> None:
        windows, sides = tokenizer.windows(("one", WORDS), 8)
        assert sides is not None
        assert tokenizer.tokens(windows[0]) == ["<bos>", "one", "<eos>", "one", "two", "three", "four", "<eos>"]
        assert sides[0] == [0, 0, 0, 1, 1, 1, 1, 1]

    def test_long_pairs_are_shortened_before_they_are_paired(self, tokenizer: Tokenizer) -> None:
        for pair in ((f"{WORDS} " * 300, f"{WORDS} " * 4), (f"{WORDS} " * 4, f"{WORDS} " * 90), (WORDS, WORDS)):
            whole = tokenizer._cut(16).encode(*pair)
            assert tokenizer.windows_of([pair], 16) == [([whole.ids], [whole.type_ids])]
        assert max(map(len, tokenizer._begun((f"{WORDS} " * 300, f"{WORDS} " * 200), 32))) < 200
        assert tokenizer._begun(("one two", "three"), 32) == ("one two", "three")

    def test_limiting_leaves_the_tokenizer_unlimited(self, tokenizer: Tokenizer) -> None:
        tokenizer.windows(WORDS, 4)
        assert len(tokenizer.encode(WORDS)) == 12

    def test_very_long_texts_are_read_in_sixteen_windows(self) -> None:
        backbone = text_network("gru", size=6, long="windows")
        sample = backbone.settle(Sample("0", "the cat " * 500))
        assert sample.inputs.shape == (MOST_WINDOWS, 6)

    def test_shorter_windows_are_filled_up_and_masked(self) -> None:
        backbone = text_network("gru", size=6, long="windows")
        settled = [backbone.settle(Sample("0", t)) for t in ("the cat sat on the", "a dog")]
        batch = backbone.collate([backbone.preprocess(s, "plain", 0) for s in settled])
        assert batch["rows"].tolist() == [0, 0, 1]
        assert batch["mask"].sum(1).tolist() == [6, 3, 4]

    def test_tokens_of_a_corpus_enter_as_they_are(self) -> None:
        backbone = text_network("gru", size=6)
        sample = backbone.settle(Sample("0", np.arange(9, dtype=np.int32)))
        assert sample.inputs.tolist() == [list(range(9))]


class TestMisfits:
    def test_a_bundle_with_the_tokenizer_of_another_model(self, bert: Path, tmp_path: Path) -> None:
        for file in bert.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        larger = train_vocabulary([" ".join(f"word{i}" for i in range(200))] * 2)
        for name, content in larger.files().items():
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=r"has 204 tokens, its network 9\d: they do not fit"):
            load_bundle(tmp_path)

    def test_a_bundle_without_its_tokenizer(self, bert: Path, tmp_path: Path) -> None:
        for file in bert.iterdir():
            if file.name != FILES[0]:
                (tmp_path / file.name).write_bytes(file.read_bytes())
        with pytest.raises(ModelError, match=r"tokenizer in .* cannot be read"):
            load_bundle(tmp_path)

    def test_a_run_asked_for_more_tokens_than_positions(self, bert: Path) -> None:
        with pytest.raises(ModelError, match="40 positions; 41 tokens") as told:
            open_model(f"run:{bert}", Wanted(modality="text", size=41))
        assert "--max-length 40" in told.value.hint

    def test_a_run_asked_for_a_pooling_that_it_has_not(self, bert: Path) -> None:
        with pytest.raises(ModelError, match="cannot pool positions by 'last'"):
            open_model(f"run:{bert}", Wanted(modality="text", pooling="last"))

    def test_a_run_may_learn_to_weigh_positions_anew(self, bert: Path) -> None:
        mean, attention = (open_model(f"run:{bert}", Wanted(modality="text", pooling=p)) for p in ("mean", "attention"))
        assert list(attention.stages)[-1] == "pooling"
        torch.testing.assert_close(features(attention.eval(), SENTENCES), features(mean.eval(), SENTENCES))

    def test_own_networks_may_too(self, tmp_path: Path) -> None:
        folder = saved(text_network("gru", pooling="mean"), tmp_path, 12)
        again = open_model(f"run:{folder}", Wanted(modality="text", pooling="attention")).eval()
        torch.testing.assert_close(features(again, TEXTS), features(text_network("gru", pooling="mean"), TEXTS))

    def test_what_was_learnt_of_positions_may_be_left_behind(self, tmp_path: Path) -> None:
        folder = saved(text_network("gru", pooling="attention"), tmp_path, 12)
        again = open_model(f"run:{folder}", Wanted(modality="text", pooling="max")).eval()
        assert "pooling" not in again.stages
        assert torch.equal(features(again, TEXTS), features(text_network("gru", pooling="max"), TEXTS))
