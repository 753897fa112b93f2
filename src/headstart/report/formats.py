"""Numbers and names as a person reads them."""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Any

from headstart.report.schema.part import Estimate

NONE = "–"


def clean(text: object, most: int | None = None) -> str:
    """A name without characters that break a page or hide its order; past `most` characters the middle goes.

    >>> clean("a\\nb")
    'a b'
    >>> clean("a_very_long_class_name", 12)
    'a_very…_name'
    """
    shown = "".join(_visible(c) for c in str(text))
    if most is not None and len(shown) > most:
        tail = (most - 1) // 2
        return shown[: most - 1 - tail] + "…" + shown[len(shown) - tail :]
    return shown


def _visible(character: str) -> str:
    if character.isspace():
        return " "
    # Cc: control; Cs: lone surrogates of undecodable file names; Cf: direction overrides. Joiners hold emoji.
    kind = unicodedata.category(character)
    return "\ufffd" if kind in ("Cc", "Cs") or (kind == "Cf" and character not in "\u200d\u200c") else character


def label_text(value: object) -> str:
    """A label of any task: class name, number, or names joined by commas (given as a list or its JSON).

    >>> label_text('["cat", "dog"]'), label_text(3.14159265), label_text("cat"), label_text([])
    ('cat, dog', '3.142', 'cat', 'none')
    """
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return clean(value)
    if isinstance(value, list | tuple):
        return ", ".join(clean(v) for v in value) or "none"
    return clean(value)


def number(value: float | None, digits: int = 4) -> str:
    """A number with `digits` significant digits.

    >>> number(0.123456), number(12345.6), number(None), number(1.0)
    ('0.1235', '12,346', '–', '1')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def count(value: float | None) -> str:
    """A whole number with thousands separated.

    >>> count(1234567)
    '1,234,567'
    """
    return NONE if value is None else f"{value:,.0f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage.

    >>> percent(0.98765), percent(None)
    ('98.8%', '–')
    """
    return NONE if value is None else f"{100 * value:.{digits}f}%"


def duration(seconds: float | None) -> str:
    """Seconds as people say them.

    >>> duration(4.21), duration(125), duration(7300), duration(59.97), duration(None)
    ('4.2 s', '2 min 5 s', '2 h 1 min', '1 min 0 s', '–')
    """
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def short_count(value: float | None) -> str:
    """A large number in thousands or millions.

    >>> short_count(3412345), short_count(12800), short_count(999), short_count(999_950)
    ('3.4 million', '12.8 thousand', '999', '1.0 million')
    """
    if value is None:
        return NONE
    if value >= 999_950:
        return f"{value / 1e6:.1f} million"
    return f"{value / 1e3:.1f} thousand" if value >= 10_000 else count(value)


def memory(megabytes: float | None) -> str:
    """Megabytes, or gigabytes from 1,000 on.

    >>> memory(412.3), memory(1536)
    ('412 MB', '1.5 GB')
    """
    if megabytes is None:
        return NONE
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def estimate(value: Estimate | None, as_percent: bool) -> str:
    """The value of an estimate without its interval."""
    if value is None:
        return NONE
    return percent(value.value) if as_percent else number(value.value)


def interval(value: Estimate | None, as_percent: bool) -> str:
    """The interval of an estimate, or "" where it has none.

    >>> interval(Estimate(value=0.9, low=0.88, high=0.92), True)
    '88.0% to 92.0%'
    """
    if value is None or value.low is None or value.high is None:
        return ""
    show = percent if as_percent else number
    return f"{show(value.low)} to {show(value.high)}"


def setting(value: Any) -> str:
    """An option's value on one line.

    >>> setting(True), setting({"head": 0.001, "blocks.4": 1e-05}), setting(None), setting([])
    ('yes', 'head: 0.001, blocks.4: 1e-05', '–', '–')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ("", [], {}, ()):
        return NONE
    if isinstance(value, dict):
        return ", ".join(f"{clean(k)}: {setting(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(setting(v) for v in value)
    return number(value) if isinstance(value, float) else clean(value)
