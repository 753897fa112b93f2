"""The guard's branch: tried before a model of its own, taken where validation is not clearly for the latter."""

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
from headstart.data.schema import Task
from headstart.measure import find_metric
from headstart.models.bundle import load_bundle
from headstart.store.tensors import load_tree
from headstart.verbs.tasks.branch import Branch, run_branches, settle
from headstart.verbs.tasks.sharing import BRANCH, PROBE, SHARED, TUNED, Alone, judge_sharing

# -- the choice, on answers made up ------------------------------------------------------------------------------------


def settled(shared: float, alone: float, branch: float) -> tuple[Any, Branch]:
    """The verdict on a task with these accuracies on 400 samples; models are wrong on different ones."""
    labels = np.random.default_rng(0).integers(0, 2, 400)
    task = Task("y", "single-label", ("a", "b"))

    def answers(right: float, first: int) -> np.ndarray:
        hit = (np.arange(400) - first) % 400 >= round(400 * (1 - right))
        return np.eye(2, dtype=np.float32)[np.where(hit, labels, 1 - labels)] * 4

    view: Any = SimpleNamespace(
        task=task, metric=find_metric(task.kind), held_out="validation", labels=lambda part: labels
    )
    trained: Any = SimpleNamespace(validation={"y": answers(shared, 0)})
    single = {"y": Alone(TUNED, None, answers(alone, 130))}
    verdict = judge_sharing({"y": view}, trained, single, guard=True)["y"]
    grown: Any = SimpleNamespace(validation={"y": answers(branch, 260)})
    return verdict, settle(view, verdict, trained, single["y"], "layer2", grown)


@pytest.mark.parametrize(
    ("shared", "alone", "branch", "kept"),
    [
        (0.7, 0.9, 0.9, BRANCH),  # a tie
        (0.7, 0.9, 0.8975, BRANCH),  # within a standard error
        (0.7, 0.9, 0.95, BRANCH),
        (0.7, 0.9, 0.8, TUNED),
        (0.898, 0.9025, 0.89, SHARED),  # near what the task has alone, but below the shared model
    ],
)
def test_ties_go_to_the_branch(shared: float, alone: float, branch: float, kept: str) -> None:
    verdict, found = settled(shared, alone, branch)
    if alone - shared > 0.1:
        assert "sharing hurts" in verdict.text
        assert verdict.kept == kept
    assert found.gap.value == pytest.approx(branch - alone, abs=1e-3)
    assert (verdict.kept == BRANCH) == (kept == BRANCH)
    if kept == BRANCH:
        assert "a branch of its own after layer2: only late sharing had harmed it" in verdict.text
        assert "network" not in verdict.text.split("alone (own model")[1]
    else:
        assert "tried, too, and falls short" in verdict.text


# -- in a fit ----------------------------------------------------------------------------------------------------------


def pictures(shapes: ModuleType, root: Path, count: int = 16) -> Path:
    """A table of pictures with a kind, a brightness that some lack, and whether the number is even."""
    from PIL import Image

    x, kinds = shapes.arrays(count)
    for i, picture in enumerate(x):
        Image.fromarray(picture).save(root / f"{i}.png")
    numbers = np.arange(len(x))
    frame = pd.DataFrame({"file": [f"{i}.png" for i in numbers], "kind": kinds, "even": numbers // 2 % 2})
    frame["bright"] = np.where(numbers % 5 == 1, np.nan, x.mean(axis=(1, 2, 3)).round(3))
    frame.to_csv(root / "people.csv", index=False)
    return root / "people.csv"


def harmed(monkeypatch: pytest.MonkeyPatch, *tasks: str) -> None:
    """Let these tasks be judged as harmed, and their branches as good."""

    def judge(views: Any, shared: Any, alone: Any, guard: bool) -> Any:
        found = judge_sharing(views, shared, alone, guard)
        for name in found:
            found[name].kept = alone[name].name if name in tasks else SHARED
        return found

    def take(view: Any, verdict: Any, shared: Any, alone: Any, after: str, trained: Any) -> Branch:
        found = settle(view, verdict, shared, alone, after, trained)
        verdict.kept = BRANCH
        verdict.given = f"It is given a branch of its own after {after}."
        return found

    monkeypatch.setattr("headstart.verbs.tasks.judge_sharing", judge)
    monkeypatch.setattr("headstart.verbs.tasks.branch.settle", take)


def quick(shapes: ModuleType, **options: Any) -> dict[str, Any]:
    common = {"labels": "kind,bright,even:single-label", "image": "file", "augment": "none"}
    # Nothing is measured of the machine: a run that is resumed has to be the same to the last bit.
    common |= {"precision": "float32", "engine": "torch", "views": "fresh"}
    # Of a single step the rate would be zero.
    return {**shapes.QUICK, **common, "lr": 3e-3, "epochs": 2, "batch_size": 8, **options}


@pytest.mark.parametrize("protocol", ["folds", "validation"])
def test_a_branch_is_handed_back(
    protocol: str, shapes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pictures(shapes, tmp_path)
    harmed(monkeypatch, "bright", "even")
    options, source = quick(shapes), table
    if protocol == "validation":
        frame, source = pd.read_csv(table), tmp_path / "train.csv"
        frame.iloc[:18].to_csv(source, index=False)
        frame.iloc[18:25].to_csv(tmp_path / "valid.csv", index=False)
        frame.iloc[25:].to_csv(tmp_path / "test.csv", index=False)
        options |= {"valid": tmp_path / "valid.csv", "test": tmp_path / "test.csv"}
    run = hs.fit(source, **options)
    sharing = run.data["sharing"]
    assert (sharing["own"], set(sharing["branches"])) == ([], {"bright", "even"})
    after = sharing["branches"]["bright"]
    task = run.tasks["bright"]
    assert task["sharing"]["kept"] == BRANCH
    assert task["sharing"]["branch"]["after"] == after
    assert task["metrics"]["test"] == task["baselines"]["own_branch"]["test"]
    assert task["metrics"]["test"] != task["baselines"]["shared"]["test"]

    # The trunk is the shared network's, what follows is not; the shared part is there once.
    model = load_bundle(run.path / "bundle").model
    shared = load_tree(run.path / "steps" / "shared-weights.safetensors")
    assert model.own == ("bright", "even")
    assert model.common == after
    one, other = model.network_of("kind"), model.network_of("bright")  # type: ignore[operator]
    names = list(one.stages)
    for name in names:
        earlier = names.index(name) <= names.index(after)
        assert (one.stages[name] is other.stages[name]) == earlier
    for name, tensor in one.state_dict().items():
        if "source_head" not in name:
            assert torch.equal(tensor, shared[f"backbone.{name}"]), name
    assert not torch.equal(*(next(iter(n.stages[names[-1]].parameters())) for n in (one, other)))

    said = {row["id"]: row["tasks"] for row in run.predict(table)}
    kept = pd.read_parquet(run.path / "predictions.parquet").query("part == 'test'").set_index(["task", "id"])
    for name in kept.loc["bright"].index:
        found = said[name.removeprefix("test:")]["bright"]["predicted"]
        assert float(kept.loc[("bright", name), "predicted"]) == pytest.approx(found, rel=1e-4)
    for name in kept.loc["kind"].index:
        assert kept.loc[("kind", name), "predicted"] == said[name.removeprefix("test:")]["kind"]["predicted"]
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert f"bright has a branch of its own after {after}" in page

    # Killed behind the shared model, a run ends as it would have.
    again = tmp_path / "again"
    shutil.copytree(run.path, again)
    for left in (*again.glob("steps/branch-*"), again / "report.json"):
        left.unlink()
    assert hs.resume(again).data["tasks"] == run.data["tasks"]


def test_out_of_folds_a_branch_grows_from_its_folds_trunk(
    shapes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No weight below a branch has seen the samples that the branch is judged on."""
    harmed(monkeypatch, "kind")
    grown: list[Any] = []

    def watched(job: Any, views: Any, starts: Any, *rest: Any) -> Any:
        from headstart.verbs.tasks.branch import build_branch, place_of

        after = place_of(job, starts)
        assert after is not None
        grown.extend(build_branch(job, views["kind"], starts["kind"], after, "probe", fold) for fold in (None, 0, 1))
        grown.append(after)
        return run_branches(job, views, starts, *rest)

    monkeypatch.setattr("headstart.verbs.tasks.run_branches", watched)
    run = hs.fit(pictures(shapes, tmp_path), **quick(shapes))
    *models, after = grown
    names = list(models[0].backbone.stages)
    below = [
        torch.cat([p.flatten() for n in names[1 : names.index(after) + 1] for p in m.backbone.stages[n].parameters()])
        for m in models
    ]
    above = [next(iter(m.backbone.stages[names[-1]].parameters())) for m in models]
    assert not torch.equal(below[0], below[1])
    assert not torch.equal(below[1], below[2])
    assert torch.equal(above[0], above[1])
    heads = [m.head().linear.weight for m in models]  # type: ignore[union-attr]
    assert not torch.equal(heads[0], heads[1])
    phases = load_tree(run.path / "steps" / "branch-0.safetensors") if (run.path / "steps").is_dir() else {}
    rates = json.dumps(phases["value"]["strategy"]["phases"][0]["rates"])
    assert names[-1] in rates
    assert all(name not in rates for name in names[: names.index(after) + 1])


def test_other_architectures_give_no_branch(
    shapes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harmed(monkeypatch, "kind")
    run = hs.fit(pictures(shapes, tmp_path), **quick(shapes, architecture="mmoe:2"))
    assert run.data["sharing"]["branches"] == {}
    assert run.tasks["kind"]["sharing"]["branch"] is None
    assert run.data["sharing"]["own"] == ["kind"]
    assert run.tasks["kind"]["sharing"]["kept"] in (PROBE, TUNED)
    assert not list((run.path / "steps").glob("shared-fold*"))
