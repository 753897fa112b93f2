"""Tables in files and in memory, arrays, and torch-like collections."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from headstart.core.errors import ConfigError, DataError
from headstart.data.load import load_data, load_inputs
from headstart.data.pictures import decode

N = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p").mkdir()
    random = np.random.default_rng(0)
    for i in range(N):
        Image.fromarray(random.integers(0, 255, (9, 8, 3), dtype=np.uint8)).save(tmp_path / f"p/{i}.png")
    return tmp_path


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "file": [f"p/{i}.png" for i in range(N)],
            "label": ["yes", "None"] * 6,
            "age": np.linspace(1.5, 30, N),
            "red": [0, 1, 1] * 4,
            "round": [1, 1, 0] * 4,
            "person": list("uvwx") * 3,
            "day": pd.date_range("2026-01-01", periods=N).astype(str),
        }
    )


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_table_files(folder: Path, frame: pd.DataFrame, suffix: str) -> None:
    path = write(frame, folder / f"table{suffix}")
    data = load_data(path, group="person", split_by="day")
    assert data.ids == frame["file"].tolist()
    assert data.schema.task().classes == ("None", "yes")
    assert data.labels().tolist() == [1, 0] * 6
    assert data.groups.tolist() == frame["person"].tolist()
    assert np.diff(data.times).tolist() == [86400.0] * (N - 1)
    np.testing.assert_array_equal(data.read(3).inputs, decode(folder / "p/3.png"))
    assert any("'label'" in note.text for note in data.notes.items)
    assert len(load_inputs(path)) == N


def test_kinds_of_labels(folder: Path, frame: pd.DataFrame) -> None:
    path = write(frame, folder / "table.csv")
    age = load_data(path, label="age")
    assert age.schema.task().kind == "regression"
    np.testing.assert_allclose(age.labels(), frame["age"], rtol=1e-6)
    both = load_data(path, labels="red,round")
    assert both.schema.task().classes == ("red", "round")
    np.testing.assert_array_equal(both.labels(), frame[["red", "round"]])
    several = load_data(path, labels=("age", "label"))
    assert [task.kind for task in several.schema.tasks] == ["regression", "single-label"]
    assert set(several.read(0).labels) == {"age", "label"}


def test_gaps_in_tables(folder: Path, frame: pd.DataFrame) -> None:
    frame.loc[3, "label"] = np.nan
    frame.loc[5, "file"] = "p/gone.png"
    data = load_data(write(frame, folder / "table.csv"))
    assert len(data) == N - 1
    texts = " ".join(note.text for note in data.notes.items)
    assert "gone.png: there is no such file" in texts
    assert "1 of 11 rows have no label" in texts
    assert data.labels()[data.ids.index("p/3.png")] == -1


def test_refused_tables(folder: Path, frame: pd.DataFrame) -> None:
    path = write(frame, folder / "table.csv")
    with pytest.raises(DataError, match="no column 'lable'") as caught:
        load_data(path, label="lable")
    assert "'label'" in caught.value.hint
    with pytest.raises(DataError, match="Which column"):
        load_data(write(frame.drop(columns="label"), folder / "unclear.csv"))
    with pytest.raises(DataError, match="looks like pictures"):
        load_data(write(frame.drop(columns="file"), folder / "none.csv"))
    with pytest.raises(DataError, match="No row has a label"):
        load_data(write(frame.assign(label=""), folder / "unlabelled.csv"))
    with pytest.raises(DataError, match="not 0 and 1"):
        load_data(path, labels="age,label", task="multi-label")
    with pytest.raises(ConfigError, match="Both"):
        load_data(path, label="age", labels="red,round")
    for name, content in {
        "empty.csv": "",
        "header.csv": "file,label\n",
        "torn.parquet": "PAR1 not really",
    }.items():
        (folder / name).write_text(content)
        with pytest.raises(DataError, match=name):
            load_data(folder / name)


def test_frames(folder: Path, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert load_data(frame, label="label").ids[0] == "p/0.png"
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 255, (5 + i, 6), dtype=np.uint8) for i in range(4)]
    cells = pd.DataFrame({"what": arrays, "y": list("abab")})
    data = load_data(cells)
    assert data.ids == ["0", "1", "2", "3"]
    assert data.read(2).inputs.shape == (7, 6, 1)
    images = load_data(pd.DataFrame({"image": [Image.fromarray(a) for a in arrays], "y": list("abab")}))
    assert images.fingerprint() == data.fingerprint()


def arrow(folder: Path) -> datasets.Dataset:
    features = datasets.Features({"image": datasets.Image(), "y": datasets.ClassLabel(names=["dog", "cat", "cow"])})
    rows = {"image": [str(folder / f"p/{i}.png") for i in range(N)], "y": [1, 0] * 6}
    return datasets.Dataset.from_dict(rows, features=features)


def test_arrow_data_sets(folder: Path) -> None:
    table = arrow(folder)
    data = load_data(table)
    assert data.schema.task().classes == ("dog", "cat", "cow")
    assert data.labels().tolist() == [1, 0] * 6
    np.testing.assert_array_equal(data.read(3).inputs, np.asarray(table[3]["image"]))
    parts = load_data(datasets.DatasetDict(train=table, validation=table.select([0, 1]), extra=table))
    assert {name: len(rows) for name, rows in parts.given_parts.items()} == {"train": N, "validation": 2}
    with pytest.raises(DataError, match="no train part"):
        load_data({"one": table, "two": table})


class Pairs(torch.utils.data.Dataset):
    classes = ("dog", "cat")

    def __init__(self, random: bool = False, gone: bool = False) -> None:
        self.random, self.gone = random, gone

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        if self.gone and i == 2:
            raise FileNotFoundError("2.png")
        generator = None if self.random else torch.Generator().manual_seed(i)
        return torch.rand(3, 7, 6, generator=generator), i % 2


def test_torch_data_sets() -> None:
    data = load_data(Pairs())
    assert data.schema.task().classes == ("dog", "cat")
    np.testing.assert_allclose(data.read(4).inputs, Pairs()[4][0].numpy().transpose(1, 2, 0))
    assert not data.notes.items
    assert "another picture each time" in load_data(Pairs(random=True)).notes.items[0].text
    assert len(load_data(Pairs(gone=True))) == N - 1

    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from ()

    for bad in (Endless(), [1, 2, 3], 7, {"a": 1}):
        with pytest.raises(DataError):
            load_data(bad)
    vectors = [(np.full((4, 4), i, np.uint8), np.array([i % 2, 1 - i % 2])) for i in range(6)]
    assert load_data(vectors).schema.task().kind == "multi-label"


def test_arrays() -> None:
    random = np.random.default_rng(0)
    grey = random.integers(0, 255, (N, 6, 5), dtype=np.uint8)
    labels = np.arange(N) % 3
    data = load_data((grey, labels))
    np.testing.assert_array_equal(data.read(1).inputs[:, :, 0], grey[1])
    colour = random.random((N, 3, 6, 5))
    first = load_data((colour, labels)).read(0).inputs
    np.testing.assert_allclose(first, colour[0].transpose(1, 2, 0), rtol=1e-6)
    assert load_data((torch.from_numpy(colour * 255), torch.from_numpy(labels))).read(0).inputs.max() <= 1
    assert load_data((random.random((N, 6, 5, 7)), labels)).schema.channels == 7
    onehot = np.eye(3)[labels]
    assert load_data((grey, onehot)).labels().tolist() == labels.tolist()
    assert load_data((grey, onehot), task="multi-label").schema.task().kind == "multi-label"
    onehot[0, 1] = 1
    assert load_data((grey, onehot)).schema.task().kind == "multi-label"
    with_gap = colour.copy()
    with_gap[4, 0, 0, 0] = np.nan
    assert len(load_data((with_gap, labels))) == N - 1
    for pictures, wrong in [(grey, labels[:-1]), (grey[0, 0], labels), (grey[:0], labels[:0])]:
        with pytest.raises(DataError):
            load_data((pictures, wrong))


def test_views_share_and_slice() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (N, 4, 4), dtype=np.uint8)
    data = load_data((pictures, np.arange(N) % 3))
    some = data.subset([5, 1]).subset([1])
    assert some.ids == ["1"]
    assert some.labels().tolist() == [1]
    np.testing.assert_array_equal(some.read(0).inputs[:, :, 0], pictures[1])
    assert data.fingerprint() != some.fingerprint()
    assert data.fingerprint() == load_data((pictures.copy(), np.arange(N) % 3)).fingerprint()
    assert data.fingerprint() != load_data((pictures, (np.arange(N) + 1) % 3)).fingerprint()
    with pytest.raises(ConfigError, match="loaded already"):
        load_data(data, label="x")
    assert load_data(data) is data
    assert load_inputs(some).ids == ["1"]


def test_two_ways_to_write_a_path_are_no_two_names(folder: Path, frame: pd.DataFrame) -> None:
    twice = frame.assign(file=["./p/0.png", *frame["file"][:-1]])
    data = load_data(write(twice, folder / "table.csv"))
    assert data.ids == [str(row) for row in range(N)]


def test_names_in_a_table_that_are_not_utf_8_are_refused(folder: Path, frame: pd.DataFrame) -> None:
    names = [str(folder / "caf\udce9.png"), *(str(folder / name) for name in frame["file"][1:])]
    odd = frame.assign(file=pd.Series(names, dtype=object))
    with pytest.raises(DataError, match=r"caf\\udce9\.png is not UTF-8"):
        load_data(odd, image="file", label="label")


def test_a_group_is_the_same_in_a_part_with_gaps(folder: Path, frame: pd.DataFrame) -> None:
    """A blank makes decimal numbers of a column: patient 1.0 must not stand on the other side of patient 1."""
    train = write(frame.assign(patient=[i // 2 for i in range(N)]), folder / "train.csv")
    held = frame.assign(patient=[1, None] * (N // 2))
    data = load_data(train, label="label", group="patient", test=write(held, folder / "test.csv"))
    assert data.part("train").groups.tolist() == [str(i // 2) for i in range(N)]
    assert data.part("test").groups[::2].tolist() == ["1"] * (N // 2)
    assert len(set(data.part("test").groups)) == 1 + N // 2


def test_parts_given_apart_are_read_from_the_columns_of_the_training_data(folder: Path, frame: pd.DataFrame) -> None:
    frame = frame.assign(mask=frame["file"][::-1].to_numpy())
    train, held = frame[["file", "mask", "label"]], frame[["mask", "file", "label"]]
    train, held = (
        train.rename(columns={"file": "image", "mask": "path"}),
        held.rename(columns={"file": "image", "mask": "path"}),
    )
    data = load_data(write(train, folder / "train.csv"), test=write(held, folder / "test.csv"))
    assert data.schema.inputs == ("image",)
    np.testing.assert_array_equal(data.part("test").read(0).inputs, decode(folder / "p/0.png"))
    with pytest.raises(DataError, match="no column 'image'"):
        load_data(folder / "train.csv", test=write(held.drop(columns="image"), folder / "other.csv"))


def test_parts_whose_texts_stand_in_other_columns_are_refused() -> None:
    short, long = ["a few words, no more"] * 4, ["a good many more words than in the other column"] * 4
    both = pd.DataFrame({"first": short, "second": long, "label": list("abab")})
    other = both.rename(columns={"first": "second", "second": "first"})
    data = load_data(both, test=other)
    assert data.schema.inputs == ("second",)
    assert data.part("test").read(0).inputs == short[0]
    parts = datasets.DatasetDict(train=datasets.Dataset.from_pandas(both), test=datasets.Dataset.from_pandas(other))
    with pytest.raises(DataError, match=r"test data have their texts in first, the training data in second"):
        load_data(parts)


def test_columns_are_compared_between_tables_only(folder: Path, frame: pd.DataFrame) -> None:
    pictures = np.zeros((4, 16, 16, 3), np.uint8)
    data = load_data((pictures, list("abab")), test=write(frame, folder / "test.csv"))
    assert len(data.part("test")) == len(frame)
