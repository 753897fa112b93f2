"""Texts out of tables, folders and lists: which columns, which rows, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
import torch

from headstart.core.errors import ConfigError, DataError, HeadstartError
from headstart.data.load import load_data, load_inputs
from headstart.data.texts import TextFileSource, TextSource, plain

N = 24
TEXTS = [f"the film number {i} was {'a delight' if i % 2 else 'a bore'} to watch" for i in range(N)]
LABELS = ["bad", "good"] * (N // 2)


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"nr": range(N), "what": TEXTS, "who": list("uvwx") * 6, "verdict": LABELS})


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True, force_ascii=False)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def said(data: Any) -> str:
    return " ".join(note.text for note in data.notes.items)


# -- where texts come from ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_kind_of_table_gives_the_texts_as_they_are(frame: pd.DataFrame, tmp_path: Path, suffix: str) -> None:
    texts = [*TEXTS[:-3], 'quoted "words", commas', "two\nlines", "这家店很好，推荐"]
    path = write(frame.assign(what=texts), tmp_path / f"t{suffix}")
    data = load_data(path, text="what", label="verdict", group="who")
    assert [data.read(i).inputs for i in range(N)] == texts
    assert data.schema.modality == "text"
    assert data.schema.inputs == ("what",)
    assert data.schema.task().classes == ("bad", "good")
    assert data.labels().tolist() == [0, 1] * (N // 2)
    assert data.groups is not None
    assert data.groups.tolist() == frame["who"].tolist()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(frame: pd.DataFrame, tmp_path: Path, suffix: str) -> None:
    path = write(frame[["what", "verdict"]], tmp_path / f"t{suffix}")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_data(path, text="what", label="verdict").read(0).inputs == TEXTS[0]


def test_a_data_set_of_hugging_face_brings_its_own_classes(frame: pd.DataFrame) -> None:
    features = datasets.Features(
        {"what": datasets.Value("string"), "verdict": datasets.ClassLabel(names=["good", "bad"])}
    )
    table = datasets.Dataset.from_dict({"what": TEXTS, "verdict": LABELS}, features=features)
    data = load_data(table, text="what", label="verdict")
    assert data.schema.task().classes == ("good", "bad")
    assert data.labels().tolist() == [1, 0] * (N // 2)
    parts = load_data(datasets.DatasetDict(train=table, test=table.select(range(4))), text="what", label="verdict")
    assert {name: len(rows) for name, rows in parts.given_parts.items()} == {"train": N, "test": 4}


def test_a_folder_of_text_files_gives_its_folders_as_classes(tmp_path: Path) -> None:
    for name, content in {"good/a.txt": "fein", "good/b.md": "trés bon", "bad/deep/c.txt": "\ufeffschlecht"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    data = load_data(tmp_path)
    found = {data.ids[i]: (data.read(i).inputs, data.schema.task().classes[data.labels()[i]]) for i in range(3)}
    assert found == {
        "bad/deep/c.txt": ("schlecht", "bad"),
        "good/a.txt": ("fein", "good"),
        "good/b.md": ("trés bon", "good"),
    }


@pytest.mark.parametrize("kind", [list, np.array, pd.Series], ids=["list", "array", "series"])
def test_texts_and_labels_may_be_two_collections(kind: Any) -> None:
    data = load_data((kind(TEXTS), kind(LABELS)))
    assert [data.read(i).inputs for i in (0, N - 1)] == [TEXTS[0], TEXTS[-1]]
    assert data.labels().tolist() == [0, 1] * (N // 2)


def test_a_torch_data_set_of_texts_is_read() -> None:
    class Reviews(torch.utils.data.Dataset):
        classes = ("bad", "good")

        def __len__(self) -> int:
            return N

        def __getitem__(self, i: int) -> tuple[str, int]:
            return TEXTS[i], i % 2

    data = load_data(Reviews())
    assert (data.read(3).inputs, data.schema.task().classes) == (TEXTS[3], ("bad", "good"))


def test_a_text_that_ends_like_a_picture_is_a_text_where_one_says_so() -> None:
    data = load_data((["see here: a.png", *TEXTS[1:]], LABELS), modality="text")
    assert data.read(0).inputs == "see here: a.png"


def test_pairs_come_from_two_columns_or_from_tuples(frame: pd.DataFrame) -> None:
    frame["answer"] = [text[::-1] for text in TEXTS]
    columns = load_data(frame, text="what,answer", label="verdict")
    tuples = load_data((list(zip(TEXTS, frame["answer"], strict=True)), LABELS))
    assert columns.read(2).inputs == tuples.read(2).inputs == (TEXTS[2], TEXTS[2][::-1])
    assert columns.schema.inputs == ("what", "answer")
    assert columns.content_hashes == tuples.content_hashes


def test_a_pair_with_one_empty_side_is_kept_and_one_with_two_is_not() -> None:
    pairs = [(text, "yes") for text in TEXTS]
    pairs[3], pairs[5] = (TEXTS[3], ""), ("", " ")
    data = load_data((pairs, LABELS))
    assert "3" in data.ids
    assert "5" not in data.ids


# -- guesses -----------------------------------------------------------------------------------------------------------


def test_columns_are_guessed_by_name_and_the_guess_is_said(frame: pd.DataFrame) -> None:
    data = load_data(frame.rename(columns={"what": "Review", "verdict": "sentiment"}).assign(notes="x" * 200))
    assert data.schema.inputs == ("Review",)
    assert data.schema.task().name == "sentiment"
    assert "Texts are taken from the column 'Review'" in said(data)
    assert "Labels are taken from the column 'sentiment'" in said(data)


def test_without_a_telling_name_the_longest_texts_are_taken(frame: pd.DataFrame) -> None:
    assert load_data(frame, label="verdict").schema.inputs == ("what",)


def test_known_pairs_of_names_are_guessed_as_pairs(frame: pd.DataFrame) -> None:
    frame = frame.rename(columns={"what": "premise"}).assign(hypothesis="it is so", label=LABELS)
    data = load_data(frame)
    assert data.schema.inputs == ("premise", "hypothesis")
    assert "'premise' and 'hypothesis'" in said(data)


def test_short_chinese_texts_are_guessed_as_texts() -> None:
    frame = pd.DataFrame({"评论": ["这家店很好吃", "服务太差劲了"] * 6, "标签": ["好", "差"] * 6})
    data = load_data(frame, label="标签")
    assert data.schema.inputs == ("评论",)
    assert data.schema.task().classes == ("好", "差") or data.schema.task().classes == ("差", "好")


def test_named_columns_are_not_said_to_be_guesses(frame: pd.DataFrame) -> None:
    assert "taken from" not in said(load_data(frame, text="what", label="verdict"))


# -- what is known of texts --------------------------------------------------------------------------------------------


def test_copies_are_equal_whatever_their_case_spaces_and_width() -> None:
    facts = TextSource([["A  Café\n", "a café", "ａ café", "a cafe"]]).facts
    first, second, wide, other = (fact.content for fact in facts)
    assert first == second == wide
    assert other != first
    assert plain(" Straße\t1 ") == "strasse 1"


def test_a_pair_is_no_copy_of_its_sides_joined() -> None:
    left, right = TextSource([["a b", "a"], ["c", "b c"]]).facts
    assert left.content != right.content


def test_sizes_are_characters() -> None:
    assert load_data((["四个汉字", "abc"] * 2, LABELS[:4])).sizes.ravel().tolist() == [4, 3, 4, 3]


# -- bad input ---------------------------------------------------------------------------------------------------------


def refused(source: Any, **options: Any) -> HeadstartError:
    with pytest.raises(HeadstartError) as caught:
        load_data(source, **options)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


def test_some_empty_texts_are_counted_named_and_left_out() -> None:
    data = load_data((["", *TEXTS[1:5], "  \n\t", *TEXTS[6:]], LABELS))
    assert len(data) == N - 2
    assert "2 of 24 texts cannot be read: row 0: it is empty; row 5: it is empty" in said(data)


@pytest.mark.parametrize("nothing", ["", "   ", None, np.nan])
def test_many_empty_texts_are_refused(nothing: Any) -> None:
    error = refused((TEXTS[:12] + [nothing] * 12, LABELS))
    assert "12 of 24 texts cannot be read: row 12: it is empty" in error.what


def test_empty_texts_can_be_refused_outright() -> None:
    assert "row 1: it is empty" in refused((["a", "", *TEXTS[2:]], LABELS), bad_samples="refuse").what


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_table_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    rows = ["text,label", "fine,a", "caf\xe9,b"] if suffix == ".csv" else ['{"text": "a"}', "{}", '{"text": "caf\xe9"}']
    path.write_bytes("\n".join(rows).encode("latin-1"))
    error = refused(path)
    assert f"{path}, line 3 is not UTF-8 (byte 0xe9)" in error.what
    assert "UTF-8" in error.hint


def test_utf16_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\nfine,a\n", encoding="utf-16")
    assert "line 1 is not UTF-8" in refused(tmp_path / "t.csv").what


def test_a_text_file_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    for i in range(12):
        path = tmp_path / ("a" if i % 2 else "b") / f"{i}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"text {i}")
    (tmp_path / "a" / "bad.txt").write_bytes(b"one\ntwo\n\xff\xfe\n")
    assert "bad.txt: line 3 is not UTF-8 (byte 0xff)" in said(load_data(tmp_path))
    assert "bad.txt: line 3" in refused(tmp_path, bad_samples="refuse").what


def test_a_file_that_went_away_is_a_bad_text(tmp_path: Path) -> None:
    assert "cannot be read" in TextFileSource([tmp_path / "gone.txt"]).facts[0].problem


@pytest.mark.parametrize("ids", [[f"u{i}" for i in range(N)], [f"{i:x}-77" for i in range(N)]])
def test_a_label_column_that_is_an_id_is_refused(frame: pd.DataFrame, ids: list[str]) -> None:
    error = refused(frame.assign(verdict=ids), text="what", label="verdict")
    assert "'verdict' has 24 different values in 24 rows" in error.what
    assert "id, not a label" in error.what
    assert load_data(frame.assign(verdict=ids), text="what", label="verdict", task="single-label").labels().max() == 23


def test_numbers_in_a_column_called_id_are_refused_as_labels(frame: pd.DataFrame) -> None:
    frame["user_id"] = np.random.default_rng(0).permutation(1000)[:N]
    assert "id, not a label" in refused(frame, text="what", label="user_id").what
    assert load_data(frame, text="what", label="user_id", task="regression").schema.task().kind == "regression"
    grade = frame.rename(columns={"user_id": "grade"})
    assert load_data(grade, text="what", label="grade").schema.task().kind == "regression"


def test_cells_that_are_no_texts_are_named(frame: pd.DataFrame) -> None:
    error = refused(frame, text="nr", label="verdict")
    assert "row 0: '0' is a int64 and no text" in error.what


def test_a_column_that_is_not_there_is_answered_with_one_that_is(frame: pd.DataFrame) -> None:
    assert "'what'" in refused(frame, text="waht", label="verdict").hint


def test_three_columns_are_no_pair(frame: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="3 columns"):
        load_data(frame, text="what,who,nr", label="verdict")


def test_lists_of_different_lengths_are_refused() -> None:
    assert "24 texts, but 23 labels" in refused((TEXTS, LABELS[1:])).what


def test_pairs_and_single_texts_do_not_mix() -> None:
    assert "Entry 1" in refused(([("a", "b"), "c"] * 4, LABELS[:8])).what


@pytest.mark.parametrize(
    ("content", "where"),
    [("text,label\na,b\nc,d,e\n", "line 3"), ("", "empty"), ("text,label\n", "no rows")],
    ids=["ragged", "nothing", "header"],
)
def test_a_broken_table_is_refused(tmp_path: Path, content: str, where: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    error = refused(tmp_path / "t.csv")
    assert where in error.what
    assert "t.csv" in error.what


# -- without labels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [list, np.array, pd.Series], ids=["list", "array", "series"])
def test_texts_to_predict_on_may_be_any_collection(kind: Any) -> None:
    data = load_inputs(kind(TEXTS), "text")
    assert [data.read(i).inputs for i in range(N)] == TEXTS


@pytest.mark.parametrize("text", ["~~ so good ~~", "x" * 500, "a\0b", "who? [me]", "很好", "/ is the root"])
def test_a_single_text_is_never_taken_for_a_path(text: str) -> None:
    assert load_inputs(text, "text").read(0).inputs == text


def test_an_empty_text_to_predict_on_is_refused() -> None:
    with pytest.raises(DataError, match="empty"):
        load_inputs([""], "text")


def test_files_patterns_and_folders_of_texts_are_read(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    for given in (tmp_path, f"{tmp_path}/*.txt", [tmp_path / "a.txt", str(tmp_path / "b.txt")]):
        data = load_inputs(given, "text")
        assert [data.read(i).inputs for i in range(2)] == ["a.txt", "b.txt"]


def test_a_table_is_read_by_the_columns_that_the_model_read(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = write(frame.drop(columns="verdict").assign(text="something else"), tmp_path / "t.csv")
    assert load_inputs(path, "text", ("what",)).read(1).inputs == TEXTS[1]
    with pytest.raises(DataError, match="no column 'body'"):
        load_inputs(path, "text", ("body",))
