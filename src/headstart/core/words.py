"""Numbers with their nouns."""

from __future__ import annotations


def counted(n: int, one: str) -> str:
    """A number and a noun that takes an s in the plural.

    >>> counted(1, "epoch"), counted(1200, "epoch")
    ('1 epoch', '1,200 epochs')
    """
    return f"{n:,} {one}" if n == 1 else f"{n:,} {one}s"
