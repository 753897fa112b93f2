"""Numbers with their nouns, and lists that end early."""

from __future__ import annotations

from collections.abc import Sequence

LISTED = 5


def counted(n: int, one: str) -> str:
    """A number and a noun that takes an s in the plural.

    >>> counted(1, "epoch"), counted(1200, "epoch")
    ('1 epoch', '1,200 epochs')
    """
    return f"{n:,} {one}" if n == 1 else f"{n:,} {one}s"


def is_are(n: int) -> str:
    """What agrees with a number of things.

    >>> is_are(1), is_are(3)
    ('is', 'are')
    """
    return "is" if n == 1 else "are"


def listed(names: Sequence[object], count: int | None = None) -> str:
    """The first few names, and how many more there are (of `count`, where the names are not all).

    >>> listed(list("abcdefg"))
    'a, b, c, d, e and 2 more'
    """
    more = (len(names) if count is None else count) - LISTED
    return ", ".join(map(str, names[:LISTED])) + (f" and {more:,} more" if more > 0 else "")
