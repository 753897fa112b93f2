"""Arrays in memory: (x, y) of NumPy arrays or torch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.core.errors import DataError
from headstart.core.notes import Notes
from headstart.data.picture_sources import ArraySource, CellSource, PictureSource
from headstart.data.pictures import channels_first
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
    notes = Notes()
    columns = {"label": label_column(labels, len(source), "picture", notes)}
    return Raw("arrays", source, [str(i) for i in range(len(source))], columns, notes=notes)


def label_column(labels: Any, count: int, one: str, notes: Notes) -> Any:
    """Labels as a column: (N, 1) is flat, a table in which each row has exactly one 1 is one-hot.

    Parameters
    ----------
    labels
        An array, a tensor, a column of a frame or a list.
    count, one
        How many samples there are, and what one is called.
    notes
        Receives what was guessed.

    Raises
    ------
    DataError
        If there are not as many labels as samples, or an array is neither (N,) nor (N, classes).
    """
    labels = as_numpy(labels)
    if not hasattr(labels, "__len__") or (isinstance(labels, np.ndarray) and not labels.ndim):
        raise DataError("The labels are a single value.", f"Give one label per {one}.")
    if len(labels) != count:
        many = one if one == "series" else f"{one}s"
        raise DataError(f"There are {count} {many}, but {len(labels)} labels.", f"Give one label per {one}.")
    if not isinstance(labels, np.ndarray):
        return labels
    if labels.ndim not in (1, 2):
        raise DataError(f"Labels of shape {labels.shape} are not understood.", "Give (N,) or (N, classes).")
    if labels.ndim == 2 and labels.shape[1] == 1:
        return labels[:, 0]
    if labels.ndim == 2 and np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all():
        notes.info("task", "Each row of labels has exactly one 1: read as one-hot (single-label).")
        return labels.argmax(axis=1)
    return labels


def as_pictures(pictures: Any) -> PictureSource:
    """A source over an array of pictures or a list of them.

    Raises
    ------
    DataError
        If the shape is no pictures' shape, or cannot be told apart.
    """
    pictures = as_numpy(pictures)
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
        pictures = pictures.astype(np.float32, copy=False)
    elif pictures.dtype != np.uint8 or pictures.shape[-1] == 4:
        return CellSource(pictures)
    return ArraySource(pictures)


def as_numpy(values: Any) -> Any:
    """Tensors and columns of frames as arrays; anything else as it is."""
    if hasattr(values, "detach"):
        return values.detach().cpu().numpy()
    if hasattr(values, "to_numpy"):
        return values.to_numpy()
    return values
