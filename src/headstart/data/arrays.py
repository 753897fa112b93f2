"""Arrays in memory: (x, y) of NumPy arrays or torch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.core.errors import DataError
from headstart.core.notes import Notes
from headstart.data.picture_sources import ArraySource, CellSource, PictureSource
from headstart.data.pictures import channels_first, unit_range
from headstart.data.raw import Raw


def read_arrays(pictures: Any, labels: Any) -> Raw:
    """Pictures and labels of the same length.

    Parameters
    ----------
    pictures
        (N, H, W), (N, H, W, C) or (N, C, H, W) array or tensor; or a list of pictures of different sizes.
    labels
        (N,) classes or numbers, (N, classes) of 0 and 1, or a list of sets of classes. Where each row has
        exactly one 1, a table is read as one-hot (single-label).

    Raises
    ------
    DataError
        If the lengths differ or the shapes are no pictures.
    """
    source = as_pictures(pictures)
    labels = _to_numpy(labels)
    if len(labels) != len(source):
        raise DataError(f"There are {len(source)} pictures, but {len(labels)} labels.", "Give one label per picture.")
    notes = Notes()
    columns: dict[str, Any] = {"label": labels}
    if isinstance(labels, np.ndarray) and labels.ndim == 2 and labels.shape[1] == 1:
        columns["label"] = labels[:, 0]
    elif isinstance(labels, np.ndarray) and labels.ndim == 2:
        if np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all():
            notes.info("task", "Each row of labels has exactly one 1: read as one-hot (single-label).")
            columns["label"] = labels.argmax(axis=1)
    elif isinstance(labels, np.ndarray) and labels.ndim != 1:
        raise DataError(f"Labels of shape {labels.shape} are not understood.", "Give (N,) or (N, classes).")
    return Raw("arrays", source, [str(i) for i in range(len(source))], columns, notes=notes)


def as_pictures(pictures: Any) -> PictureSource:
    """A source over an array of pictures or a list of them; floating point is brought to the scale 0 to 1.

    Raises
    ------
    DataError
        If the shape is no pictures' shape, or cannot be told apart.
    """
    pictures = _to_numpy(pictures)
    if not isinstance(pictures, np.ndarray) or pictures.dtype == object:
        return CellSource(pictures)
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    if pictures.ndim != 4:
        hint = "Give (N, H, W), (N, H, W, C) or (N, C, H, W)."
        raise DataError(f"An array of shape {pictures.shape} holds no pictures.", hint)
    if channels_first(pictures.shape):
        pictures = np.moveaxis(pictures, 1, -1)
    if pictures.dtype.kind == "f":
        known = np.isfinite(pictures)
        # A picture with NaN is that picture's fault; the scale is that of all others.
        pictures = unit_range(pictures) if known.all() else _scaled(pictures, known)
    elif pictures.dtype != np.uint8 or pictures.shape[-1] == 4:
        return CellSource(pictures)
    return ArraySource(pictures)


def _scaled(pictures: np.ndarray, known: np.ndarray) -> np.ndarray:
    good = known.reshape(len(pictures), -1).all(axis=1)
    scaled = np.full(pictures.shape, np.nan, np.float32)
    if good.any():
        scaled[good] = unit_range(pictures[good])
    return scaled


def _to_numpy(values: Any) -> Any:
    if hasattr(values, "detach"):
        return values.detach().cpu().numpy()
    if hasattr(values, "to_numpy"):
        return values.to_numpy()
    return values
