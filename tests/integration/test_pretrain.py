"""Pretraining on data without labels, and fits that start from it, as it is typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.models.tiny_texts import save_family
from tests.verbs.words_and_curves import CURVES, arrays, curves, recordings, reviews

from headstart.models.torchvision_import import prepare_torchvision

LANGUAGE = ("--model", "scratch:awd-lstm", "--arch", "layers=1,width=12,words=200")
CURVE = CURVES[:-2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a language model (words) and a network for series (waves)."""
    from headstart.cli.main import _run

    root = tmp_path_factory.mktemp("pretrain")
    reviews(root / "t.csv")
    arrays(root / "s.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert _run(["pretrain", "t.csv", "--text", "review", *LANGUAGE, "--epochs", "2", "--out", "words"]) == 0
        assert _run(["pretrain", "s.npz", *CURVE, "--epochs", "2", "--out", "waves"]) == 0
    return root


def report_of(run: str | Path) -> dict[str, Any]:
    return json.loads((Path(run) / "report.json").read_text(encoding="utf-8"))


def weights(run: str | Path) -> dict[str, np.ndarray]:
    return load_file(Path(run) / "bundle" / "model.safetensors")


def test_a_person_reads_what_was_learned_and_what_to_do_next(here: Any, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv")
    said = here("pretrain", "t.csv", "--text", "review", *LANGUAGE, "--epochs", "1")
    assert said.code == 0, said
    assert max(map(len, said.out.splitlines())) <= 80
    assert "1 epoch, in" in " ".join(said.out.split())
    assert "headstart fit DATA --model run:runs/pretrain-t" in said.out
    assert "Warning" not in said.err


def test_json_of_a_pretraining_is_its_report(here: Any, tmp_path: Path) -> None:
    arrays(tmp_path / "s.npz")
    said = here("pretrain", "s.npz", *CURVE, "--epochs", "1", "--out", "run", "--json")
    printed = json.loads(said.out)
    assert printed.pop("run") == "run"
    assert printed == report_of("run")


def test_a_language_model_gets_better_at_its_texts(here: Any, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv", 200)
    plain = ("--model", "scratch:gru", "--arch", "layers=1,width=16,embedding=16,dropout=0")
    options = (*plain, "--epochs", "6", "--lr", "0.02", "--batch-size", "4")
    said = here("pretrain", "t.csv", "--text", "review", *options, "--json")
    done = json.loads(said.out)["pretraining"]
    assert done["objective"] == "language-model"
    assert done["best"] < 0.9 * done["first"]


def test_a_fit_starts_from_what_was_pretrained(here: Any, at_home: Path, tmp_path: Path) -> None:
    run = tmp_path / "fit"
    options = (
        "--model",
        "run:words",
        "--strategy",
        "probe",
        "--stage",
        "last",
        "--vocabulary",
        "keep",
        "--guard",
        "off",
    )
    assert here("fit", "t.csv", *options, "--out", run).code == 0
    before, after = weights("words"), weights(run)
    assert {n for n in before if n in after} == set(before)
    assert all(np.array_equal(before[n], after[n]) for n in before)


def test_words_are_carried_over_to_other_texts(here: Any, at_home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text((at_home / "t.csv").read_text().replace("film", "theatre"))
    options = ("--model", "run:words", "--strategy", "probe", "--guard", "off", "--out", tmp_path / "fit")
    assert here("fit", other, *options).code == 0
    carried = report_of(tmp_path / "fit")["model"]["vocabulary"]
    assert 0 < carried["shared"] < carried["total"]


def test_ulmfit_goes_on_from_the_language_model(here: Any, at_home: Path, tmp_path: Path) -> None:
    options = ("--model", "run:words", "--strategy", "ulmfit", "--epochs", "2", "--out", tmp_path / "fit")
    said = here("fit", "t.csv", *options, "--json")
    assert said.code == 0, said
    first, *others = json.loads(said.out)["strategy"]["phases"]
    assert first["objective"] == "pretraining"
    # Somebody trained this network: earlier layers learn 2.6 times as slowly as the next.
    rates = others[-1]["rates"]
    assert rates["embedding"] == pytest.approx(rates["rnn.0"] / 2.6)


def test_a_network_for_series_starts_a_fit(here: Any, at_home: Path, tmp_path: Path) -> None:
    options = ("--model", "run:waves", "--strategy", "full", "--epochs", "1", "--out", tmp_path / "fit")
    assert here("fit", "s.npz", *options).code == 0
    assert report_of(tmp_path / "fit")["model"]["reference"] == "run:waves"
    assert here("predict", tmp_path / "fit", "s.npz").code == 0


def test_a_transformer_learns_hidden_words(here: Any, tmp_path: Path) -> None:
    reviews(tmp_path / "t.csv", 32)
    prepare_torchvision()
    save_family("bert", tmp_path / "tiny")
    options = ("--model", f"hf:{tmp_path / 'tiny'}", "--epochs", "1", "--max-length", "16", "--out", "run")
    said = here("pretrain", "t.csv", "--text", "review", *options, "--json")
    assert said.code == 0, said
    done = json.loads(said.out)
    assert done["pretraining"]["objective"] == "masked-language-model"
    # A new decoder learns alone first: the network is not moved by its random errors.
    assert [p["name"] for p in done["strategy"]["phases"]] == ["decoder", "all"]
    assert here("fit", "t.csv", "--model", "run:run", "--strategy", "probe", "--out", "fit").code == 0


def test_long_tables_are_cut_as_for_a_fit(here: Any, tmp_path: Path) -> None:
    recordings(tmp_path / "long.csv", people=3)
    reading = ("--series", "ax,ay", "--id", "rec", "--time", "time", "--window", "1s")
    said = here("pretrain", "long.csv", *CURVE, *reading, "--epochs", "1", "--out", "run", "--json")
    assert json.loads(said.out)["data"]["samples"] == 6 * 4


def test_of_data_with_parts_only_the_training_part_is_learned_from(tmp_path: Path) -> None:
    import headstart as hs

    data = hs.load_data(curves(30), test=curves(10, start=500), modality="sequence")
    run = hs.pretrain(data, model="scratch:gru", arch="layers=1,width=8", epochs=1, out=tmp_path / "run")
    assert run.data["data"]["samples"] == 30
    assert "Only the training part" in (run.path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_what_has_learned_no_labels_cannot_answer(verb: str, here: Any, at_home: Path) -> None:
    said = here(verb, "words", "t.csv")
    assert said.code == 2
    assert "Traceback" not in said.err
    assert "headstart fit DATA --model run:words" in said.err


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (("s.npz", "--model", "scratch:awd-lstm"), "learns from texts; the data are series"),
        (("s.npz", "--model", "scratch:gru", "--max-length", "16"), "--max-length"),
        (("s.npz", "--model", "scratch:gru", "--vocabulary", "keep"), "--vocabulary"),
        (("t.csv", "--model", "scratch:gru", "--modality", "text", "--window", "1s"), "--window"),
        (("t.csv", "--model", "scratch:gru", "--modality", "image"), "sequence"),
        (("t.csv", "--model", "scratch:gru", "--text", "revew"), "'review'"),
        (("t.csv", "--model", "scratch:gru", "--arch", "widht=8"), "'width'"),
        (("t.csv", "--model", "scratch:gru", "--arch", "width=0"), "positive"),
        (("t.csv", "--model", "scratch:gru", "--arch", "bidirectional=yes"), "bidirectional=no"),
        (("t.csv", "--model", "timm:test_resnet"), "for pictures"),
        (("t.csv", "--model", "run:waves"), "'sequence'"),
        (("s.npz", "--model", "run:words"), "'text'"),
        (("t.csv", "--model", "run:words", "--arch", "layers=9"), "its own architecture"),
        (("nowhere", "--model", "scratch:gru"), "no file nowhere"),
        (("t.csv", "--model", "scratch:gru", "--epochs", "0"), "1"),
        (("t.csv", "--model", "scratch:gru", "--out", "words"), "finished run"),
        (("t.csv", "--model", "scratch:gru", "--epoch", "1"), "--epochs"),
    ],
)
def test_options_that_do_not_fit_are_refused_and_leave_nothing(
    arguments: tuple[str, ...], near: str, here: Any, at_home: Path
) -> None:
    before = sorted(at_home.rglob("*"))
    said = here("pretrain", *arguments)
    assert said.code == 2, said
    assert "Traceback" not in said.err
    assert near in said.err
    assert sorted(at_home.rglob("*")) == before


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of Unix")
@pytest.mark.parametrize("modality", ["texts", "series"])
def test_a_pretraining_that_was_killed_ends_as_one_that_was_not(
    modality: str, start: Callable[..., subprocess.Popen[str]], here: Any, tmp_path: Path
) -> None:
    reviews(tmp_path / "t.csv")
    arrays(tmp_path / "s.npz")
    of = {"texts": ("t.csv", "--text", "review", *LANGUAGE), "series": ("s.npz", *CURVE)}[modality]
    # The format is measured otherwise, and two runs on a busy machine may measure differently.
    options = ("pretrain", *of, "--epochs", "25", "--device", "cpu", "--seed", "2", "--precision", "float32")
    assert here(*options, "--out", "whole").code == 0
    process = start(*options, "--out", "killed")
    log, end = tmp_path / "killed" / "metrics.jsonl", time.monotonic() + 120
    while not (log.exists() and log.read_text().count('"step"') >= 4):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "report.json").exists()
    assert here("resume", "killed").code == 0
    a, b = (tmp_path / run / "bundle" / "model.safetensors" for run in ("whole", "killed"))
    assert a.read_bytes() == b.read_bytes()
    whole, resumed = report_of("whole"), report_of("killed")
    for key in ("data", "model", "pretraining", "strategy"):
        assert whole[key] == resumed[key], key
    assert "has ended already" in here("resume", "killed").err


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of Unix")
def test_a_pretraining_is_not_resumed_on_other_data(
    start: Callable[..., subprocess.Popen[str]], here: Any, tmp_path: Path
) -> None:
    arrays(tmp_path / "s.npz")
    process = start("pretrain", "s.npz", *CURVE, "--epochs", "200", "--out", "run")
    log, end = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 120
    while not log.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    arrays(tmp_path / "s.npz", start=7)
    said = here("resume", "run")
    assert said.code == 2
    assert "have changed since" in said.err
