"""What value of pictures of floating point is black and which is white: one scale for all that are read together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headstart.core.errors import DataError
from headstart.core.words import counted
from headstart.data.picture_sources import PictureSource
from headstart.data.pictures import USUAL_SCALES, Scale, scale_for
from headstart.data.source import ConcatSource, RowsSource, Source

if TYPE_CHECKING:
    from headstart.data.dataset import Dataset
    from headstart.data.raw import Raw

DARK = 0.02
"""Share of a scale that pictures which are on it go beyond."""

MANY = 10
"""Pictures of a part that are not all black by chance."""


def settle_scale(source: Source, given: Scale | None = None) -> Mapping[str, str]:
    """Decide, before any is read, what the values of pictures of floating point are, once for all of a source.

    What value is black must not depend on what else happens to be read with a picture, nor on the parts that are given
    for validation and test.

    Parameters
    ----------
    source
        Of any modality; the scale is that of the first of its sources that has such arrays.
    given
        A scale that is known, from the data that a model was trained on.

    Returns
    -------
    Mapping of str
        What `Schema.reading` keeps of it: `scale`, or nothing.
    """
    leaves = [leaf for leaf in _leaves(source) if isinstance(leaf, PictureSource)]
    scale = given
    if scale is None:
        found = next((span for leaf in leaves if (span := leaf.float_range) is not None), None)
        scale = None if found is None else scale_for(*found, darkest=DARK)
    if scale is None or not leaves:
        return {}
    for leaf in leaves:
        leaf.scale = scale
        span = leaf.float_range if "facts" in leaf.__dict__ else None
        if span is not None and (scale != (0.0, 1.0) or span[0] < 0 or span[1] > 1):
            del leaf.__dict__["facts"]  # they were looked at without a scale
    return {"scale": scale_text(scale)}


def too_dark(source: Source, scale: Scale, but_first: bool = False) -> tuple[str, int]:
    """What to say where the arrays of a part take a sliver of the scale they are on, and of how many; "" elsewhere.

    Of several such parts the largest counts. With `but_first`, those that come first are none: the scale is theirs.
    """
    pictures = [leaf for leaf in _leaves(source) if isinstance(leaf, PictureSource)]
    spans = [(len(leaf), span) for leaf in pictures if (span := leaf.float_range) is not None]
    dark = [
        (n, span)
        for n, span in (spans[1:] if but_first else spans)
        if span[1] - scale[0] <= DARK * (scale[1] - scale[0])
    ]
    if not dark:
        return "", 0
    n, (low, high) = max(dark)
    reach = f"The values of {counted(n, 'picture')} reach from {low:g} to {high:g}"
    return f"{reach} on a scale of {scale[0]:g} to {scale[1]:g}: nearly black.", n


def check_darkness(raw: Raw, given: bool) -> None:
    """Refuse a part that is on a smaller scale than the training data; of a scale that was `given`, say so only."""
    if "scale" not in raw.reading:
        return
    scale = as_scale(raw.reading["scale"])
    dark, count = too_dark(raw.source, scale, but_first=not given)
    if dark and not given and count >= MANY:
        raise DataError(
            f"The parts of the data are on different scales. {dark}",
            f"Bring all parts to one scale; if these are that dark, name it: load_data(..., scale={scale}).",
        )
    if dark:
        raw.notes.warn("scale", f"{dark} If they are on another scale, bring them to that one.")


def check_scale(data: Dataset, reading: Mapping[str, str]) -> None:
    """Refuse pictures of floating point that were read on another scale than a model's `reading` says."""
    known, have = reading.get("scale"), data.schema.reading.get("scale")
    if known is None or have is None or known == have:
        return
    # What was read on one of the usual scales lies from 0 to 1, whichever it was.
    if not all(as_scale(one) in USUAL_SCALES for one in (known, have)):
        raise DataError(
            f"The values of {data.name} were read on the scale {have}; those that the model learned from, on {known}.",
            f"Read them on the same: load_data(..., scale={known!r}).",
        )


def _leaves(source: Source) -> list[Source]:
    if isinstance(source, ConcatSource):
        return [leaf for inner in source.sources for leaf in _leaves(inner)]
    return _leaves(source.source) if isinstance(source, RowsSource) else [source]


def scale_text(scale: Scale) -> str:
    """A scale as it is written down.

    >>> scale_text((0, 255)), as_scale("0.0,255.0")
    ('0.0,255.0', (0.0, 255.0))
    """
    return ",".join(repr(float(value)) for value in scale)


def as_scale(given: str | Sequence[float]) -> Scale:
    """The reverse of `scale_text`, and two numbers as they are; `ValueError` or `TypeError` where it is no scale."""
    low, high = (float(value) for value in (given.split(",") if isinstance(given, str) else given))
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"no scale: {low}, {high}")
    return low, high
