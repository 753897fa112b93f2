"""Vocabularies of words, made from texts, and what one network's embedding of words is worth to another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headstart.models.tokens import Tokenizer
from headstart.models.wanted import Text

WORDS = 10_000
LEAST = 2
"""A word that stands in the texts only once tells nothing about other texts."""

SPECIAL = {"pad": "<pad>", "unk": "<unk>", "bos": "<bos>", "eos": "<eos>"}

_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"


def train_vocabulary(texts: Iterable[Text], words: int = WORDS, least: int = LEAST) -> Tokenizer:
    """A tokenizer whose tokens are the most frequent words of these texts.

    Texts are put into lower case; marks are words of their own, and so is every character of scripts that put no
    space between words. A text becomes `<bos> … <eos>`.

    Parameters
    ----------
    words
        Tokens at most, special ones included.
    least
        How often a word has to occur.
    """
    from tokenizers import trainers

    backend = _backend({token: i for i, token in enumerate(SPECIAL.values())})
    trainer = trainers.WordLevelTrainer(
        vocab_size=words, min_frequency=least, special_tokens=list(SPECIAL.values()), show_progress=False
    )
    backend.train_from_iterator(_single(texts), trainer)
    return with_template(backend)


def extended(old: Tokenizer, new: Tokenizer) -> Tokenizer:
    """All tokens of `old` under their numbers, and those of `new` that it lacks after them."""
    vocabulary = dict(old.vocabulary)
    for token in sorted(new.vocabulary, key=new.vocabulary.__getitem__):
        vocabulary.setdefault(token, len(vocabulary))
    return with_template(_backend(vocabulary))


@dataclass(frozen=True)
class Carried:
    """How much of an embedding could be carried over.

    Attributes
    ----------
    shared, total
        Tokens of the new vocabulary that the old one has, and all of them.
    """

    shared: int
    total: int

    def note(self) -> str:
        return (
            f"{self.shared:,} of the vocabulary's {self.total:,} tokens bring their embedding along; "
            f"{self.total - self.shared:,} start at the mean."
        )


@torch.no_grad()
def carry_over(old: Tokenizer, weight: Tensor, new: Tokenizer) -> tuple[Tensor, Carried]:
    """An embedding for another vocabulary: shared tokens keep their rows, others start at the mean row.

    Parameters
    ----------
    weight
        (old.size, D).

    Returns
    -------
    tuple
        (new.size, D), and the counts.

    Source: Howard & Ruder 2018, arXiv 1801.06146, as its code does it.
    """
    made = weight.mean(0).repeat(new.size, 1)
    shared = [(number, old.vocabulary[token]) for token, number in new.vocabulary.items() if token in old.vocabulary]
    if shared:
        to, of = torch.tensor(shared).T
        made[to] = weight[of]
    return made, Carried(len(shared), len(new.vocabulary))


def _backend(vocabulary: dict[str, int]) -> Any:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk"]))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(_UNSPACED), "isolated"),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )
    return backend


def with_template(backend: Any) -> Tokenizer:
    """The backend with `<bos>` and `<eos>` around every text."""
    from tokenizers import processors

    bos, eos = SPECIAL["bos"], SPECIAL["eos"]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} $B:1 {eos}:1",
        special_tokens=[(token, backend.token_to_id(token)) for token in (bos, eos)],
    )
    return Tokenizer(backend, SPECIAL)


def _single(texts: Iterable[Text]) -> Iterator[str]:
    for text in texts:
        if isinstance(text, str):
            yield text
        else:
            yield from text
