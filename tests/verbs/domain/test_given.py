"""`adapt` from a finished run, without the source's data: what is tried, masked, refused, written; that it resumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.datasets import load_digits

import headstart as hs
from headstart.cli import failures
from headstart.cli.adapt import print_adaptation
from headstart.cli.main import _run
from headstart.core.errors import ConfigError, HeadstartError
from headstart.store.tensors import load_tree

TINY = "scratch:timm:test_efficientnet"
EXACT: dict[str, Any] = {"engine": "torch", "precision": "float32"}
QUICK: dict[str, Any] = {"epochs": 3, "augment": "none", **EXACT}
FIT: dict[str, Any] = {"guard": "off", "blend": False, "augment": "none", **EXACT}
VALIDATORS = ["entropy", "infomax", "nuclear-norm", "snd", "class-ami"]
VARYING = ("seconds", "cost", "created", "name", "versions", "options")
OF_THE_ORACLE = ("oracle", "unseen", "verdict", "agreement", "bins", "metrics")


def digits(part: int, n: int = 150, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """(n, 8, 8) pictures and their digits; parts do not overlap."""
    found = load_digits()
    rows = np.random.default_rng(0).permutation(np.flatnonzero(found.target < classes))[part * n : (part + 1) * n]
    return (found.images[rows] * 15).astype(np.uint8), found.target[rows]


def pale(x: np.ndarray) -> np.ndarray:
    """A twentieth of the contrast, on a grey ground: statistics of the source are wrong here whatever it learned."""
    return (110 + 0.05 * x).astype(np.uint8)


def without(data: Any, *keys: str) -> Any:
    if isinstance(data, dict):
        return {k: without(v, *keys) for k, v in data.items() if k not in keys}
    return [without(v, *keys) for v in data] if isinstance(data, list) else data


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> hs.Run:
    """The source's run; its data are not seen again."""
    out = tmp_path_factory.mktemp("given") / "digits"
    return hs.fit(
        digits(0), model=TINY, strategy="full", epochs=12, lr=0.01, stage="last", image_size=32, out=out, **FIT
    )


@pytest.fixture(scope="module")
def target() -> tuple[np.ndarray, np.ndarray]:
    x, y = digits(1)
    return pale(x), y


@pytest.fixture(scope="module")
def run(fitted: hs.Run, target: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> hs.Run:
    out = tmp_path_factory.mktemp("given") / "run"
    return hs.adapt(None, target, model=f"run:{fitted.path}", out=out, **QUICK)


def attempts(run: hs.Run) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in run.data["adaptation"]["attempts"]}


class TestRun:
    def test_what_is_tried_and_what_decides(self, run: hs.Run) -> None:
        rows = attempts(run)
        assert list(rows) == ["source-model", "adabn", "shot", "pseudo-labels", "tent"]
        assert all(list(row["scores"]) == VALIDATORS for row in rows.values())
        values = {name: row["scores"]["infomax"] for name, row in rows.items()}
        taken = next(name for name, row in rows.items() if row["taken"])
        assert taken == max(values, key=lambda name: values[name]) == run.data["strategy"]["name"]
        assert {len(rows[name]["curve"]) > 2 for name in ("shot", "pseudo-labels")} == {True}

    def test_adapting_helps(self, run: hs.Run) -> None:
        rows = attempts(run)
        right = {name: row["oracle"]["value"] for name, row in rows.items()}
        assert right["adabn"] > right["source-model"] + 0.1
        assert right["shot"] > right["source-model"] + 0.1
        assert run.data["adaptation"]["verdict"]["verdict"] == "positive"
        assert run.data["adaptation"]["verdict"]["compared_with"] == "source-model"

    def test_the_source_model_answers_as_its_own_run(self, run: hs.Run, fitted: hs.Run, target: Any) -> None:
        kept = load_tree(run.path / "steps" / "adapt-source-model.safetensors")["value"]["target"]["logits"].numpy()
        p = softmax(kept / fitted.data["calibration"]["temperature"], axis=1)
        rows = fitted.predict(list(target[0]))
        np.testing.assert_allclose(p.max(1), [r["confidence"] for r in rows], atol=1e-5)
        assert [fitted.data["task"]["classes"][i] for i in p.argmax(1)] == [r["predicted"] for r in rows]

    def test_what_is_not_known_is_absent_and_said_to_be(self, run: hs.Run, capsys: Any) -> None:
        a = run.data["adaptation"]
        assert a["without_source"]
        assert (a["shift"], a["shares"]) == (None, None)
        assert {c["source"] for c in a["classes"]} == {None}
        assert sum(c["target"] for c in a["classes"]) == 150
        assert set(run.metrics) == {"target (oracle)"}
        assert {c["source_accuracy"] for c in a["attempts"][2]["curve"]} == {None}
        page = (run.path / "report.html").read_text(encoding="utf-8")
        for text in ("What is not known of the source", "were not there", "The target as a map", "oracle", "shot"):
            assert text in page
        for text in ("Both domains in one map", "source, held out", "source-accuracy"):
            assert text not in page
        run.report()
        assert (run.path / "report.html").read_text(encoding="utf-8") == page
        print_adaptation(run, False)
        assert "how far the domains lie apart is not known" in " ".join(capsys.readouterr().out.split())

    def test_the_bundle_predicts_and_can_be_adapted_again(self, run: hs.Run, target: Any, tmp_path: Path) -> None:
        rows = pd.read_parquet(run.path / "predictions.parquet")
        assert [r["predicted"] for r in run.predict(list(target[0]))] == list(rows["predicted"])
        copied = shutil.copytree(run.path / "bundle", tmp_path / "copied")
        again = hs.adapt(None, list(target[0]), model=f"run:{copied}", method="adabn", out=tmp_path / "again", **EXACT)
        assert list(attempts(again)) == ["source-model", "adabn"]
        assert again.data["data"]["source"] == "run"
        assert again.metrics == {}
        assert hs.resume(run.path).path == run.path


class TestLabels:
    def test_permuting_them_changes_nothing_but_the_oracle(
        self, run: hs.Run, fitted: hs.Run, target: Any, tmp_path: Path
    ) -> None:
        x, y = target
        mixed = np.random.default_rng(3).permutation(y)
        other = hs.adapt(None, (x, mixed), model=f"run:{fitted.path}", out=tmp_path / "mixed", **QUICK)
        none = hs.adapt(None, list(x), model=f"run:{fitted.path}", out=tmp_path / "none", **QUICK)
        a, b, c = (without(r.data, *VARYING, *OF_THE_ORACLE) for r in (run, other, none))
        assert a == b
        assert a["adaptation"] == c["adaptation"]
        one, two, three = (pd.read_parquet(r.path / "predictions.parquet") for r in (run, other, none))
        pd.testing.assert_frame_equal(one.drop(columns=["label", "loss"]), two.drop(columns=["label", "loss"]))
        assert list(one["p_0"]) == list(three["p_0"])
        for name in ("model.safetensors", "head.safetensors"):
            files = {(r.path / "bundle" / name).read_bytes() for r in (run, other, none)}
            assert len(files) == 1
        assert run.metrics["target (oracle)"] != other.metrics["target (oracle)"]
        assert none.data["adaptation"]["verdict"] is None

    def test_a_test_part_of_the_target_is_only_predicted(self, fitted: hs.Run, target: Any, tmp_path: Path) -> None:
        x, y = digits(2, 40)
        data = hs.load_data(target, test=(pale(x), y))
        found = hs.adapt(None, data, model=f"run:{fitted.path}", method="adabn", out=tmp_path / "run", **EXACT)
        rows = pd.read_parquet(found.path / "predictions.parquet")
        assert dict(rows["part"].value_counts()) == {"target": 150, "target-test": 40}
        assert set(found.metrics) == {"target (oracle)", "target-test (oracle)"}
        alone = hs.adapt(None, target, model=f"run:{fitted.path}", method="adabn", out=tmp_path / "alone", **EXACT)
        weights = [(r.path / "bundle" / "model.safetensors").read_bytes() for r in (found, alone)]
        assert weights[0] == weights[1], "the statistics are those of the part that is adapted to"
        assert attempts(found)["adabn"]["unseen"]["value"] > attempts(found)["source-model"]["unseen"]["value"]

    def test_a_test_folder_of_the_target_is_one(self, fitted: hs.Run, target: Any, tmp_path: Path) -> None:
        """With or without the right labels: what is held out does not depend on them."""
        x, y = digits(2, 40)
        held = {}
        for name, labels in (("right", target[1]), ("mixed", np.random.default_rng(0).permutation(target[1]))):
            by_class(tmp_path / name / "train", target[0], labels)
            by_class(tmp_path / name / "test", pale(x), y)
            given = {"model": f"run:{fitted.path}", "method": "adabn", "out": tmp_path / f"run-{name}", **EXACT}
            found = hs.adapt(None, tmp_path / name, **given)
            rows = pd.read_parquet(found.path / "predictions.parquet")
            assert dict(rows["part"].value_counts()) == {"target": 150, "target-test": 40}
            held[name] = found.metrics
            assert set(rows.query("part == 'target-test'")["label"]) == {"0", "1", "2", "3", "4"}
        assert held["right"]["target (oracle)"] != held["mixed"]["target (oracle)"]

    def test_a_few_given_on_purpose_choose(self, fitted: hs.Run, target: Any, shapes: Any, tmp_path: Path) -> None:
        folder = by_class(tmp_path / "few", pale(digits(2, 60)[0]), digits(2, 60)[1])
        found = hs.adapt(
            None,
            list(target[0]),
            model=f"run:{fitted.path}",
            method="adabn",
            target_labels=str(folder),
            out=tmp_path / "run",
            **EXACT,
        )
        assert found.data["adaptation"]["validator"] == "target labels"
        assert "60 labelled target samples" in found.data["strategy"]["reasons"][0]


def by_class(folder: Path, x: np.ndarray, y: np.ndarray) -> Path:
    from PIL import Image

    for i, (picture, digit) in enumerate(zip(x, y, strict=True)):
        (folder / str(digit)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / str(digit) / f"{i:03d}.png")
    return folder


class TestResuming:
    @pytest.fixture
    def folder(self, target: Any, tmp_path: Path) -> Path:
        return by_class(tmp_path / "target", *target)

    def test_killed_and_resumed_ends_the_same(
        self, fitted: hs.Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = {"model": f"run:{fitted.path}", "method": "shot", **QUICK}
        whole = hs.adapt(None, folder, out=tmp_path / "whole", **given)
        stop_in(monkeypatch, "shot", 7)
        with pytest.raises(KeyboardInterrupt):
            hs.adapt(None, folder, out=tmp_path / "killed", **given)
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        again = hs.resume(tmp_path / "killed")
        assert without(whole.data, *VARYING) == without(again.data, *VARYING)
        assert set(again.metrics) == {"target (oracle)"}

    def test_a_model_that_has_changed_is_noticed(
        self, fitted: hs.Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = shutil.copytree(fitted.path / "bundle", tmp_path / "source")
        stop_in(monkeypatch, "shot", 2)
        with pytest.raises(KeyboardInterrupt):
            hs.adapt(None, folder, model=f"run:{source}", method="shot", out=tmp_path / "run", **QUICK)
        monkeypatch.undo()
        from safetensors.torch import load_file, save_file

        head = load_file(source / "head.safetensors")
        save_file({k: v + 1 for k, v in head.items()}, source / "head.safetensors")
        with pytest.raises(HeadstartError, match=r"the model of .* changed"):
            hs.resume(tmp_path / "run")


def stop_in(monkeypatch: pytest.MonkeyPatch, name: str, after: int) -> None:
    """Kill the training of that name after some steps."""
    from headstart.train.loop import Trainer

    left, plain = [after], Trainer._step

    def killed(self: Any, *arguments: Any) -> Any:
        if self.settings.name == name:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
        return plain(self, *arguments)

    monkeypatch.setattr(Trainer, "_step", killed)


class TestOtherNetworks:
    def test_texts_by_a_network_without_norms(self, tmp_path: Path) -> None:
        """A GRU has no statistics to take, and nothing that TENT moves."""
        words = {"good": ["fine", "great", "lovely"], "bad": ["awful", "poor", "dull"]}
        random = np.random.default_rng(0)

        def texts(n: int, about: str) -> tuple[list[str], list[str]]:
            y = [["good", "bad"][i % 2] for i in range(n)]
            return [f"{about} {' '.join(random.choice(words[c], 4))}" for c in y], y

        given = {"model": "scratch:gru", "strategy": "full", "epochs": 3, "guard": "off", "blend": False, **EXACT}
        source = hs.fit(texts(80, "book"), out=tmp_path / "source", **given)
        found = hs.adapt(None, texts(40, "kettle"), model=f"run:{source.path}", out=tmp_path / "run", epochs=3, **EXACT)
        assert list(attempts(found)) == ["source-model", "shot", "pseudo-labels"]
        assert any("no batch norms" in note["text"] for note in found.data["data"]["notes"])
        with pytest.raises(ConfigError, match="no batch norms, which adabn adapts"):
            hs.adapt(None, texts(40, "kettle"), model=f"run:{source.path}", method="adabn", out=tmp_path / "bad")
        assert not (tmp_path / "bad").exists()
        assert found.predict(["kettle fine great"])[0]["predicted"] in ("good", "bad")

    def test_series(self, tmp_path: Path) -> None:
        random = np.random.default_rng(0)

        def series(n: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
            y = np.arange(n) % 2
            t = np.linspace(0, 6, 40)
            x = np.sin(t[None] * (1 + y[:, None])) + random.normal(0, 0.2, (n, 40))
            return (factor * x)[:, :, None].astype(np.float32), y

        given = {
            "model": "scratch:inception-time",
            "arch": "filters=4,blocks=1",
            "strategy": "full",
            "epochs": 3,
            **EXACT,
        }
        given |= {"guard": "off", "blend": False}
        source = hs.fit(series(80, 1.0), modality="sequence", out=tmp_path / "source", **given)
        x, y = series(40, 3.0)
        found = hs.adapt(None, (x, y), model=f"run:{source.path}", method="adabn", out=tmp_path / "run", **EXACT)
        rows = pd.read_parquet(found.path / "predictions.parquet")
        assert [r["predicted"] for r in found.predict(list(x))] == list(rows["predicted"])
        two = np.concatenate([x, x], axis=2)
        with pytest.raises(HeadstartError, match=r"of 1 channels.*; these have 2"):
            hs.adapt(None, list(two), model=f"run:{source.path}", out=tmp_path / "bad", **EXACT)

    def test_a_blend_is_said_to_be_left_out(self, fitted: hs.Run, target: Any, tmp_path: Path) -> None:
        from headstart.models.bundle import load_bundle, save_bundle

        bundle = load_bundle(fitted.path / "bundle")
        bundle.beside, bundle.weight = load_bundle(fitted.path / "bundle"), 0.3
        save_bundle(tmp_path / "blended", bundle)
        given = {"model": f"run:{tmp_path / 'blended'}", "method": "adabn", "out": tmp_path / "run", **EXACT}
        found = hs.adapt(None, list(target[0]), **given)
        assert any("share 30%" in note["text"] for note in found.data["data"]["notes"])


class TestBadInput:
    def refused(self, target: Any, **options: Any) -> str:
        with pytest.raises(HeadstartError) as error:
            hs.adapt(None, target, out="bad", **options)
        assert not Path("bad").exists(), "nothing half-written"
        assert error.value.hint
        return str(error.value)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"method": "coral"}, "coral cannot be used without source data"),
            (
                {"method": "shot,dann+mcc,meda"},
                "dann\\+mcc, meda cannot be used .*\n.*pseudo-labels, shot, adabn, tent",
            ),
            ({"method": "shott"}, "no method 'shott'"),
            ({"validator": "dev"}, "'dev' needs source data.*\n.*entropy, infomax, nuclear-norm, snd, class-ami"),
            ({"validator": "luck"}, "no validator 'luck'"),
            ({"image_size": 64}, "--image-size cannot be said"),
            ({"label": "digit", "stage": "last"}, "--label, --stage cannot be said"),
        ],
    )
    def test_options(self, fitted: hs.Run, target: Any, options: dict[str, Any], message: str) -> None:
        import re

        assert re.search(message, self.refused(target, model=f"run:{fitted.path}", **options))

    @pytest.mark.parametrize("model", ["timm:resnet18", "sample:efficientnet_lite0", f"scratch:{TINY[8:]}"])
    def test_a_network_without_classes(self, target: Any, model: str) -> None:
        assert f"{model} is a network without a classifier" in self.refused(target, model=model)

    def test_no_model(self, target: Any) -> None:
        assert "neither data nor a model" in self.refused(target)

    def test_no_run(self, target: Any) -> None:
        assert "neither a run nor a bundle" in self.refused(target, model="run:nowhere")

    def test_other_classes(self, fitted: hs.Run) -> None:
        x, y = digits(1, classes=7)
        said = self.refused((x, y), model=f"run:{fitted.path}")
        assert "classes that the model does not have: 5, 6" in said
        assert f"headstart fit TARGET --model run:{fitted.path}" in said

    def test_other_modality(self, fitted: hs.Run, tmp_path: Path) -> None:
        texts = hs.load_data((["a b", "c d", "e f", "g h"], ["x", "y", "x", "y"]))
        assert "Both must be of one kind" in self.refused(texts, model=f"run:{fitted.path}")
        table = tmp_path / "texts.csv"
        table.write_text("text,label\n" + "".join(f"some words {i},{i % 2}\n" for i in range(8)))
        assert self.refused(table, model=f"run:{fitted.path}")

    def test_other_tasks(self, target: Any, tmp_path: Path) -> None:
        x, y = digits(0)
        given = {"model": TINY, "strategy": "probe", "stage": "last", "image_size": 32, **FIT}
        numbers = hs.fit(hs.load_data((x, y + 0.5), task="regression"), out=tmp_path / "numbers", **given)
        assert "is regression" in self.refused(target, model=f"run:{numbers.path}")

    def test_a_run_without_a_network(self, fitted: hs.Run, target: Any, tmp_path: Path) -> None:
        from headstart.models.bundle import Bundle, load_bundle, save_bundle
        from headstart.models.model import Head, Model
        from headstart.models.raw import RawPixels

        backbone = RawPixels(1)
        task = load_bundle(fitted.path / "bundle").tasks[0]
        save_bundle(tmp_path / "raw", Bundle(Model(backbone, {task.name: Head(784, 5)}), (task,)))
        assert "linear model without a network" in self.refused(target, model=f"run:{tmp_path / 'raw'}")

    def test_on_the_command_line(self, fitted: hs.Run, tmp_path: Path, capsys: Any) -> None:
        def typing(arguments: list[str]) -> int:
            return failures.guard(lambda: _run(arguments), arguments)

        folder = by_class(tmp_path / "target", *digits(1, 20))
        typed = ["adapt", "--target", str(folder), "--model", f"run:{fitted.path}", "--out", str(tmp_path / "out")]
        assert typing([*typed, "--method", "jda"]) == 2
        assert "jda cannot be used without source data" in capsys.readouterr().err
        assert typing(["adapt", "--target", str(folder)]) == 2
        assert "--model run:FOLDER" in capsys.readouterr().err
        assert typing([*typed, "--method", "adabn", "--engine", "torch", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["adaptation"]["without_source"]
