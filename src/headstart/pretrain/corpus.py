"""Many texts as one long row of token numbers on disk, and the pieces of it that networks are trained on.

The row is written text by text and read through a memory map: what memory is needed does not grow with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from headstart.core.errors import DataError
from headstart.data.schema import Sample, Schema
from headstart.models.tokens import Tokenizer
from headstart.models.wanted import Text
from headstart.store.atomic import replacing, write_json

BPTT = 70
"""Time steps through which a language model's errors go back (Merity et al. 2018)."""

_BLOCK = 1024


class Corpus:
    """(N,) int32 token numbers in a file.

    Parameters
    ----------
    path
        As `write_corpus` made it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokens: np.ndarray = np.memmap(path, dtype=np.int32, mode="r")

    def __len__(self) -> int:
        return len(self.tokens)


def write_corpus(texts: Iterable[Text], tokenizer: Tokenizer, path: Path, key: str = "") -> Corpus:
    """Texts one after the other, each with its special tokens; pairs are two texts.

    Parameters
    ----------
    key
        Names the texts: a file that was written for the same key and tokenizer is used as it is.

    Raises
    ------
    DataError
        When the texts hold no word.
    """
    beside = path.with_suffix(".json")
    stamp = hashlib.blake2b((key + json.dumps(sorted(tokenizer.vocabulary.items()))).encode()).hexdigest()[:32]
    if key and path.exists() and beside.exists() and json.loads(beside.read_text()).get("stamp") == stamp:
        return Corpus(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    count, words, around = 0, 0, tokenizer.special_count()
    with replacing(path) as temporary, open(temporary, "wb") as file:
        for some in _blocks(texts):
            made = [np.asarray(e.ids, dtype=np.int32) for e in tokenizer.backend.encode_batch(some)]
            count += sum(map(len, made))
            words += sum(len(numbers) - around for numbers in made)
            file.write(np.concatenate(made).tobytes())
        if not words:
            raise DataError("The texts hold nothing to learn from.", "Give some texts with words in them.")
    write_json(beside, {"stamp": stamp, "tokens": count})
    return Corpus(path)


def _blocks(texts: Iterable[Text]) -> Iterator[list[str]]:
    block: list[str] = []
    for text in texts:
        block += [text] if isinstance(text, str) else list(text)
        if len(block) >= _BLOCK:
            yield block
            block = []
    if block:
        yield block


class Numbers(Sequence[str]):
    """Names of n samples that take no memory."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[str]: ...
    def __getitem__(self, i: int | slice) -> str | Sequence[str]:
        return str(i) if isinstance(i, int) else [str(k) for k in range(*i.indices(self.n))]


class Chunks:
    """Pieces of equal length of a corpus, as samples without labels.

    Parameters
    ----------
    corpus
        Where tokens come from.
    size
        Of a piece.
    ahead
        Tokens of the next piece that a piece ends with (1 for language models: the last one's answer).
    first, count
        The pieces meant: count of them from the first; None is all.
    """

    schema = Schema("text", ())
    worth_keeping = False

    def __init__(self, corpus: Corpus, size: int, ahead: int = 0, first: int = 0, count: int | None = None) -> None:
        self.corpus, self.size, self.ahead, self.first = corpus, size, ahead, first
        whole = max(0, (len(corpus) - ahead) // size)
        # What a small corpus has is one short piece.
        self.count = max(1, whole) - first if count is None else count
        self.ids: Sequence[str] = Numbers(self.count)

    def __len__(self) -> int:
        return self.count

    def read(self, i: int, size_hint: int | None = None) -> Sample:
        start = (self.first + i) * self.size
        return Sample(str(i), np.array(self.corpus.tokens[start : start + self.size + self.ahead]))

    def split(self, share: float) -> tuple[Chunks, Chunks | None]:
        """The pieces for training, and the last ones, apart, to judge on; None where there are too few."""
        held = round(len(self) * share)
        if held < 1 or len(self) - held < 1:
            return self, None
        kept = len(self) - held
        return (
            Chunks(self.corpus, self.size, self.ahead, self.first, kept),
            Chunks(self.corpus, self.size, self.ahead, self.first + kept, held),
        )
