"""What an epoch over several data sets is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.train.batch import Feed
from headstart.train.reader import Reader
from headstart.train.sampling import draw, shares

ORIGINS = np.array(["a"] * 90 + ["b"] * 10)


def counts(temperature: float, seed: int = 0) -> dict[str, int]:
    drawn = ORIGINS[draw(ORIGINS, temperature, np.random.default_rng(seed))]
    return {name: int((drawn == name).sum()) for name in "ab"}


def test_an_epoch_by_each_rule() -> None:
    assert counts(1.0) == {"a": 90, "b": 10}
    assert counts(2.0) == {"a": 75, "b": 25}
    assert counts(float("inf")) == {"a": 50, "b": 50}


def test_proportion_draws_every_sample_once_and_equal_goes_through_the_small_one_in_rounds() -> None:
    assert sorted(draw(ORIGINS, 1.0, np.random.default_rng(0))) == list(range(100))
    drawn = draw(ORIGINS, float("inf"), np.random.default_rng(0))
    often = np.bincount(drawn, minlength=100)
    assert often[90:].tolist() == [5] * 10
    assert often[:90].max() == 1


@given(st.lists(st.integers(1, 50), min_size=2, max_size=5), st.floats(0.2, 100))
def test_an_epoch_has_as_many_draws_as_there_are_samples(sizes, temperature) -> None:
    origins = np.repeat(np.arange(len(sizes)), sizes)
    assert len(draw(origins, temperature, np.random.default_rng(0))) == sum(sizes)
    assert shares(np.array(sizes), temperature).sum() == pytest.approx(1)


def test_a_reader_draws_at_the_temperature_of_its_feed() -> None:
    class Joint:
        origins = ORIGINS

        def __len__(self) -> int:
            return 100

    class Plain(Joint):
        origins = None

    class Network:
        by_length = False

    for data, feed, expected in [
        (Joint(), Feed(temperature=float("inf")), 50),
        (Joint(), Feed(), 10),
        (Plain(), Feed(temperature=float("inf")), 10),
    ]:
        reader = Reader({"train": data}, Network(), seed=0)
        order = np.concatenate(reader.order(feed, 0, 32))
        assert int((order >= 90).sum()) == expected
        assert order.tolist() == np.concatenate(reader.order(feed, 0, 32)).tolist()
        assert order.tolist() != np.concatenate(reader.order(feed, 1, 32)).tolist()


def test_a_temperature_is_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        shares(np.array([1, 2]), 0.0)
