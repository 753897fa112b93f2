"""`rank`: an order of networks by what a probe on their frozen features reaches, and what else is said of them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.cli.rank import print_ranking
from headstart.core.errors import HeadstartError
from headstart.measure import find_metric
from headstart.measure.agreement import kendall
from headstart.measure.transferability import SCORES, logme
from headstart.verbs.rank import rank

MODELS = ("scratch:timm:test_resnet", "scratch:timm:test_vit", "scratch:timm:test_efficientnet")


@pytest.fixture(scope="module")
def ranked(shapes: ModuleType) -> dict[str, Any]:
    return rank(hs.load_data(shapes.arrays(30, shapes.KINDS)), list(MODELS), image_size=32)


def test_models_stand_in_the_order_of_their_probes(ranked: dict[str, Any]) -> None:
    assert {row["model"] for row in ranked["models"]} == set(MODELS)
    values = [row["probe"]["value"] for row in ranked["models"]]
    assert values == sorted(values, reverse=True)
    for row in ranked["models"]:
        assert row["probe"]["low"] <= row["probe"]["value"] <= row["probe"]["high"]
        assert row["samples_per_second"] > 0
        assert row["parameters"] > 1000
        assert {r["stage"] for r in row["stages"]} >= {row["stage"].split(",")[0]}


def test_scores_are_those_of_the_last_layer_and_undefined_ones_are_said_to_be(ranked: dict[str, Any]) -> None:
    for row in ranked["models"]:
        assert set(row["scores"]) == {"neighbours", *SCORES}
        # Random weights have no classifier that knows anything.
        undefined = {name for name, value in row["scores"].items() if value is None}
        assert undefined == {"leep", "nce"}
    assert ranked["agreement"]["leep"] is None
    assert ranked["sources"]["logme"].startswith("You et al.")


def test_the_result_is_plain_json(ranked: dict[str, Any]) -> None:
    assert json.loads(json.dumps(ranked)) == ranked


def test_agreement_is_kendalls_with_the_probe(ranked: dict[str, Any]) -> None:
    rows = ranked["models"]
    expected = kendall([r["probe"]["value"] for r in rows], [r["scores"]["logme"] for r in rows])
    assert ranked["agreement"]["logme"] == expected


def test_a_source_classifier_gives_leep_and_nce(shapes: ModuleType) -> None:
    x, y = shapes.arrays(12)
    models = ["sample:efficientnet_lite0", "scratch:timm:test_resnet"]
    found = rank(hs.load_data((x, y)), models, image_size=32, stage="last")
    lite = next(row for row in found["models"] if row["model"] == models[0])
    assert lite["scores"]["leep"] <= 0
    assert lite["scores"]["nce"] <= 0
    assert lite["licence"] == "Apache-2.0"


def test_numbers_as_labels_get_the_scores_that_are_defined_for_them(shapes: ModuleType) -> None:
    x, kinds = shapes.arrays(30)
    y = (kinds == "disc") + np.random.default_rng(0).normal(size=len(x)) * 0.1
    found = rank(hs.load_data((x, y), task="regression"), list(MODELS[:2]), image_size=32)
    assert found["metric"] == "rmse"
    values = [row["probe"]["value"] for row in found["models"]]
    assert values == sorted(values), "a lower error stands first"
    defined = {name for name, value in found["models"][0]["scores"].items() if value is not None}
    assert defined == {"logme", "neighbours"}
    assert all(row["scores"]["neighbours"] <= 1 for row in found["models"])
    assert found["trust"] == {}, "the study had no numbers as labels"


def test_scores_and_models_that_cannot_be_relied_on_are_warned_of() -> None:
    module = importlib.import_module("headstart.verbs.rank")
    job: Any = SimpleNamespace(metric=find_metric("single-label", "accuracy"), screened=range(100))

    def row(name: str, value: float, logme: float) -> dict[str, Any]:
        probe = {"value": value, "low": value - 0.05, "high": value + 0.05}
        return {"model": name, "probe": probe, "last": probe, "scores": dict.fromkeys(["neighbours", *SCORES], logme)}

    rows = [row("a", 0.9, 1.0), row("b", 0.88, 2.0), row("c", 0.6, 3.0)]
    agreement = module._agreement(job, rows)
    assert agreement["logme"]["tau"] == -1
    assert agreement["last"]["tau"] == 1
    against, near = module._warnings(job, rows, agreement)
    assert "order the models against the probe: neighbours, logme" in against
    assert "last" not in against
    assert near.startswith("a and b are too near to tell apart on 100 samples")
    assert module._agreement(job, rows[:2])["logme"] is None, "two have an order by chance"


@pytest.mark.parametrize("kind", ["text", "sequence"])
def test_texts_and_series_are_ranked_too(kind: str, tmp_path: Path) -> None:
    from tests.verbs import words_and_curves as made

    if kind == "text":
        rows = [(made.text(i), made.label(i)) for i in range(60)]
        data: Any = made.table(tmp_path / "t.csv", ("text", "label"), rows)
        models = ["scratch:gru", "scratch:lstm"]
    else:
        made.arrays(tmp_path / "s.npz")
        data, models = tmp_path / "s.npz", ["scratch:gru", "scratch:inception-time"]
    found = rank(data, models)
    assert [row["probe"]["value"] >= 0 for row in found["models"]] == [True, True]
    assert all(np.isfinite(row["scores"]["logme"]) for row in found["models"])


def test_bad_requests_are_refused_before_anything_is_measured(shapes: ModuleType, monkeypatch: Any) -> None:
    data = hs.load_data(shapes.arrays(12))
    with pytest.raises(HeadstartError, match="nothing to rank"):
        rank(data, ["scratch:timm:test_resnet", "scratch:timm:test_resnet"])
    module = importlib.import_module("headstart.verbs.rank")
    monkeypatch.setattr(module, "measured", lambda job: pytest.fail("measured"))
    with pytest.raises(HeadstartError, match="test_resnt"):
        rank(data, ["scratch:timm:test_resnet", "scratch:timm:test_resnt"])
    assert not list(Path().iterdir())


def test_scores_see_the_features_that_the_network_gives(shapes: ModuleType) -> None:
    """LogME of the table equals LogME of features taken by hand."""
    from headstart.features.extract import extract
    from headstart.models.opening import open_model
    from headstart.models.wanted import Wanted
    from headstart.train.reader import Reader

    data = hs.load_data(shapes.arrays(20))
    found = rank(data, list(MODELS[:2]), image_size=32, stage="last", engine="torch", precision="float32", seed=0)
    row = next(r for r in found["models"] if r["model"] == MODELS[0])
    backbone = open_model(MODELS[0], Wanted(32, 3, 0)).eval()
    place = (list(backbone.stages)[-1], 1)
    from headstart.data import SplitOptions, make_splits

    train = data.subset(make_splits(data, SplitOptions()).train)
    x = extract(backbone, Reader({"all": train}, backbone, 0), "all", [place])[place].numpy()
    assert row["scores"]["logme"] == pytest.approx(logme(x, train.labels("label")), rel=1e-4)


def test_kendall_knows_order_and_doubt() -> None:
    assert kendall([1, 2, 3], [3, 2, 1]) == {"tau": -1.0, "low": -1.0, "high": 1.0}
    many = kendall(list(range(40)), list(range(40)))
    assert many["low"] > 0.99
    six = kendall(list(range(6)), list(range(6)))  # the same order of six may be chance
    assert six["tau"] == six["high"] == pytest.approx(1.0)
    assert 0.2 < six["low"] < 0.6
    assert kendall([1, 1, 1], [1, 2, 3])["tau"] == 0.0
    r = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        a, b = r.standard_normal((2, 25))
        found = kendall(a, b)
        covered += found["low"] <= 0 <= found["high"]
    assert 0.92 <= covered / 400 <= 0.98, "95% of intervals of unrelated scores hold 0"


def test_a_stored_study_stands_beside_the_scores(
    shapes: ModuleType, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    module = importlib.import_module("headstart.verbs.rank")
    data = hs.load_data(shapes.arrays(12))
    monkeypatch.setattr(module, "TRUST", tmp_path / "none.json")
    found = rank(data, list(MODELS[:2]), image_size=32, stage="last", seed=0)
    assert found["trust"] == {}
    print_ranking(found)
    assert "study" not in capsys.readouterr().out
    best = {"tau": 0.71, "low": 0.42, "high": 0.9}
    study = {"scores": {"logme": {"tau": 0.62, "low": 0.31, "high": 0.8}, "best": best}}
    (tmp_path / "trust.json").write_text(json.dumps(study))
    monkeypatch.setattr(module, "TRUST", tmp_path / "trust.json")
    found = rank(data, list(MODELS[:2]), image_size=32, stage="last", seed=0)
    print_ranking(found)
    out = capsys.readouterr().out
    assert "+0.62 (+0.3 to +0.8)" in out
    assert "+0.71 (+0.4 to +0.9)" in out
    assert max(len(line) for line in out.splitlines()) <= 80


@pytest.mark.parametrize("number", [3, 4, 6, 9])
def test_numbers_are_whole_in_80_columns(number: int, capsys: Any) -> None:
    def row(i: int) -> dict[str, Any]:
        probe = {"value": 0.987 - i / 1000, "low": 0.9, "high": 0.99}
        scores = dict.fromkeys(["neighbours", *SCORES], -1.5364 - i)
        cost = {"samples_per_second": 12345, "megabytes": 1234.0, "extraction_seconds": 12.3, "licence": "Apache-2.0"}
        return {"model": f"m{i}", "stage": "blocks.4", "probe": probe, "last": probe, "scores": scores, **cost}

    tau = {"tau": 0.591, "low": 0.186, "high": 0.88}
    names = ["last", "neighbours", *SCORES]
    found = {
        "data": "digits",
        "samples": 100,
        "metric": "accuracy",
        "models": [row(i) for i in range(number)],
        "agreement": dict.fromkeys(names, tau),
        "trust": dict.fromkeys(["best", "probe", *names], tau),
        "warnings": [],
    }
    print_ranking(found)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    lines = [line for line in said.splitlines() if line.strip().startswith("LogME")]
    shown = [part for line in lines for part in line.split()[1:]]
    assert shown == [f"{-1.5364 - i:.3f}" for i in range(number)] + ["0.591", "+0.59", "(+0.2", "to", "+0.9)"]


def test_the_page_has_every_network_stage_and_score(shapes: ModuleType, tmp_path: Path) -> None:
    data = hs.load_data(shapes.arrays(12))
    found = rank(data, list(MODELS[:2]), out=tmp_path / "rank", image_size=32, stage="last", seed=0)
    assert json.loads((tmp_path / "rank" / "rank.json").read_text())["models"] == found["models"]
    page = (tmp_path / "rank" / "rank.html").read_text()
    for text in (*MODELS[:2], "Which stage", "LogME", "Nearest neighbours", "tau, here"):
        assert text in page
    assert "tau, study" not in page or found["trust"]
    assert "<script" not in page
    assert "http-equiv" in page
