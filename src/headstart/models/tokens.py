"""Tokenizers: texts to numbers, and what a model has to know about the numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from headstart.core.errors import ModelError
from headstart.models.wanted import Text

FILES = ("tokenizer.json", "tokenizer_config.json")
_SPECIAL = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")


@dataclass(frozen=True)
class Special:
    """Numbers of the special tokens; None where a tokenizer has no such token."""

    pad: int | None = None
    unk: int | None = None
    cls: int | None = None
    sep: int | None = None
    mask: int | None = None
    bos: int | None = None
    eos: int | None = None

    def numbers(self) -> set[int]:
        return {n for n in (self.pad, self.unk, self.cls, self.sep, self.mask, self.bos, self.eos) if n is not None}


class Tokenizer:
    """A tokenizer of the library `tokenizers`, neither truncating nor padding.

    Parameters
    ----------
    backend
        A `tokenizers.Tokenizer`.
    names
        "pad", "unk", "cls", "sep", "mask", "bos", "eos" -> the token's text.
    """

    def __init__(self, backend: Any, names: Mapping[str, str]) -> None:
        backend.no_truncation()
        backend.no_padding()
        self.backend = backend
        self.names = {kind: names[kind] for kind in _SPECIAL if names.get(kind)}
        self.special = Special(**{kind: backend.token_to_id(token) for kind, token in self.names.items()})
        self._limited: dict[int, Any] = {}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Tokenizer:
        """The inverse of `files`."""
        from tokenizers import Tokenizer as Backend

        config = json.loads(files["tokenizer_config.json"])
        names = {kind: _name(config.get(f"{kind}_token")) for kind in _SPECIAL}
        return cls(Backend.from_str(files["tokenizer.json"].decode()), {k: v for k, v in names.items() if v})

    @classmethod
    def from_transformers(cls, tokenizer: Any, name: str) -> Tokenizer:
        """A tokenizer of the library `transformers`.

        Raises
        ------
        ModelError
            When it is one of the slow ones, written in Python.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError(
                f"The tokenizer of {name} has no fast form (tokenizer.json).",
                "Convert it with transformers.AutoTokenizer, or use another model.",
            )
        names = {kind: getattr(tokenizer, f"{kind}_token", None) for kind in _SPECIAL}
        return cls(backend, {k: str(v) for k, v in names.items() if v})

    def files(self) -> dict[str, bytes]:
        """Files that transformers and `from_files` read: name -> content."""
        config = {"tokenizer_class": "PreTrainedTokenizerFast"}
        config |= {f"{kind}_token": token for kind, token in self.names.items()}
        return {
            "tokenizer.json": self.backend.to_str().encode(),
            "tokenizer_config.json": json.dumps(config, ensure_ascii=False).encode(),
        }

    # -- texts to numbers ------------------------------------------------------------------------------------------

    def encode(self, text: Text) -> np.ndarray:
        """(L,) int32 token numbers of a text or pair, special tokens included, nothing cut off."""
        return np.asarray(self._encoding(self.backend, text).ids, dtype=np.int32)

    def windows(self, text: Text, size: int, most: int = 1) -> tuple[list[list[int]], list[list[int]] | None]:
        """At most `most` windows of at most `size` tokens each, every one with its special tokens.

        Pairs have one window, the longer side cut first.

        Returns
        -------
        tuple
            Token numbers of each window; and of pairs, for each window, which side (0, 1) a token belongs to.
        """
        return self.windows_of([text], size, most)[0]

    def windows_of(
        self, texts: Sequence[Text], size: int, most: int = 1
    ) -> list[tuple[list[list[int]], list[list[int]] | None]]:
        """`windows` of many texts at once, on all cores (unless `TOKENIZERS_PARALLELISM` says otherwise)."""
        made: list[tuple[list[list[int]], list[list[int]] | None]] = []
        texts = [text if isinstance(text, str) else self._begun(text, 2 * size) for text in texts]
        for text, found in zip(texts, self._cut(size).encode_batch_fast(list(texts)), strict=True):
            if isinstance(text, str):
                made.append(([found.ids, *(more.ids for more in found.overflowing[: most - 1])], None))
            else:
                made.append(([found.ids], [found.type_ids]))
        return made

    def _begun(self, pair: tuple[str, str], most: int) -> tuple[str, str]:
        """A pair without what cannot be kept of it: of what does not fit in, the library makes every combination."""
        if max(map(len, pair)) <= 8 * most:  # most texts are far shorter, and need not be tokenised twice
            return pair
        found = [self.backend.encode(side, add_special_tokens=False) for side in pair]
        counts = [len(side.ids) for side in found]
        # The longer side stays the longer one: of halves that are not equal it gets the larger.
        kept = [most + (counts[i] > counts[1 - i]) for i in (0, 1)]
        first, second = (
            pair[i] if counts[i] <= kept[i] else pair[i][: found[i].offsets[kept[i] - 1][1]] for i in (0, 1)
        )
        return first, second

    def tokens(self, numbers: Any) -> list[str]:
        """The tokens of these numbers, as the vocabulary writes them."""
        return [self.backend.id_to_token(int(n)) or "" for n in numbers]

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Token -> number."""
        return dict(self.backend.get_vocab(with_added_tokens=True))

    @property
    def size(self) -> int:
        """One more than the largest number."""
        return max(self.vocabulary.values(), default=-1) + 1

    def special_count(self, pair: bool = False) -> int:
        """How many special tokens a text (or pair) gets."""
        return int(self.backend.num_special_tokens_to_add(pair))

    def _cut(self, size: int) -> Any:
        """A copy of the backend that truncates."""
        if size not in self._limited:
            from tokenizers import Tokenizer as Backend

            copy = Backend.from_str(self.backend.to_str())
            copy.enable_truncation(size, strategy="longest_first")
            self._limited[size] = copy
        return self._limited[size]

    @staticmethod
    def _encoding(backend: Any, text: Text) -> Any:
        return backend.encode(text) if isinstance(text, str) else backend.encode(*text)


def _name(value: Any) -> str:
    """A token's text: files write it plainly, or as an object."""
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")
