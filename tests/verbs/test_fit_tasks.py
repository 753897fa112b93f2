"""fit of several tasks: label columns of every kind, several data sets, the guard, and what its files say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import headstart as hs
from headstart.core.errors import ConfigError, DataError
from headstart.data.schema import Task
from headstart.measure import find_metric
from headstart.models.bundle import load_bundle
from headstart.models.opening import open_model
from headstart.models.wanted import Wanted
from headstart.verbs.estimate import estimate
from headstart.verbs.tasks.model import balancer_of
from headstart.verbs.tasks.plan import passes_of
from headstart.verbs.tasks.rule import changes, rule_value
from headstart.verbs.tasks.sharing import PROBE, SHARED, TUNED, Alone, judge_sharing


def people(shapes: ModuleType, root: Path, count: int = 18) -> Path:
    """A table of pictures with a kind, a brightness that a sixth of the rows lack, and whether the number is even."""
    x, kinds = shapes.arrays(count)
    (root / "pictures").mkdir()
    from PIL import Image

    for i, picture in enumerate(x):
        Image.fromarray(picture).save(root / "pictures" / f"{i}.png")
    frame = pd.DataFrame(
        {
            "file": [f"pictures/{i}.png" for i in range(len(x))],
            "kind": kinds,
            "bright": x.astype(float).mean(axis=(1, 2, 3)).round(3),
            "even": [i // 2 % 2 for i in range(len(x))],
            "wide": [int(kind == "box") for kind in kinds],
        }
    )
    frame.loc[: len(x) // 6, "bright"] = np.nan
    frame.to_csv(root / "people.csv", index=False)
    return root / "people.csv"


def quick(shapes: ModuleType, **options: Any) -> dict[str, Any]:
    return {**shapes.QUICK, "augment": "none", "precision": "float32", "lr": 1e-3, **options}


@pytest.fixture(scope="module")
def run(shapes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> hs.Run:
    """One run on three columns, by folds."""
    root = tmp_path_factory.mktemp("people")
    table = people(shapes, root)
    options = quick(shapes, labels=("kind", "bright", "even+wide"), image="file", out=root / "run")
    return hs.fit(table, **options)


def test_every_task_has_its_metrics_and_a_verdict(run: hs.Run) -> None:
    assert list(run.tasks) == ["kind", "bright", "even+wide"]
    assert [t["kind"] for t in run.tasks.values()] == ["single-label", "regression", "multi-label"]
    assert [t["metric"] for t in run.tasks.values()] == ["accuracy", "rmse", "map"]
    for task in run.tasks.values():
        for part in ("validation", "test"):
            assert task["metrics"][part][task["metric"]]["value"] is not None
            assert {"majority", "shared", "linear_probe"} <= task["baselines"].keys()
        sharing = task["sharing"]
        assert sharing["verdict"] in ("positive", "negative", "inconclusive")
        assert sharing["kept"] in (SHARED, PROBE, TUNED)
        assert task["name"] in sharing["text"]
    assert run.tasks["bright"]["labelled"]["train"] < run.tasks["kind"]["labelled"]["train"]
    sharing = run.data["sharing"]
    deltas = [t["sharing"]["delta"] for t in run.tasks.values()]
    assert sharing["delta_m"] == pytest.approx(np.mean(deltas))
    matrix = np.array(sharing["cosines"][0]["matrix"], dtype=float)
    assert matrix.shape == (3, 3)
    np.testing.assert_allclose(np.diag(matrix), 1.0, atol=1e-4)


def test_predictions_evaluation_and_bundle_serve_all_tasks(run: hs.Run) -> None:
    table = run.path.parent / "people.csv"
    rows = run.predict(table)
    assert set(rows[0]["tasks"]) == {"kind", "bright", "even+wide"}
    assert rows[0]["tasks"]["kind"]["predicted"] in ("box", "disc")
    assert isinstance(rows[0]["tasks"]["bright"]["predicted"], float)
    kept = pd.read_parquet(run.path / "predictions.parquet")
    test = kept[kept["part"] == "test"].set_index(["task", "id"])
    said = {row["id"]: row["tasks"] for row in rows}
    for name in test.loc["kind"].index:
        assert test.loc[("kind", name), "predicted"] == said[name]["kind"]["predicted"]
        assert test.loc[("kind", name), "p_kind.box"] == pytest.approx(
            next(e["probability"] for e in said[name]["kind"]["top"])
            if said[name]["kind"]["predicted"] == "box"
            else 1 - said[name]["kind"]["top"][0]["probability"],
            abs=1e-4,
        )
    for name in test.loc["bright"].index:
        predicted = float(test.loc[("bright", name), "predicted"])
        assert predicted == pytest.approx(said[name]["bright"]["predicted"], rel=1e-4)
    found = run.evaluate(table, image="file")
    assert set(found["tasks"]) == {"kind", "bright", "even+wide"}
    alone = run.evaluate(pd.read_csv(table).assign(file=lambda f: f["file"].map(lambda p: str(table.parent / p))),
                         image="file", labels="bright:regression")  # fmt: skip
    assert alone["tasks"]["bright"]["metrics"] == found["tasks"]["bright"]["metrics"]
    assert [t.name for t in load_bundle(run.path / "bundle").tasks] == ["kind", "bright", "even+wide"]


def test_the_report_shows_every_task(run: hs.Run) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    for text in ("The tasks", "even+wide", "bright", "Alone", "how far the tasks", "kind, bright"):
        assert text.lower() in page.lower(), text
    before = page
    run.report()
    assert (run.path / "report.html").read_text(encoding="utf-8") == before


def test_a_killed_run_ends_as_it_would_have(run: hs.Run) -> None:
    """Of a run that was killed while the shared model was trained, probes are there and everything else is lost."""
    out = Path("again")
    shutil.copytree(run.path, out)
    for left in (*out.glob("steps/shared*"), *out.glob("steps/own-*"), out / "report.json", out / "report.html"):
        left.unlink()
    shutil.rmtree(out / "bundle")
    (out / "metrics.jsonl").write_text('{"kind": "step", "stage": "shared", "fold": 0}\n', encoding="utf-8")
    again = hs.resume(out)
    assert again.metrics == run.metrics
    assert again.data["sharing"] == run.data["sharing"]
    assert not (out / "checkpoints").exists()


def test_a_given_validation_part_and_every_baseline(shapes: ModuleType, tmp_path: Path) -> None:
    """Held-out protocol; full baselines train a model for each task; a gradient-based method balances."""
    table = people(shapes, tmp_path)
    frame = pd.read_csv(table)
    frame.iloc[:26].to_csv(tmp_path / "train.csv", index=False)
    frame.iloc[26:].to_csv(tmp_path / "valid.csv", index=False)
    run = hs.fit(
        tmp_path / "train.csv",
        **quick(shapes, labels="kind,bright", image="file", valid=tmp_path / "valid.csv"),
        baselines="full",
        balance="mgda",
        task_rule="worst",
    )
    for number, task in enumerate(run.tasks.values()):
        assert "own_model" in task["baselines"]
        assert (run.path / "steps" / f"own-task-{number}-weights.safetensors").exists()
    assert (run.data["sharing"]["balance"], run.data["sharing"]["rule"]) == ("mgda", "worst")
    assert run.data["data"]["protocol"] == "held-out"


def test_several_data_sets_with_tasks_of_their_own(shapes: ModuleType, tmp_path: Path) -> None:
    few = shapes.folder(tmp_path / "few", 12)
    many = shapes.folder(tmp_path / "many", 20, shapes.KINDS, start=100)
    run = hs.fit([f"few={few}", f"many={many}"], **quick(shapes, sampling="equal", guard="off"))
    assert list(run.tasks) == ["few.label", "many.label"]
    assert [len(t["classes"]) for t in run.tasks.values()] == [2, 3]
    assert run.data["sharing"]["sampling"] == "equal"
    assert run.path.name == "few-many"
    # Gradients of tasks that never meet in a sample still have a cosine; those without labels take no part.
    assert np.isfinite(np.array(run.data["sharing"]["cosines"][0]["matrix"], dtype=float)).all()
    (run.path / "report.json").unlink()
    assert hs.resume(run.path).metrics == run.metrics


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task_rule": "median"}, "follow 'median'"),
        ({"balance": "equall"}, "Unknown balancing 'equall'"),
        ({"balance": "fixed"}, "Fixed weights are not said"),
        ({"balance": "fixed:1,2,3"}, "does not fit 2 tasks"),
        ({"balance": "fixed:a,b"}, "weights are numbers"),
        ({"model": "auto"}, "not compared for several tasks"),
        ({"metric": "f2"}, "no metric 'f2'"),
        ({"seeds": 2}, "fitted with one seed"),
        ({"budget": "5m"}, "--budget is for one task"),
        ({"guard": "full"}, "--guard full is for one task"),
        ({"curve": "full"}, "--curve full is for one task"),
        ({"blend": True}, "--blend is for one task"),
        ({"lr": "find"}, "--lr find is for one task"),
        ({"reinit": 1}, "--reinit is for one task"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: dict[str, Any], said: str, shapes: ModuleType, tmp_path: Path
) -> None:
    table = people(shapes, tmp_path, 8)
    with pytest.raises(ConfigError, match=said):
        hs.fit(table, **quick(shapes, labels="kind,even:single-label", image="file") | options)
    assert not Path("runs").exists()


@pytest.mark.parametrize("option", [{"architecture": "mmoe"}, {"tradeoff": True}])
def test_what_is_for_several_tasks_is_refused_for_one(
    option: dict[str, Any], shapes: ModuleType, tmp_path: Path
) -> None:
    table = people(shapes, tmp_path, 8)
    for verb in (hs.fit, estimate):
        with pytest.raises(ConfigError, match="is for several tasks; these data have one"):
            verb(table, **quick(shapes, label="kind", image="file", **option))
    assert not Path("runs").exists()


def test_a_part_without_a_label_of_a_task_is_refused(shapes: ModuleType, tmp_path: Path) -> None:
    table = people(shapes, tmp_path, 12)
    frame = pd.read_csv(table)
    frame.iloc[:16].to_csv(tmp_path / "train.csv", index=False)
    frame.iloc[16:].assign(bright=np.nan).to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match="'bright'"):
        hs.fit(
            tmp_path / "train.csv",
            **quick(shapes, labels="kind,bright:regression", image="file", test=tmp_path / "test.csv", train_size=8),
        )


def test_other_verbs_say_that_they_take_one_task(run: hs.Run) -> None:
    with pytest.raises(DataError, match="several tasks"):
        hs.compare([run.path, run.path])
    with pytest.raises(ConfigError, match="for `fit` only"):
        hs.check(run.path.parent / "people.csv", labels=("kind", "bright"), image="file")


def test_a_dry_run_says_what_would_be_done(run: hs.Run, shapes: ModuleType) -> None:
    table, options = run.path.parent / "people.csv", quick(shapes, labels=("kind", "bright"), image="file")
    found = estimate(table, **options)
    assert set(found["tasks"]) == {"kind", "bright"}
    assert found["tasks"]["bright"]["labelled"]["train"] < found["tasks"]["kind"]["labelled"]["train"]
    assert [step["name"] for step in found["plan"]] == ["screen", "probes", "shared model", "own models", "test"]
    assert found["seconds"] == round(sum(step["seconds"] for step in found["plan"]))
    more = estimate(table, **options, architecture="cross-stitch", guard="off", tradeoff=True)
    assert [step["name"] for step in more["plan"]] == ["screen", "probes", "shared model", "trade-off", "test"]
    assert "cross-stitch" in more["plan"][2]["detail"]
    assert "7 short trainings" in more["plan"][3]["detail"]
    with pytest.raises(ConfigError, match="cannot branch after 'layer9'"):
        estimate(table, **options, architecture="branching:layer9")
    assert not Path("runs").exists()


def test_passes_are_counted_where_tasks_part() -> None:
    backbone = open_model("scratch:timm:test_resnet", Wanted(32))
    count = len(backbone.stages)
    for asked, passes in (("hard", 1), ("mmoe", 1), ("cross-stitch", 2), ("adapters", 2), ("branching:input", 2)):
        assert passes_of(backbone, asked, ["a", "b"]) == passes, asked
    at = list(backbone.stages).index("layer2") + 1
    assert passes_of(backbone, "branching:layer2", ["a", "b", "c"]) == pytest.approx(at / count + 3 * (1 - at / count))


# -- the guard, on answers made up -------------------------------------------------------------------------------------


def view(labels: np.ndarray, task: Task) -> Any:
    return SimpleNamespace(task=task, metric=find_metric(task.kind), held_out="validation", labels=lambda part: labels)


def test_the_guard_gives_a_harmed_task_its_own_model_and_leaves_the_others() -> None:
    r = np.random.default_rng(0)
    task = Task("y", "single-label", ("a", "b"))
    labels = r.integers(0, 2, 400)

    def answers(right: float) -> np.ndarray:
        hit = r.random(400) < right
        return np.eye(2, dtype=np.float32)[np.where(hit, labels, 1 - labels)] * 4

    views = {name: view(labels, task) for name in ("healthy", "harmed", "even")}
    shared = SimpleNamespace(validation={"healthy": answers(0.95), "harmed": answers(0.7), "even": answers(0.9)})
    alone = {
        "healthy": Alone(PROBE, None, answers(0.8)),
        "harmed": Alone(TUNED, None, answers(0.9)),
        "even": Alone(PROBE, None, shared.validation["even"]),
    }
    found = judge_sharing(views, shared, alone, guard=True)  # type: ignore[arg-type]
    assert {name: verdict.kept for name, verdict in found.items()} == {
        "healthy": SHARED,
        "harmed": TUNED,
        "even": SHARED,
    }
    assert "sharing hurts" in found["harmed"].text
    assert "own network" in found["harmed"].text
    assert "sharing helps" in found["healthy"].text
    unguarded = judge_sharing(views, shared, alone, guard=False)  # type: ignore[arg-type]
    assert all(verdict.kept == SHARED for verdict in unguarded.values())


def test_a_task_with_its_own_model_answers_by_it(run: hs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle holds that model, and predictions come from it, as the parquet file says."""
    out = Path("own")
    shutil.copytree(run.path, out)
    for name in ("report.json", "report.html", "bundle"):
        shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()

    def all_alone(views: Any, shared: Any, alone: Any, guard: bool) -> Any:
        found = judge_sharing(views, shared, alone, guard)
        for name in found:
            found[name].kept = alone[name].name if name != "bright" else SHARED
        return found

    monkeypatch.setattr("headstart.verbs.tasks.judge_sharing", all_alone)
    monkeypatch.setattr("headstart.verbs.tasks.run_branches", lambda *_: {})
    again = hs.resume(out)
    assert again.data["sharing"]["own"] == ["kind", "even+wide"]
    meta = json.loads((out / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    assert meta["own"] == {"kind": "own-0", "even+wide": "own-1"}
    kept = pd.read_parquet(out / "predictions.parquet").query("part == 'test' and task == 'kind'").set_index("id")
    rows = {row["id"]: row["tasks"]["kind"] for row in again.predict(run.path.parent / "people.csv")}
    for name, row in kept.iterrows():
        assert rows[name]["predicted"] == row["predicted"]
        assert rows[name]["confidence"] == pytest.approx(row["confidence"], abs=1e-4)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "kind, even+wide have models of their own" in page


# -- the rule ----------------------------------------------------------------------------------------------------------


def test_the_rule_across_tasks() -> None:
    metrics = {"a": find_metric("single-label", "accuracy"), "b": find_metric("regression", "rmse")}
    deltas = changes(metrics, {"a": 0.9, "b": 2.0}, {"a": 0.8, "b": 1.6})
    assert deltas == {"a": pytest.approx(0.125), "b": pytest.approx(-0.25)}
    assert rule_value("mean", deltas) == pytest.approx(-0.0625)
    assert rule_value("worst", deltas) == pytest.approx(-0.25)
    assert rule_value("a", deltas) == pytest.approx(0.125)
    assert changes(metrics, {"a": 0.3, "b": 0.5}, {"a": 0.0, "b": 1.0})["a"] == pytest.approx(0.3)
    assert rule_value("mean", {"a": float("nan"), "b": 0.5}) == 0.5
    assert rule_value("a", {"a": float("nan"), "b": 0.5}) == -np.inf


def test_fixed_weights_are_said_with_the_name() -> None:
    assert torch.as_tensor(balancer_of("fixed:1,2.5", 2).weights).tolist() == [1.0, 2.5]  # type: ignore[attr-defined]
    assert balancer_of("uncertainty", 2).needs == "losses"
