"""Randomness as a function of what it is for, never of the order in which things happen.

Data randomness depends on (seed, epoch, sample id, view); dropout and mixup on (seed, step). So a resumed run,
another number of workers or another batch order draws the same numbers.
"""

from __future__ import annotations

import hashlib


def derive(seed: int, *parts: object) -> int:
    """A 63-bit seed that depends on every part and on nothing else.

    >>> derive(0, "shuffle", 3) == derive(0, "shuffle", 3)
    True
    >>> derive(0, "shuffle", 3) == derive(0, "shuffle", 4)
    False
    """
    text = "\x1f".join([str(seed), *(f"{type(p).__name__}:{p}" for p in parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
