"""Folders of pictures by class: layouts, what is left out, and what is refused."""

from __future__ import annotations

import errno
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.core.errors import ConfigError, DataError
from headstart.data.load import load_data, load_inputs


def save(path: Path, seed: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(path.as_posix().encode()) if seed is None else seed
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def make(root: Path, counts: dict[str, int]) -> Path:
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for i in range(count):
            save(root / label / f"{i}.png")
    return root


def texts(dataset) -> str:
    return "\n".join(note.text for note in dataset.notes.items)


def test_classes_are_the_folders(tmp_path: Path) -> None:
    make(tmp_path, {"10": 2, "9": 3})
    save(tmp_path / "9" / "deep" / "er" / "x.JPG")
    save(tmp_path / "9" / ".hidden" / "x.png")
    save(tmp_path / "$RECYCLE.BIN" / "x.png")
    (tmp_path / "9" / ".DS_Store").write_text("x")
    (tmp_path / "9" / "notes.txt").write_text("x")
    data = load_data(tmp_path)
    assert data.schema.task().classes == ("9", "10")
    assert sorted(data.ids) == ["10/0.png", "10/1.png", "9/0.png", "9/1.png", "9/2.png", "9/deep/er/x.JPG"]
    assert {data.ids[i]: int(data.labels()[i]) for i in range(len(data))}["10/0.png"] == 1
    assert data.given_parts == {}
    sample = data.read(0)
    assert sample.inputs.shape == (12, 10, 3)
    assert sample.labels == {"label": data.labels()[0]}
    assert data.sizes.tolist() == [[12, 10]] * 6


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_part_folders(tmp_path: Path, name: str) -> None:
    make(tmp_path / "train", {"a": 3, "b": 3})
    make(tmp_path / name, {"a": 1, "b": 1})
    make(tmp_path / "test", {"a": 2, "c": 1})
    data = load_data(tmp_path)
    assert {part: len(rows) for part, rows in data.given_parts.items()} == {
        "train": 6,
        "validation": 2,
        "test": 3,
    }
    assert data.schema.task().classes == ("a", "b", "c")
    assert data.part("test").ids == ["test/a/0.png", "test/a/1.png", "test/c/0.png"]
    with pytest.raises(DataError, match="no part 'tset'"):
        data.part("tset")


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    make(tmp_path, {"train": 2, "bus": 2})
    assert load_data(tmp_path).schema.task().classes == ("bus", "train")


def test_parts_given_as_other_paths(tmp_path: Path) -> None:
    make(tmp_path / "mine", {"a": 3, "b": 3})
    make(tmp_path / "held", {"b": 2})
    data = load_data(tmp_path / "mine", test=tmp_path / "held")
    assert data.part("test").ids == ["test:b/0.png", "test:b/1.png"]
    assert data.part("test").labels().tolist() == [1, 1]
    assert len(data.part("train")) == 6


def test_empty_class_folders_and_loose_pictures_are_noted(tmp_path: Path) -> None:
    make(tmp_path, {"a": 2, "b": 2, "void": 0})
    save(tmp_path / "loose.png")
    data = load_data(tmp_path)
    assert data.schema.task().classes == ("a", "b")
    assert "void" in texts(data)
    assert "1 pictures lie beside" in texts(data)


def test_links_that_go_round_in_circles_end(tmp_path: Path) -> None:
    make(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    assert len(load_data(tmp_path)) == 4


def test_refused_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        load_data(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no pictures"):
        load_data(tmp_path)
    save(tmp_path / "x.png")
    with pytest.raises(DataError, match="no folder per class"):
        load_data(tmp_path)
    (tmp_path / "only").mkdir()
    save(tmp_path / "only" / "x.png")
    with pytest.raises(DataError, match="only one class"):
        load_data(tmp_path)
    with pytest.raises(DataError, match="not a table"):
        load_data(tmp_path / "x.png")
    with pytest.raises(ConfigError, match="lable") as caught:
        load_data(tmp_path, lable="x")
    assert "'label'" in caught.value.hint


def broken(root: Path) -> None:
    whole = save(root / "a" / "whole.jpg").read_bytes()
    (root / "a" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "b" / "zero.png").write_bytes(b"")
    (root / "b" / "text.jpg").write_text("not a picture")


def test_bad_pictures_are_named_counted_and_skipped_up_to_a_tenth(tmp_path: Path) -> None:
    make(tmp_path, {"a": 20, "b": 20})
    broken(tmp_path)
    for _ in range(2):  # the second time, verdicts are remembered
        data = load_data(tmp_path)
        assert len(data) == 41
        assert "3 of 44 pictures cannot be read" in texts(data)
        for name in (
            "cut.jpg: it is truncated",
            "zero.png: the file is empty",
            "text.jpg: it is not a picture",
        ):
            assert name in texts(data)
    with pytest.raises(DataError, match="3 of 44"):
        load_data(tmp_path, bad_samples="refuse")


def test_too_many_bad_pictures_are_refused(tmp_path: Path) -> None:
    make(tmp_path, {"a": 5, "b": 5})
    broken(tmp_path)
    with pytest.raises(DataError, match="3 of 14 pictures") as caught:
        load_data(tmp_path)
    assert "At most 1" in caught.value.hint


def test_a_file_that_changed_is_looked_at_again(tmp_path: Path) -> None:
    make(tmp_path, {"a": 6, "b": 6})
    before = load_data(tmp_path).fingerprint()
    assert load_data(tmp_path).fingerprint() == before
    save(tmp_path / "a" / "0.png", seed=77)
    assert load_data(tmp_path).fingerprint() != before
    (tmp_path / "a" / "0.png").write_bytes(b"")
    data = load_data(tmp_path)
    assert len(data) == 11
    (tmp_path / "a" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match="changed since"):
        data.read(data.ids.index("a/1.png"))


def test_inputs_for_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, {"a": 2, "b": 1})
    (tmp_path / "a" / "bad.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert load_inputs("a/0.png").ids == ["a/0.png"]
    assert load_inputs(["a/0.png", "a/0.png"]).ids == ["a/0.png", "a/0.png#2"]
    folder = load_inputs(tmp_path)
    assert len(folder) == 3
    assert "bad.png" in texts(folder)
    assert load_inputs("*/0.png").ids == ["a/0.png", "b/0.png"]
    assert load_inputs(np.zeros((2, 5, 4), np.uint8)).read(1).inputs.shape == (5, 4, 1)
    assert load_inputs([np.zeros((5, 4, 3)), Image.new("L", (3, 2))]).read(1).inputs.shape == (2, 3, 3)
    assert folder.schema.tasks == ()
    for nothing in ("gone.png", "gone/*.png", [], ["a/bad.png"]):
        with pytest.raises(DataError):
            load_inputs(nothing)


def test_sizes_are_those_of_the_files_even_where_decoding_is_reduced(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for label in "ab":
        (tmp_path / label).mkdir()
        colour = {"a": "red", "b": "blue"}[label]
        Image.new("RGB", (1400, 1200), colour).save(tmp_path / label / "flat.jpg")
        Image.new("RGB", (1400, 1200), colour).save(tmp_path / label / "turned.jpg", exif=exif)
    assert load_data(tmp_path).sizes.tolist() == [[1200, 1400], [1400, 1200]] * 2


@pytest.mark.parametrize(
    "names", [["red, round", "red, square", "blue, round", "blue, square"], ["cat|dog", "cat", "dog"]]
)
def test_a_folder_is_one_class_whatever_it_is_called(tmp_path: Path, names: list[str]) -> None:
    make(tmp_path, dict.fromkeys(names, 2))
    task = load_data(tmp_path).schema.task()
    assert (task.kind, task.classes) == ("single-label", tuple(sorted(names)))
    assert load_data(tmp_path, task="multi-label").schema.task().kind == "multi-label"
    assert load_data(tmp_path, test=tmp_path).schema.task().kind == "single-label"


def test_folders_may_be_numbers(tmp_path: Path) -> None:
    make(tmp_path, {f"{i}.5": 1 for i in range(12)})
    assert load_data(tmp_path).schema.task().kind == "single-label"
    assert load_data(tmp_path, task="regression").schema.task().kind == "regression"


def close(monkeypatch: pytest.MonkeyPatch, folder: Path, *calls: str) -> None:
    """Let these functions of `os` refuse a folder and what lies in it, whoever runs the tests."""

    def refusing(real):
        def call(path=".", *arguments, **named):
            if isinstance(path, str | Path) and folder in (Path(path), Path(path).parent):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path, *arguments, **named)

        return call

    for name in calls:
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))


@pytest.mark.parametrize("calls", [("stat",), ("listdir", "scandir")], ids=["no way in", "no list"])
def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: tuple[str, ...]
) -> None:
    make(tmp_path / "p", {"a": 2, "b": 2})
    close(monkeypatch, tmp_path / "p", *calls)
    with pytest.raises(DataError, match="cannot be read: Permission denied") as caught:
        load_data(tmp_path / "p")
    assert str(tmp_path / "p") in caught.value.what
    assert caught.value.hint


def test_a_class_that_may_not_be_read_is_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, {"a": 2, "b": 2, "c": 2})
    close(monkeypatch, tmp_path / "b", "scandir")
    with pytest.raises(DataError, match=r"b cannot be read: Permission denied"):
        load_data(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("where", ["a/caf\udce9.png", "caf\udce9/0.png"])
def test_names_that_are_not_utf_8_are_refused(tmp_path: Path, where: str) -> None:
    make(tmp_path, {"a": 2, "b": 2})
    whole = (tmp_path / "a" / "0.png").read_bytes()
    (tmp_path / where).parent.mkdir(exist_ok=True)
    (tmp_path / where).write_bytes(whole)
    with pytest.raises(DataError, match=r"caf\\udce9.*is not UTF-8"):
        load_data(tmp_path)
    with pytest.raises(DataError, match=r"caf\\udce9.*is not UTF-8"):
        load_inputs(str(tmp_path))
