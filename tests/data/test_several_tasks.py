"""Several label columns, and several data sets as one: kinds, gaps, splits, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from headstart.core.errors import DataError
from headstart.data import SplitOptions, load_data, make_splits
from headstart.data.schema import missing

PEOPLE = pd.DataFrame(
    {
        "text": [f"person number {i} says {i * 7 % 13}" for i in range(60)],
        "age": [20 + i * 0.5 for i in range(60)],
        "city": [["Rome", "Oslo", "Bonn"][i % 3] for i in range(60)],
        "hat": [i % 2 for i in range(60)],
        "scarf": [i // 2 % 2 for i in range(60)],
        "stars": [1 + i % 5 for i in range(60)],
    }
)


def kinds(labels, frame=PEOPLE, **options):
    return {t.name: t.kind for t in load_data(frame, text="text", labels=labels, **options).schema.tasks}


def test_every_column_is_a_task_of_its_own_kind() -> None:
    assert kinds("age,city,hat") == {"age": "regression", "city": "single-label", "hat": "single-label"}
    assert kinds("stars,city") == {"stars": "single-label", "city": "single-label"}


def test_kinds_can_be_said_and_columns_joined() -> None:
    said = kinds("stars:ordinal,hat+scarf,city:single-label")
    assert said == {"stars": "regression", "hat+scarf": "multi-label", "city": "single-label"}
    assert kinds("hat:single-label,scarf:single-label") == {"hat": "single-label", "scarf": "single-label"}
    assert kinds("hat,scarf") == {"labels": "multi-label"}
    data = load_data(PEOPLE, text="text", labels=["hat+scarf", "city"])
    assert data.schema.task("hat+scarf").classes == ("hat", "scarf")
    assert data.labels("hat+scarf").tolist() == [[i % 2, i // 2 % 2] for i in range(60)]


def test_a_column_with_a_colon_in_its_name_is_that_column() -> None:
    frame = PEOPLE.rename(columns={"city": "city:regression", "hat": "a+b"})
    assert kinds("city:regression,a+b", frame) == {"city:regression": "single-label", "a+b": "single-label"}


def test_labels_may_lack_by_sample_and_task() -> None:
    frame = PEOPLE.astype(object)
    frame.loc[:9, "age"] = None
    frame.loc[5:19, "city"] = None
    frame.loc[50:, ["hat", "scarf"]] = None
    data = load_data(frame, text="text", labels="age,city,hat+scarf")
    assert missing(data.labels("age")).sum() == 10
    assert np.flatnonzero(missing(data.labels("city"))).tolist() == list(range(5, 20))
    assert missing(data.labels("hat+scarf")).sum() == 10
    splits = make_splits(data)
    # Only rows 5 to 9 lack two labels, and no row lacks all: none is left out.
    assert len(splits.train) + len(splits.test) == 60


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("age,age", "Two tasks have the same label column 'age': age and age"),
        ("stars:ordinal,city,stars", "the same label column 'stars': stars:ordinal and stars"),
        ("hat+scarf,hat", "the same label column 'hat'"),
        ("city,agee", "no column 'agee'"),
        ("city,age:number", "no column 'age:number'"),
        ("hat+scarf:regression,city", "joined by [+]"),
        ("hat+city,age", "hat, city are not 0 and 1"),
        ("city,text", "'text' of DataFrame is named as input and as label"),
    ],
)
def test_bad_columns_are_refused(labels, said) -> None:
    with pytest.raises(DataError, match=said):
        kinds(labels)


def test_a_column_of_one_value_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="only one class in 'country': 'IT'"):
        kinds("city,country", PEOPLE.assign(country="IT"))
    with pytest.raises(DataError, match="All values of 'height' are equal"):
        kinds("city,height:regression", PEOPLE.assign(height=1.8))


def test_text_in_a_column_of_numbers_is_named_with_its_row() -> None:
    frame = PEOPLE.astype({"age": object})
    frame.loc[17, "age"] = "about forty"
    for labels in ("city,age:regression", "city,age"):
        with pytest.raises(DataError, match=r"'age'.*'about forty' [(]row 17[)]"):
            kinds(labels, frame)


def test_splits_are_stratified_by_every_task() -> None:
    frame = PEOPLE.astype({"hat": object})
    frame.loc[:49, "hat"] = None
    splits = make_splits(load_data(frame, text="text", labels="city,hat"), SplitOptions())
    have = np.flatnonzero(frame["hat"].notna())
    assert np.isin(splits.test, have).sum() == 2
    assert all(np.isin(held, have).any() for _, held in splits.folds)


# -- several data sets -------------------------------------------------------------------------------------------------


def pictures(n, classes, seed, channels=1):
    r = np.random.default_rng(seed)
    shape = (n, 8, 8) if channels == 1 else (n, 8, 8, channels)
    return r.integers(0, 255, shape, dtype=np.uint8), [f"c{i % classes}" for i in range(n)]


def test_joined_data_sets_have_labels_of_their_own_tasks_only() -> None:
    joint = load_data({"small": pictures(20, 2, 0), "large": pictures(60, 5, 1, channels=3)})
    assert [t.name for t in joint.schema.tasks] == ["small.label", "large.label"]
    assert [len(t.classes) for t in joint.schema.tasks] == [2, 5]
    assert joint.schema.channels == 3
    assert joint.read(0).inputs.shape == (8, 8, 3)
    assert (~missing(joint.labels("small.label"))).tolist() == [True] * 20 + [False] * 60
    assert (~missing(joint.labels("large.label"))).tolist() == [False] * 20 + [True] * 60
    assert joint.ids[0] == "small:0"
    assert joint.ids[-1] == "large:59"
    assert joint.origins.tolist() == ["small"] * 20 + ["large"] * 60
    splits = make_splits(joint)
    assert set(joint.subset(splits.test).origins) == {"small", "large"}
    assert len(joint.subset(splits.test)) == pytest.approx(16, abs=1)


def test_a_data_set_without_a_test_part_gives_a_share_of_its_own() -> None:
    x, y = pictures(40, 2, 0)
    given = load_data((x, y), test=pictures(12, 2, 3))
    joint = load_data({"given": given, "other": pictures(50, 2, 1)})
    origins = joint.subset(make_splits(joint).test).origins.tolist()
    assert origins.count("given") == 12
    assert origins.count("other") == 10


def test_data_sets_typed_with_their_names() -> None:
    joint = load_data(["digits=sample:optdigits", "more=sample:optdigits"])
    assert [t.name for t in joint.schema.tasks] == ["digits.label", "more.label"]
    # They are copies of each other, and copies never stand on two sides.
    splits = make_splits(joint)
    sides = [{joint.ids[i].split(":")[1] for i in part} for part in (splits.train, splits.test)]
    assert not sides[0] & sides[1]


def test_labels_of_one_of_several_tables() -> None:
    first = load_data(PEOPLE, text="text", labels="city,age")
    joint = load_data({"a": first, "b": PEOPLE}, text="text", labels="b.stars,b.hat")
    assert [t.name for t in joint.schema.tasks] == ["a.city", "a.age", "b.stars", "b.hat"]


def test_data_sets_that_do_not_fit_are_refused() -> None:
    texts = load_data(PEOPLE, text="text", label="city")
    with pytest.raises(DataError, match=r"differ in modality [(]digits image, people text[)]"):
        load_data({"digits": pictures(20, 2, 0), "people": texts})
    pairs = load_data(PEOPLE.assign(more="and more"), text="text,more", label="city")
    with pytest.raises(DataError, match="people single texts, pairs pairs of texts"):
        load_data({"people": texts, "pairs": pairs})
    r = np.random.default_rng(0)
    series = {str(c): load_data((r.normal(size=(10, 20, c)), ["a", "b"] * 5), modality="sequence") for c in (2, 3)}
    with pytest.raises(DataError, match=r"their channels [(]2 2, 3 3[)]"):
        load_data(series)
    with pytest.raises(DataError, match=r"cannot be called 'a[.]b'"):
        load_data({"a.b": texts, "c": texts})
    with pytest.raises(DataError, match="only one"):
        load_data("a=sample:optdigits")
    with pytest.raises(DataError, match="Two data sets are called 'a'"):
        load_data(["a=sample:optdigits", "a=sample:mnist5k"])
