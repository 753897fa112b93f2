"""Pictures of the run folder as small data addresses inside the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 96


@dataclass(frozen=True)
class Thumbnail:
    """A picture inside the page: its data address and size; `tiny` ones are enlarged without smoothing."""

    source: str
    width: int
    height: int

    @property
    def tiny(self) -> bool:
        return max(self.width, self.height) < 64


@dataclass
class Album:
    """Reads pictures below one folder until a budget of bytes is spent.

    Attributes
    ----------
    folder
        The run folder; nothing outside of it is ever read, whatever a path says.
    budget
        Bytes that pictures may take in the page, all together.
    left_out
        How many were not embedded because the budget was spent.
    unreadable
        How many were named but missing, outside of the folder or damaged.
    """

    folder: Path
    budget: int = 600_000
    left_out: int = 0
    unreadable: int = 0
    _known: dict[str, Thumbnail | None] = field(default_factory=dict)

    def thumbnail(self, path: str | None) -> Thumbnail | None:
        """The picture at a path relative to the folder, at most 96 pixels a side, or None."""
        if not path:
            return None
        if path not in self._known:
            self._known[path] = self._make(path)
        return self._known[path]

    def _make(self, path: str) -> Thumbnail | None:
        root = self.folder.resolve()
        try:
            file = (root / path).resolve()
            if not file.is_relative_to(root) or not file.is_file():
                self.unreadable += 1
                return None
            with Image.open(file) as picture:
                made = _encode(picture)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow raises all of these
            self.unreadable += 1
            return None
        if len(made.source) > self.budget:
            self.left_out += 1
            return None
        self.budget -= len(made.source)
        return made


def _encode(picture: Image.Image) -> Thumbnail:
    if picture.mode[0] in "IF":  # 16 or 32 bits: shown between its own darkest and lightest value
        values = np.asarray(picture, dtype=np.float64)
        spread = float(np.ptp(values)) or 1.0
        picture = Image.fromarray((255 * (values - values.min()) / spread).astype(np.uint8))
    picture.thumbnail((SIDE, SIDE))
    if picture.mode not in ("L", "RGB", "RGBA"):
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    png = _bytes(picture, "PNG", optimize=True)
    best, kind = png, "png"
    if picture.mode != "RGBA":
        jpeg = _bytes(picture, "JPEG", quality=82, optimize=True)
        if len(jpeg) < 0.7 * len(png) and len(png) > 4000:  # photographs; drawings and digits stay exact
            best, kind = jpeg, "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(best).decode('ascii')}"
    return Thumbnail(source, *picture.size)


def _bytes(picture: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()
