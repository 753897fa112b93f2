"""Scripts that are written without spaces between words."""

from __future__ import annotations

import re
from collections.abc import Iterable

UNSPACED = (
    "\u0e00-\u0e7f"  # Thai
    "\u0e80-\u0eff"  # Lao
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3040-\u30ff"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\U00020000-\U0003134f"  # Han, rare
)
"""Ranges of characters, as they stand in a regular expression's brackets."""

_UNSPACED = re.compile(f"[{UNSPACED}]")
_LETTER = re.compile(r"[^\W\d_]")


def unspaced_share(texts: Iterable[str], most: int = 1000) -> float:
    """The share of letters that belong to scripts without spaces, in the first `most` texts.

    >>> unspaced_share(["这个很好", "abcd"])
    0.5
    """
    letters = unspaced = 0
    for number, text in enumerate(texts):
        if number >= most:
            break
        letters += len(_LETTER.findall(text[:2000]))
        unspaced += len(_UNSPACED.findall(text[:2000]))
    return min(1.0, unspaced / letters) if letters else 0.0
