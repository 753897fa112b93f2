"""Texts from a table or a folder to a model that predicts, as it is typed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.models.tiny_texts import save_family, tokenizer
from tests.verbs.words_and_curves import WORDS, label, reviews, table, text

from headstart.models.torchvision_import import prepare_torchvision


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reviews.csv, held.csv and a run that read 8 words of each text."""
    from headstart.cli.main import _run

    root = tmp_path_factory.mktemp("texts")
    reviews(root / "reviews.csv")
    reviews(root / "held.csv", 16, start=500)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        options = ("--strategy", "full", "--test", "held.csv", "--out", "run")
        assert _run(["fit", "reviews.csv", *WORDS, "--max-length", "8", *options]) == 0
    return root


def report_of(run: str | Path) -> dict[str, Any]:
    return json.loads((Path(run) / "report.json").read_text(encoding="utf-8"))


def page_of(run: str | Path) -> str:
    return (Path(run) / "report.html").read_text(encoding="utf-8")


def test_fit_finds_the_columns_and_says_what_it_took(here: Any, at_home: Path) -> None:
    notes = " ".join(n["text"] for n in report_of("run")["data"]["notes"])
    assert "Texts are taken from the column 'review'" in notes
    assert "Labels are taken from the column 'sentiment'" in notes


def test_what_is_printed_stays_within_80_columns(here: Any, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv", 32)
    said = here("fit", "t.csv", *WORDS, "--strategy", "probe")
    assert said.code == 0, said
    lines = said.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "TF-IDF + logistic regression" in said.out
    assert "headstart predict runs/t" in said.out
    for leaked in ("Warning", "warn(", "Traceback", "  on "):
        assert leaked not in said.err


def test_a_network_with_random_weights_is_not_said_to_transfer(here: Any, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv", 32)
    said = here("fit", "t.csv", *WORDS, "--strategy", "probe")
    assert "Does the network pay?" in said.out
    assert "ransfer" not in said.out
    assert "Transfer" not in page_of("runs/t")


def test_one_epoch_is_not_epochs(here: Any, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv", 32)
    said = here("fit", "t.csv", *WORDS, "--strategy", "full", "--dry-run")
    assert said.code == 0, said
    assert "1 epoch, on two halves" in said.out
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_texts_by_class(here: Any, tmp_path: Path) -> None:
    for i in range(32):
        path = tmp_path / "mail" / label(i) / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(i), encoding="utf-8")
    assert here("fit", "mail", *WORDS, "--strategy", "probe", "--out", "run").code == 0
    rows = json.loads(here("predict", "run", "mail/pos", "--json").out)
    assert [row["id"] for row in rows] == sorted(f"mail/pos/{i}.txt" for i in range(1, 32, 2))


def test_jsonl_with_pairs_of_texts(here: Any, tmp_path: Path) -> None:
    rows = [{"text_a": text(i), "text_b": text(i + 1), "label": label(i)} for i in range(32)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = here("fit", "t.jsonl", *WORDS, "--strategy", "full", "--out", "run", "--json")
    assert said.code == 0, said
    assert isinstance(json.loads(said.out)["worst"][0]["text"], list)
    assert here("predict", "run", "t.jsonl").code == 0


def test_chinese_texts_are_read_and_shown_as_they_are(here: Any, tmp_path: Path) -> None:
    kinds = {"好": "这部电影非常好看我很喜欢", "差": "味道难吃服务态度很差"}
    rows = [(f"{kinds[k]}，第{i}次", k) for i in range(20) for k in kinds]
    table(tmp_path / "zh.csv", ("text", "label"), rows)
    assert here("fit", "zh.csv", *WORDS, "--strategy", "probe", "--out", "run").code == 0
    report = report_of("run")
    assert sorted(report["task"]["classes"]) == sorted(kinds)
    tokens = [t["token"] for t in report["importance"][0]["tokens"]]
    assert len(tokens) > 10  # characters are words here: nothing is one unknown token
    assert "�" not in page_of("run")
    assert kinds["好"][:6] in page_of("run")
    said = here("predict", "run", "zh.csv", "--csv")
    assert said.out.splitlines()[1].startswith(rows[0][0])


def test_the_report_shows_the_hardest_texts_with_their_words(home: Path) -> None:
    worst = report_of(home / "run")["worst"]
    assert [w["loss"] for w in worst] == sorted((w["loss"] for w in worst), reverse=True)
    held = pd.read_csv(home / "held.csv")["review"].tolist()
    assert worst[0]["text"] in held
    assert worst[0]["text"] in page_of(home / "run")


def test_the_report_says_how_many_texts_are_cut_off_and_how_much_is_lost(home: Path) -> None:
    lengths = report_of(home / "run")["data"]["lengths"]
    # Every text has 11 words and two special tokens, and 8 of the 13 enter.
    assert lengths["limit"] == 8
    assert lengths["truncated"] == sum(lengths["counts"]) == 48
    assert lengths["lost_share"] == pytest.approx(5 / 13)
    assert "48 training samples (100.0%) are longer and lose their end: 38.5% of all tokens" in page_of(home / "run")


def test_fit_says_that_texts_are_cut_off(here: Any, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv", 32)
    short = here("fit", "t.csv", *WORDS, "--max-length", "8", "--strategy", "probe")
    said = " ".join(short.out.split())
    assert re.search(r"(\d+) of \1 training texts are cut off: they lose 38.5% of all tokens", said), short.out
    assert "cut off" not in here("fit", "t.csv", *WORDS, "--strategy", "probe").out


def test_windows_read_what_truncation_loses(here: Any, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv", 32)
    options = (*WORDS, "--max-length", "8", "--long", "windows", "--strategy", "full", "--out", "run")
    assert here("fit", "t.csv", *options).code == 0
    lengths = report_of("run")["data"]["lengths"]
    assert (lengths["limit"], lengths["truncated"], lengths["long"]) == (8, 0, "windows")
    weighed = report_of("run")["importance"][0]["tokens"]
    assert len(weighed) == 11
    assert here("predict", "run", "t.csv").code == 0


def test_windows_count_the_special_tokens_of_each_and_what_is_beyond_the_last(here: Any, tmp_path: Path) -> None:
    """Sixteen windows of a Transformer hold six words each beside the two special tokens: 96 of 200."""
    prepare_torchvision()
    save_family("bert", tmp_path / "tiny")
    words = ["the", "cat", "dog", "sat", "ran", "on", "over", "mat", "river", "rain"]
    rng = np.random.default_rng(0)
    rows = [(" ".join([label(i), *rng.choice(words, 200)]), label(i)) for i in range(24)]
    table(tmp_path / "t.csv", ("text", "label"), rows)
    counts = np.array([len(tokenizer()(row[0])["input_ids"]) for row in rows])
    options = ("--model", "hf:tiny", "--max-length", "8", "--long", "windows", "--strategy", "probe", "--out", "run")
    assert here("fit", "t.csv", *options).code == 0
    lengths = report_of("run")["data"]["lengths"]
    assert lengths["truncated"] == sum(lengths["counts"])
    counts = counts[[int(row) for row in json.loads(Path("run/data.json").read_text())["split"]["train"]]]
    assert lengths["lost_share"] == pytest.approx((counts - (2 + 16 * 6)).sum() / counts.sum())


@pytest.mark.parametrize("pooling", ["last", "attention"])
def test_every_pooling_of_a_recurrent_network_predicts_again(pooling: str, here: Any, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv", 32)
    options = ("--pooling", pooling, "--strategy", "full", "--out", "run")
    assert here("fit", "t.csv", *WORDS, *options).code == 0
    assert report_of("run")["model"]["pooling"] == pooling
    assert here("evaluate", "run", "t.csv").code == 0


def test_the_report_weighs_the_words_of_single_answers(home: Path) -> None:
    rows = report_of(home / "run")["importance"]
    held = pd.read_csv(home / "held.csv")["review"]
    assert rows
    for row in rows:
        words = held[int(row["id"].removeprefix("test:"))].split()[:6]
        shown = [t["token"] for t in row["tokens"]]
        assert all(w == s for w, s in zip(words, shown, strict=True) if s != "<unk>")
        assert any(t["value"] != 0 for t in row["tokens"])


def test_words_that_the_network_does_not_know_keep_their_place_among_the_weighed(home: Path) -> None:
    """Two texts hold a word that training has not."""
    shown = [[t["token"] for t in row["tokens"]] for row in report_of(home / "run")["importance"]]
    assert {len(tokens) for tokens in shown} == {6}


def test_the_report_has_lengths_and_confusion(home: Path) -> None:
    report, page = report_of(home / "run"), page_of(home / "run")
    assert sum(map(sum, report["confusion"]["matrix"])) == 16
    assert "How long they are" in page
    assert "Confusion matrix" in page


def test_predict_repeats_the_predictions_of_the_run(here: Any, at_home: Path) -> None:
    kept = pd.read_parquet("run/predictions.parquet").query("part == 'test'")
    rows = json.loads(here("predict", "run", "held.csv", "--json").out)
    assert [row["predicted"] for row in rows] == kept["predicted"].tolist()
    assert [row["confidence"] for row in rows] == pytest.approx(kept["confidence"].tolist(), abs=1e-5)


def test_evaluate_says_the_number_of_the_run(here: Any, at_home: Path) -> None:
    found = json.loads(here("evaluate", "run", "held.csv", "--json").out)
    for name, value in report_of("run")["metrics"]["test"].items():
        assert found["metrics"][name]["value"] == pytest.approx(value["value"], abs=1e-5), name


def test_evaluate_reads_the_label_column_that_the_model_learned(here: Any, tmp_path: Path) -> None:
    rows = [(text(i), label(i), f"k{i % 3}", i % 2) for i in range(32)]
    table(tmp_path / "t.csv", ("what", "label", "mood", "n"), rows)
    options = ("--text", "what", "--label", "mood", "--strategy", "probe", "--out", "run")
    assert here("fit", "t.csv", *WORDS, *options).code == 0
    found = json.loads(here("evaluate", "run", "t.csv", "--json").out)
    assert [row["class"] for row in found["per_class"]] == ["k0", "k1", "k2"]


def test_report_is_made_again_from_the_folder(here: Any, at_home: Path) -> None:
    before = Path("run/report.html").read_bytes()
    Path("run/report.html").unlink()
    assert here("report", "run").code == 0
    assert Path("run/report.html").read_bytes() == before


def test_no_examples_keeps_the_texts_out_of_the_run_folder(here: Any, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv", 32)
    assert here("fit", "t.csv", *WORDS, "--strategy", "probe", "--no-examples", "--out", "run").code == 0
    for name in ("report.html", "report.json", "data.json"):
        content = (tmp_path / "run" / name).read_text(encoding="utf-8")
        assert not any(text(i) in content for i in range(32)), name
