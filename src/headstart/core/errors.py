"""The errors a user can cause. Each carries one message: what is wrong, where, and what to do about it.

Anything that is not a `HeadstartError` is a bug in Headstart and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class HeadstartError(Exception):
    """A user's mistake or an unusable environment; the command line prints it and exits with code 2.

    Parameters
    ----------
    what
        One sentence that says what is wrong and where.
    hint
        What the user can do about it.
    """

    exit_code = 2

    def __init__(self, what: str, hint: str = "") -> None:
        self.what = what
        self.hint = hint
        super().__init__(f"{what}\n{hint}" if hint else what)


class DataError(HeadstartError):
    """The data cannot be read or do not fit the task."""


class ModelError(HeadstartError):
    """A model is unknown, out of reach, or does not fit its weights."""


class ConfigError(HeadstartError):
    """An option or a configuration file is wrong."""


class StoreError(HeadstartError):
    """A folder or file cannot be written, is in use, or is damaged."""


def near_names(name: str, known: Iterable[str], most: int = 5) -> list[str]:
    """Known names that look like `name`, best first.

    >>> near_names("resnet5O", ["resnet50", "resnet18", "vgg16"])[0]
    'resnet50'
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=most, cutoff=0.6)
    inside = [k for k in known if name.lower() in k.lower() and k not in close]
    return (close + inside)[:most]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names what is near, or else everything there is (when that is short)."""
    known = list(known)
    close = near_names(name, known)
    if close:
        return "Did you mean " + " or ".join(repr(c) for c in close) + "?"
    return "Known: " + ", ".join(sorted(known)) + "." if len(known) <= 40 else ""


@contextmanager
def permitted() -> Iterator[None]:
    """Say of data that may not be read which they are; around a function as a decorator, too.

    Raises
    ------
    DataError
        In place of a `PermissionError`.
    """
    try:
        yield
    except PermissionError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}.", "Change its permissions.") from None
