"""One sample inside the page: a picture, the words of a text, or the curves of a series."""

from __future__ import annotations

from typing import Any

from headstart.report.figures.sparkline import sparkline
from headstart.report.formats import clean
from headstart.report.pictures import Album
from headstart.report.schema.given import Shown

MOST_TEXT = 600
"""Characters that stand on the page at once; the rest unfolds."""


def shown(sample: Shown, album: Album, alt: str, most: int = MOST_TEXT) -> dict[str, Any] | None:
    """Values for the macro `sample`; None where there is nothing to show.

    Parameters
    ----------
    alt
        What the picture is, for people who do not see it.
    most
        Characters of a text that stand on the page at once.
    """
    none: dict[str, Any] = {"picture": None, "texts": [], "curve": None, "alt": alt}
    if sample.text is not None:
        texts = sample.text if isinstance(sample.text, list) else [sample.text]
        return none | {"texts": [_cut(clean(text).strip(), most) for text in texts]}
    if sample.series is not None:
        return none | {"curve": sparkline(sample.series, alt)}
    picture = album.thumbnail(sample.picture)
    return None if picture is None else none | {"picture": picture}


def _cut(text: str, most: int) -> tuple[str, str]:
    """What stands on the page and what unfolds, cut between words where there are some."""
    if len(text) <= most * 1.2:
        return text, ""
    space = text.rfind(" ", int(most * 0.8), most)
    place = space if space > 0 else most
    return text[:place], text[place:].lstrip()
