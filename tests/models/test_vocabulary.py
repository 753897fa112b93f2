"""Vocabularies, and what a network that was pretrained on other texts brings along."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.models.own_networks import TEXTS, features, saved, text_network

from headstart.models.opening import open_model
from headstart.models.tokens import Tokenizer
from headstart.models.vocabulary import SPECIAL, carry_over, extended, train_vocabulary
from headstart.models.wanted import Wanted

OTHERS = ["the zebra sat on the cat", "zebra and lion", "a lion"] * 3


def again(folder: Path, vocabulary: str) -> object:
    wanted = Wanted(modality="text", corpus=lambda: OTHERS, vocabulary=vocabulary)
    return open_model(f"run:{folder}", wanted).eval()


class TestTraining:
    def test_special_tokens_come_first_and_words_by_frequency(self) -> None:
        vocabulary = train_vocabulary(["b b b c c a a"]).vocabulary
        in_order = sorted(vocabulary, key=vocabulary.__getitem__)
        assert in_order == [*SPECIAL.values(), "b", "a", "c"]

    def test_it_is_the_same_whenever_it_is_made(self) -> None:
        assert train_vocabulary(TEXTS).vocabulary == train_vocabulary(list(TEXTS)).vocabulary

    def test_numbers_leave_no_gap(self) -> None:
        tokenizer = train_vocabulary(TEXTS)
        assert sorted(tokenizer.vocabulary.values()) == list(range(tokenizer.size))

    def test_the_most_words_include_the_special_tokens(self) -> None:
        assert train_vocabulary(TEXTS, words=7).size == 7

    def test_both_texts_of_a_pair_are_read(self) -> None:
        assert {"left", "right"} <= set(train_vocabulary([("left", "right")] * 2).vocabulary)

    def test_unknown_words_are_unknown(self) -> None:
        tokenizer = train_vocabulary(TEXTS)
        assert tokenizer.encode("the quokka")[2] == tokenizer.special.unk

    def test_texts_without_words_leave_the_special_tokens(self) -> None:
        assert set(train_vocabulary(["", " "]).vocabulary) == set(SPECIAL.values())


class TestCarryOver:
    def test_shared_rows_are_exact_and_new_ones_are_the_mean(self) -> None:
        old, new = train_vocabulary(TEXTS), train_vocabulary(OTHERS)
        weight = torch.randn(old.size, 5)
        made, counts = carry_over(old, weight, new)
        shared = old.vocabulary.keys() & new.vocabulary.keys()
        assert (counts.shared, counts.total) == (len(shared), new.size)
        assert made.shape == (new.size, 5)
        for token, number in new.vocabulary.items():
            if token in shared:
                assert torch.equal(made[number], weight[old.vocabulary[token]]), token
            else:
                assert torch.equal(made[number], weight.mean(0)), token
        assert len(shared) < new.size

    def test_special_tokens_are_shared(self) -> None:
        old, new = train_vocabulary(["cat"] * 2), train_vocabulary(["dog"] * 2)
        weight = torch.randn(old.size, 3)
        made, counts = carry_over(old, weight, new)
        assert counts.shared == len(SPECIAL)
        assert torch.equal(made[: len(SPECIAL)], weight[: len(SPECIAL)])

    def test_the_old_weight_stays_as_it_is(self) -> None:
        old, new = train_vocabulary(TEXTS), train_vocabulary(OTHERS)
        weight = torch.randn(old.size, 3)
        before = weight.clone()
        made, _ = carry_over(old, weight, new)
        made.zero_()
        assert torch.equal(weight, before)

    def test_the_note_counts_both(self) -> None:
        _, counts = carry_over(train_vocabulary(TEXTS), torch.randn(30, 2), train_vocabulary(OTHERS))
        assert f"{counts.shared} of the vocabulary's {counts.total} tokens" in counts.note()
        assert f"{counts.total - counts.shared} start" in counts.note()


class TestRuns:
    @pytest.mark.parametrize("name", ["awd-lstm", "gru"])
    def test_extending_keeps_what_was_said_of_known_texts(self, name: str, tmp_path: Path) -> None:
        backbone = text_network(name)
        found = again(saved(backbone, tmp_path, 36), "extend")
        assert {"zebra", "lion"} == found.tokenizer.vocabulary.keys() - backbone.tokenizer.vocabulary.keys()
        assert torch.equal(features(found, TEXTS), features(backbone, TEXTS))
        assert (found.carried.shared, found.carried.total) == (backbone.tokenizer.size, backbone.tokenizer.size + 2)
        assert found.token_embedding().num_embeddings == found.tokenizer.size

    def test_auto_extends(self, tmp_path: Path) -> None:
        assert "zebra" in again(saved(text_network("gru"), tmp_path, 36), "auto").tokenizer.vocabulary

    def test_keeping_takes_no_new_word(self, tmp_path: Path) -> None:
        backbone = text_network("awd-lstm")
        found = again(saved(backbone, tmp_path, 36), "keep")
        assert found.tokenizer.vocabulary == backbone.tokenizer.vocabulary
        assert found.carried is None

    def test_rebuilding_takes_the_words_of_these_texts_alone(self, tmp_path: Path) -> None:
        backbone = text_network("awd-lstm")
        found = again(saved(backbone, tmp_path, 36), "rebuild")
        assert found.tokenizer.vocabulary == train_vocabulary(OTHERS).vocabulary
        old, new = backbone.token_embedding().weight, found.token_embedding().weight
        for word in ("the", "sat", "on", "cat", "and", "a", "<eos>"):
            assert torch.equal(new[found.tokenizer.vocabulary[word]], old[backbone.tokenizer.vocabulary[word]])

    def test_a_new_embedding_is_trained_and_belongs_to_the_first_stage(self) -> None:
        backbone = text_network("awd-lstm")
        backbone.with_vocabulary(extended(backbone.tokenizer, train_vocabulary(OTHERS)))
        weight = backbone.token_embedding().weight
        assert weight.requires_grad
        assert [p is weight for p in backbone.stage_parameters()["embedding"]] == [True]

    def test_the_extended_vocabulary_comes_back(self, tmp_path: Path) -> None:
        found = again(saved(text_network("awd-lstm"), tmp_path / "a", 36), "extend")
        third = again(saved(found, tmp_path / "b", 36), "keep")
        assert third.tokenizer.vocabulary == found.tokenizer.vocabulary
        assert torch.equal(features(third, OTHERS), features(found, OTHERS))


def test_extending_twice_adds_nothing() -> None:
    once = extended(train_vocabulary(TEXTS), train_vocabulary(OTHERS))
    assert extended(once, train_vocabulary(OTHERS)).vocabulary == once.vocabulary


def test_an_extended_tokenizer_still_knows_its_special_tokens() -> None:
    both = extended(train_vocabulary(TEXTS), train_vocabulary(OTHERS))
    assert both.special == train_vocabulary(TEXTS).special
    assert Tokenizer.from_files(both.files()).special == both.special
