"""Where pictures come from: files, arrays, cells of tables."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart.data.facts import Facts, facts_of_array, scan, scan_files
from headstart.data.pictures import BadPicture, as_picture, decode, unit_range
from headstart.data.source import Source


class PictureSource(Source):
    """An ordered collection of pictures."""

    modality = "image"
    one, many = "picture", "pictures"

    @abstractmethod
    def read(self, row: int, size_hint: int | None = None) -> np.ndarray: ...

    @cached_property
    def facts(self) -> list[Facts]:
        """Facts of every picture; the first use reads them all once."""
        return scan(len(self), self._examine)

    def _examine(self, row: int) -> Facts:
        try:
            return facts_of_array(self.read(row))
        except BadPicture as bad:
            return Facts(problem=bad.what)


class FileSource(PictureSource):
    """Picture files, by path."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, row: int, size_hint: int | None = None) -> np.ndarray:
        return decode(self.paths[row], size_hint)

    def describe(self, row: int) -> str:
        return str(self.paths[row])

    @cached_property
    def facts(self) -> list[Facts]:
        return scan_files(self.paths)


class ArraySource(PictureSource):
    """One array of pictures: (N, H, W, C), uint8 or float32; nothing is copied."""

    def __init__(self, pictures: np.ndarray) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, row: int, size_hint: int | None = None) -> np.ndarray:
        picture = np.ascontiguousarray(self.pictures[row])
        if picture.dtype == np.float32 and not np.isfinite(picture).all():
            raise BadPicture("it contains NaN or infinite values")
        return picture


class CellSource(PictureSource):
    """Cells that hold pictures: arrays, Pillow images, bytes, paths, or {"bytes", "path"} of Arrow tables.

    `cells` is anything with a length whose `cells[row]` gives such a cell; relative paths start at `root`.
    """

    def __init__(self, cells: Any, root: Path | None = None) -> None:
        self.cells = cells
        self.root = root or Path()

    def __len__(self) -> int:
        return len(self.cells)

    def read(self, row: int, size_hint: int | None = None) -> np.ndarray:
        return read_cell(self.cells[row], self.root, size_hint)


def read_cell(cell: Any, root: Path, size_hint: int | None = None) -> np.ndarray:
    """One picture from a cell of a table or an item of a list; `BadPicture` for anything that is none."""
    if isinstance(cell, dict) and ("bytes" in cell or "path" in cell):
        cell = cell.get("bytes") or cell.get("path")
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        raise BadPicture("there is no picture in this row")
    if isinstance(cell, str | Path):
        return decode(root / cell, size_hint)
    if isinstance(cell, bytes | Image.Image):
        return decode(cell, size_hint)
    if hasattr(cell, "detach"):
        cell = cell.detach().cpu().numpy()
    if isinstance(cell, np.ndarray | list | tuple):
        try:
            picture = as_picture(np.asarray(cell))
        except ValueError:
            raise BadPicture("its rows have different lengths") from None
        return unit_range(picture) if picture.dtype == np.float32 else picture
    raise BadPicture(f"a {type(cell).__name__} is not a picture")
