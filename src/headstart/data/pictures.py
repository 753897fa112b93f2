"""Any picture file becomes one (H, W, C) array: the modes, depths and orientations of the wild, in one place.

The rules, by what Pillow calls the mode of the picture:

* 1-bit and 8-bit greyscale stay one channel; palette, CMYK, YCbCr, Lab and HSV become RGB.
* Transparency (alpha channel or transparent colour) is composited over white.
* 16-bit greyscale is scaled by the range of its type: 65535 becomes 255. 32-bit integers are read as 16-bit values
  where they fit into 16 bits, else their own range (minimum to maximum) becomes 0 to 255.
* Floating point stays float32, on the scale 0 to 1: see `unit_range`. Arrays of floating point that are given together
  have one scale, which is kept with the model: `headstart.data.scales.settle_scale`.
* The orientation that a camera wrote down (EXIF) is applied. Of animations and multi-page files the first is read.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from headstart.data.source import BadSample

PICTURE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".dib",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
        ".jp2",
        ".tga",
    ]
)
"""Endings (lower case) by which a file in a folder is taken for a picture."""

_TO_RGB = frozenset({"P", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"})


Scale = tuple[float, float]
"""What values of floating point become 0 and 1."""

USUAL_SCALES: tuple[Scale, ...] = ((0.0, 1.0), (0.0, 255.0), (0.0, 65535.0))
"""Scales on which pictures are kept, the smallest first."""

_OFF = 10
"""Values so many times the width of a scale outside of it are on another scale."""


class BadPicture(BadSample):
    """One picture cannot be read; `what` gives the reason, without the name of the file."""


def decode(picture: str | Path | bytes | Image.Image, size_hint: int | None = None) -> np.ndarray:
    """Read one picture.

    Parameters
    ----------
    picture
        Path, content of a file, or an open Pillow image.
    size_hint
        The side in pixels that the caller needs. Large JPEGs are then decoded at a half, a quarter or an
        eighth of their size, still at least this large, which is several times faster.

    Returns
    -------
    np.ndarray
        (H, W, C) uint8, or float32 on the scale 0 to 1 for floating point files; C is 1 or 3.

    Raises
    ------
    BadPicture
        If the file is missing, empty, no picture, truncated, damaged or absurdly large.
    """
    with _quiet():
        try:
            if isinstance(picture, Image.Image):
                return _to_array(picture)
            with _open(picture) as image:
                if size_hint is not None:
                    image.draft(None, (size_hint, size_hint))
                return _to_array(image)
        except BadPicture:
            raise
        except FileNotFoundError:
            raise BadPicture("there is no such file") from None
        except PermissionError:
            raise BadPicture("it may not be read (permission denied)") from None
        except IsADirectoryError:
            raise BadPicture("it is a folder") from None
        except UnidentifiedImageError:
            raise BadPicture("it is not a picture in a known format") from None
        except Image.DecompressionBombError as error:
            raise BadPicture(f"it is too large to be a photograph ({error})") from None
        except MemoryError:
            raise
        except Exception as error:
            # Decoders raise OSError, SyntaxError, ValueError, struct.error and more on damaged content.
            reason = str(error).strip().rstrip(".") or type(error).__name__
            raise BadPicture(f"it is truncated or damaged ({reason})") from None


def stored_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture file as stored, before it is turned upright; reads the header only."""
    with _quiet(), _open(path) as image:
        return image.height, image.width


def as_picture(array: Any) -> np.ndarray:
    """Bring an array that the user gave as one picture into the shape (H, W, C).

    (H, W) gains a channel; (C, H, W) is turned where only that reading makes sense (C of 1, 3 or 4 first, and
    not last). Four channels are RGB with alpha, composited over white. Booleans become 0 and 255, other
    integers are clipped to 0..255 (uint16 is scaled by 257), floating point becomes float32.

    Raises
    ------
    BadPicture
        If the array has no picture's shape or type.
    """
    array = np.asarray(array)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or 0 in array.shape:
        raise BadPicture(f"an array of shape {array.shape} is not a picture")
    if channels_first(array.shape):
        array = np.moveaxis(array, 0, -1)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = _from_16_bit(array)
    elif array.dtype.kind in "iu" and array.dtype != np.uint8:
        array = np.clip(array, 0, 255).astype(np.uint8)
    elif array.dtype.kind == "f":
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise BadPicture("it contains NaN or infinite values")
    elif array.dtype != np.uint8:
        raise BadPicture(f"an array of {array.dtype} is not a picture")
    if array.shape[2] == 4 and array.dtype == np.uint8:
        return _to_array(Image.fromarray(np.ascontiguousarray(array), mode=None))
    return np.ascontiguousarray(array)


def channels_first(shape: tuple[int, ...]) -> bool:
    """Whether a (.., a, b, c) shape can only be (.., C, H, W): a is 1, 3 or 4, and c is not.

    >>> channels_first((3, 32, 32)), channels_first((32, 32, 3)), channels_first((3, 8, 3))
    (True, False, False)
    """
    return shape[-3] in (1, 3, 4) and shape[-1] not in (1, 2, 3, 4)


def unit_range(array: np.ndarray) -> np.ndarray:
    """Floating point pixels on the scale 0 to 1, as float32, by their own range: see `scale_for`.

    >>> unit_range(np.array([0.0, 51.0, 255.0])).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    array = np.asarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise BadPicture("it contains NaN or infinite values")
    return on_scale(array, scale_for(float(array.min()), float(array.max())))


def scale_for(low: float, high: float, darkest: float = 0.0) -> Scale:
    """The scale of values from `low` to `high`: 0..1, 0..255 or 0..65535 where they lie within, else their own range.

    Values above 1 that reach no further than the share `darkest` of such a scale are not on it.

    >>> scale_for(0.0, 200.0), scale_for(-2.0, 3.0), scale_for(0.0, 3.0), scale_for(0.0, 3.0, darkest=0.02)
    ((0.0, 255.0), (-2.0, 3.0), (0.0, 255.0), (0.0, 3.0))
    """
    usual = next((scale for scale in USUAL_SCALES if high <= scale[1]), None)
    if usual is None or low < 0 or 1 < high <= darkest * usual[1]:
        return low, high
    return usual


def on_scale(array: np.ndarray, scale: Scale) -> np.ndarray:
    """Finite float32 pixels with the values of a scale moved to 0 and 1; values beyond it stay beyond.

    >>> on_scale(np.array([0, 51], np.float32), (0.0, 255.0)).tolist()
    [0.0, 0.20000000298023224]

    Raises
    ------
    BadPicture
        If they can only be on another scale.
    """
    low, high = scale
    span = high - low
    least, greatest = float(array.min()), float(array.max())
    if span > 0 and (least < low - _OFF * span or greatest > high + _OFF * span):
        raise BadPicture(f"its values reach from {least:g} to {greatest:g}, on a scale of {low:g} to {high:g}")
    if scale == (0.0, 1.0):
        return array
    return (array - np.float32(low)) / np.float32(span) if span > 0 else np.zeros_like(array)


def _open(picture: str | Path | bytes) -> Image.Image:
    file: Any
    if isinstance(picture, bytes):
        head, file = picture[:12], io.BytesIO(picture)
    else:
        with open(picture, "rb") as stream:
            head = stream.read(12)
        file = picture
    if not head:
        raise BadPicture("the file is empty")
    # Phones write HEIC, often under other endings: the content decides. Its decoder is loaded when needed.
    if head[4:8] == b"ftyp":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return Image.open(file)


def _to_array(image: Image.Image) -> np.ndarray:
    image.load()
    image = _upright(image)
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        values = np.asarray(image)
        grey = unit_range(values) if mode == "F" else _integers_to_bytes(values)
        return np.ascontiguousarray(grey[:, :, None])
    if "transparency" in image.info or mode in ("RGBA", "RGBa", "LA", "La", "PA"):
        image = _over_white(image)
    elif mode in _TO_RGB:
        image = image.convert("RGB")
    elif mode not in ("L", "RGB"):
        image = image.convert("L" if mode == "1" else "RGB")
    array = np.asarray(image)
    return np.ascontiguousarray(array[:, :, None] if array.ndim == 2 else array)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        # Damaged EXIF says nothing about the pixels; the picture is read as it lies.
        return image


def _over_white(image: Image.Image) -> Image.Image:
    grey = image.mode in ("L", "LA", "La", "1")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("L" if grey else "RGB")


def _integers_to_bytes(values: np.ndarray) -> np.ndarray:
    low, high = int(values.min()), int(values.max())
    if low >= 0 and high <= 65535:
        return _from_16_bit(values)
    return np.round((values.astype(np.float64) - low) * (255 / (high - low or 1))).astype(np.uint8)


def _from_16_bit(values: np.ndarray) -> np.ndarray:
    """65535 becomes 255, rounded to nearest."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


_quiet_lock = threading.Lock()
_quiet_count = 0
_quiet_context: Any = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings about odd files away from the user while any thread is decoding.

    Python's warning filters belong to the process, so concurrent decoders share one suppression.
    """
    global _quiet_count, _quiet_context
    with _quiet_lock:
        if _quiet_count == 0:
            _quiet_context = warnings.catch_warnings()
            _quiet_context.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        _quiet_count += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_count -= 1
            if _quiet_count == 0:
                _quiet_context.__exit__(None, None, None)
