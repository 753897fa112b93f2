"""Where pictures come from: files, arrays, cells of tables."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart.data.facts import Facts, facts_of_array, scan, scan_files
from headstart.data.pictures import BadPicture, Scale, as_picture, decode, on_scale
from headstart.data.source import Source

FIRST = 20
"""Cells of a column on disk that tell whether it holds arrays of floating point."""


class PictureSource(Source):
    """An ordered collection of pictures.

    Attributes
    ----------
    scale
        What values of its arrays of floating point become 0 and 1; None until `scales.settle_scale` has said it. (Files
        of floating point are each on their own scale.)
    """

    modality = "image"
    one, many = "picture", "pictures"
    scale: Scale | None = None

    @abstractmethod
    def read(self, row: int, size_hint: int | None = None) -> np.ndarray: ...

    @cached_property
    def facts(self) -> list[Facts]:
        """Facts of every picture; the first use reads them all once."""
        return scan(len(self), self._examine)

    @property
    def float_range(self) -> Scale | None:
        """Least and greatest value of its arrays of floating point; None where it has none."""
        return None

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
        if picture.dtype != np.float32:
            return picture
        if not np.isfinite(picture).all():
            raise BadPicture("it contains NaN or infinite values")
        return picture if self.scale is None else on_scale(picture, self.scale)

    @cached_property
    def float_range(self) -> Scale | None:
        return None if self.pictures.dtype == np.uint8 else whole_range(map(cell_range, self.pictures))


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
        return read_cell(self.cells[row], self.root, size_hint, self.scale)

    @cached_property
    def float_range(self) -> Scale | None:
        cells = (self.cells[row] for row in range(len(self)))
        if not isinstance(self.cells, list | tuple | np.ndarray):
            # The cells of a column on disk are of one kind; stored files need not all be read to see that.
            if not any(map(_may_float, itertools.islice(cells, FIRST))):
                return None
            cells = (self.cells[row] for row in range(len(self)))
        return whole_range(map(cell_range, cells))


def _may_float(cell: Any) -> bool:
    """Whether a column with such a cell holds arrays of floating point; one that is bad says nothing."""
    return not isinstance(cell, dict | bytes | str) and cell_range(cell) is not None


def whole_range(ranges: Iterable[Scale | None]) -> Scale | None:
    """The range of several; None where none has one."""
    known = [found for found in ranges if found is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def cell_range(cell: Any) -> Scale | None:
    """Least and greatest value of a cell that is an array of floating point; None for others, and where it is bad."""
    if hasattr(cell, "detach"):
        cell = cell.detach().cpu().numpy()
    if not isinstance(cell, np.ndarray | list | tuple):
        return None
    try:
        values = np.asarray(cell)
    except ValueError:
        return None
    if values.dtype.kind != "f" or not values.size:
        return None
    values = values.astype(np.float32, copy=False)
    # A picture with NaN is that picture's fault; the scale is that of all others.
    return (float(values.min()), float(values.max())) if np.isfinite(values).all() else None


def read_cell(cell: Any, root: Path, size_hint: int | None = None, scale: Scale | None = None) -> np.ndarray:
    """One picture from a cell of a table or an item of a list; `BadPicture` for anything that is none.

    An array of floating point is moved from `scale` to 0 to 1, and left as it is where none is said.
    """
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
        return picture if scale is None or picture.dtype != np.float32 else on_scale(picture, scale)
    raise BadPicture(f"a {type(cell).__name__} is not a picture")
