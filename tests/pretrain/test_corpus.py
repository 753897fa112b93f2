"""The corpus on disk, its pieces, and the order in which a language model reads them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from tests.models.own_networks import text_network

from headstart.core.errors import DataError
from headstart.models.vocabulary import train_vocabulary
from headstart.pretrain.corpus import Chunks, Corpus, Numbers, write_corpus
from headstart.train.batch import Feed
from headstart.train.reader import Reader

TEXTS = [" ".join(f"w{(3 * i + k) % 50}" for k in range(20)) for i in range(60)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(TEXTS, train_vocabulary(TEXTS), tmp_path_factory.mktemp("c") / "c.bin")


class TestFile:
    def test_it_holds_every_text_in_order(self, corpus: Corpus) -> None:
        tokenizer = train_vocabulary(TEXTS)
        assert np.array_equal(corpus.tokens, np.concatenate([tokenizer.encode(t) for t in TEXTS]))

    def test_it_is_read_from_disk(self, corpus: Corpus) -> None:
        assert isinstance(corpus.tokens, np.memmap)
        assert corpus.path.stat().st_size == 4 * len(corpus)

    def test_blocks_do_not_show(self, tmp_path: Path) -> None:
        """More texts than are encoded at once, and pairs across the border."""
        texts = [*["a b"] * 1023, ("c", "d"), "e"] * 2
        tokenizer = train_vocabulary(texts)
        made = write_corpus(iter(texts), tokenizer, tmp_path / "c.bin")
        words = [t for t in tokenizer.tokens(made.tokens) if t not in ("<bos>", "<eos>")]
        assert words == [*["a", "b"] * 1023, "c", "d", "e"] * 2

    def test_another_tokenizer_writes_it_anew(self, tmp_path: Path) -> None:
        write_corpus(TEXTS, train_vocabulary(TEXTS), tmp_path / "c.bin", "key")
        other = train_vocabulary(TEXTS[:1] * 2)
        made = write_corpus(TEXTS, other, tmp_path / "c.bin", "key")
        assert int(made.tokens.max()) < other.size

    def test_without_a_name_it_is_always_written(self, tmp_path: Path) -> None:
        tokenizer = train_vocabulary(TEXTS)
        write_corpus(TEXTS, tokenizer, tmp_path / "c.bin")
        assert len(write_corpus(TEXTS[:2], tokenizer, tmp_path / "c.bin")) == 44

    @pytest.mark.parametrize("texts", [[], ["", "  "], [("", "")]])
    def test_texts_without_words_are_refused_and_leave_nothing(self, texts: list, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="nothing to learn"):
            write_corpus(texts, train_vocabulary(TEXTS), tmp_path / "c.bin", "key")
        assert list(tmp_path.iterdir()) == []


class TestChunks:
    def test_pieces_together_are_the_corpus(self, corpus: Corpus) -> None:
        chunks = Chunks(corpus, 9)
        joined = np.concatenate([chunks.read(i).inputs for i in range(len(chunks))])
        assert np.array_equal(joined, corpus.tokens[: len(joined)])
        assert 0 <= len(corpus) - len(joined) < 9

    def test_every_piece_is_whole_with_its_token_ahead(self, corpus: Corpus) -> None:
        chunks = Chunks(corpus, 12, ahead=1)
        assert {len(chunks.read(i).inputs) for i in range(len(chunks))} == {13}

    def test_a_corpus_shorter_than_a_piece_is_one(self, tmp_path: Path) -> None:
        small = write_corpus(["w1 w2"], train_vocabulary(TEXTS), tmp_path / "c.bin")
        chunks = Chunks(small, 70, ahead=1)
        assert len(chunks) == 1
        assert len(chunks.read(0).inputs) == 4
        assert chunks.split(0.5) == (chunks, None)

    def test_what_is_judged_on_comes_after_what_is_learned(self, corpus: Corpus) -> None:
        chunks = Chunks(corpus, 10)
        train, held = chunks.split(0.1)
        assert held is not None
        learned = np.concatenate([train.read(i).inputs for i in range(len(train))])
        judged = np.concatenate([held.read(i).inputs for i in range(len(held))])
        assert np.array_equal(np.concatenate([learned, judged]), corpus.tokens[: 10 * len(chunks)])

    def test_a_piece_is_a_copy(self, corpus: Corpus) -> None:
        before = int(corpus.tokens[0])
        Chunks(corpus, 9).read(0).inputs[0] = 49
        assert int(corpus.tokens[0]) == before

    def test_names_take_no_memory_and_are_numbers(self) -> None:
        names = Numbers(10**12)
        assert (len(names), names[7], list(names[2:4])) == (10**12, "7", ["2", "3"])


class TestStream:
    def test_a_row_continues_the_row_of_the_batch_before(self, corpus: Corpus) -> None:
        """Joined along the batches each row is one stretch of the corpus, and no stretch is read twice."""
        backbone = text_network("awd-lstm")
        reader = Reader({"corpus": Chunks(corpus, 7, ahead=1)}, backbone, 0)
        feed = Feed("corpus", "corpus", labels=False, views=("plain",), order="stream", paces=True)
        batches = [b.views["plain"]["ids"][:, :8].numpy() for b in reader.epoch(feed, 0, 4)]
        assert len(batches) > 10
        for before, after in itertools.pairwise(batches):
            assert np.array_equal(before[:, -1], after[:, 0])
        rows = np.concatenate([b[:, :-1] for b in batches], axis=1)
        assert np.array_equal(rows.reshape(-1), corpus.tokens[: rows.size])

    def test_every_batch_has_the_same_rows(self, corpus: Corpus) -> None:
        reader = Reader({"corpus": Chunks(corpus, 7, ahead=1)}, text_network("awd-lstm"), 0)
        feed = Feed("corpus", "corpus", labels=False, views=("plain",), order="stream", paces=True)
        batches = reader.order(feed, 0, 32)
        assert {len(index) for index in batches} == {len(batches[0])}
        assert len(batches[0]) <= 32
        # Little of the corpus is left over for the sake of equal rows.
        assert sum(map(len, batches)) >= 0.9 * len(reader.parts["corpus"])
        assert len(reader.order(feed, 0, 10**6)) == 1
