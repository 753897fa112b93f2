"""Under a budget of time: what is tried, what is left out, and that every decision is said."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.core.errors import ConfigError
from headstart.data.schema import Task
from headstart.measure import find_metric
from headstart.train.loop import History, Score
from headstart.verbs.candidates import Arm
from headstart.verbs.choosing import Choice, _perfect, choose
from headstart.verbs.options import duration, make_options
from headstart.verbs.overfitting import overfitting, overfitting_of_folds
from headstart.verbs.planner import _halving_cost, _ranked, _survivors

THREE = Task("y", "single-label", ("a", "b", "c"))
Y = np.arange(300) % 3


def logits(strength: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(300, 3)) + strength * np.eye(3)[Y]


# -- the budget --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2.5h", 9000), ("45", 45)])
def test_times_as_people_write_them(text: str, seconds: float) -> None:
    assert duration(text) == seconds
    assert make_options({"budget": text}).budget == seconds


@pytest.mark.parametrize("given", ["soon", "0s", "-5", "3 weeks", 0])
def test_what_is_no_time_is_refused(given: object) -> None:
    with pytest.raises(ConfigError, match="budget"):
        make_options({"budget": given})


# -- successive halving ------------------------------------------------------------------------------------------------


def test_half_of_the_candidates_go_on_and_one_is_left() -> None:
    assert [_survivors(n) for n in (1, 2, 3, 4, 5)] == [[1, 1, 1], [2, 1, 1], [3, 2, 1], [4, 2, 1], [5, 3, 1]]


def test_the_cost_is_that_of_the_dearest_survivors() -> None:
    arms = [Arm(n, n) for n in "abc"]
    assert _halving_cost(arms, {"a": 40.0, "b": 20.0, "c": 8.0}) == 68 / 4 + 60 / 2 + 40


def test_candidates_are_ranked_by_loss_and_ties_go_to_the_cheaper() -> None:
    job = SimpleNamespace(task=THREE, metric=find_metric("single-label", "accuracy"))
    arms = [Arm(n, n) for n in ("dear", "cheap", "bad")]
    same = logits(2.0, 0)
    found = {"dear": same + np.random.default_rng(1).normal(0, 0.01, same.shape), "cheap": same, "bad": logits(0.5, 2)}
    ranked = _ranked(job, arms, {"dear": 9.0, "cheap": 1.0, "bad": 0.1}, found, Y)  # type: ignore[arg-type]
    assert [a.name for a in ranked] == ["cheap", "dear", "bad"]


# -- in a fit ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def start(shapes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to start from: somebody has trained its network."""
    folder = tmp_path_factory.mktemp("start") / "run"
    return hs.fit(shapes.arrays(24), **shapes.QUICK, strategy="full", guard="off", examples=False, out=folder).path


def fit(shapes: ModuleType, start: Path, budget: str, out: Path, **more: object) -> hs.Run:
    options = {
        "model": f"run:{start}",
        "image_size": 32,
        "stage": "last",
        "epochs": 4,
        "budget": budget,
        "examples": False,
        "out": out,
    }
    x, y = shapes.arrays(60, start=200)
    y = np.where(np.random.default_rng(0).random(len(y)) < 0.15, np.roll(y, 1), y)  # so that the probe makes errors
    return hs.fit((x, y), **options, **more)


def test_an_ample_budget_is_spent_on_several_candidates(shapes: ModuleType, start: Path, tmp_path: Path) -> None:
    run = fit(shapes, start, "2h", tmp_path / "run")
    said = " ".join(run.data["strategy"]["reasons"])
    assert "Successive halving over lp-ft, partial, lp-ft, light augmentation" in said
    assert "With 25% of the epochs, loss on held-out samples" in said
    names = [row["name"] for row in run.data["tried"]]
    assert names[0] == "probe"
    assert len(names) == 2 or "worse than the probe beyond doubt" in said
    assert any(name.endswith(", 25%") for name in run.data["cost"]["parts"])


def test_a_budget_that_is_spent_already_leaves_the_probe(shapes: ModuleType, start: Path, tmp_path: Path) -> None:
    run = fit(shapes, start, "1s", tmp_path / "run")
    assert "Nothing was fine-tuned" in " ".join(run.data["strategy"]["reasons"])
    assert [row["name"] for row in run.data["tried"] if row["chosen"]] in (["probe"], ["raw_features"])
    assert (run.path / "bundle" / "bundle.json").exists()


def test_a_strategy_that_was_named_keeps_to_the_budget(shapes: ModuleType, start: Path, tmp_path: Path) -> None:
    short = fit(shapes, start, "1s", tmp_path / "short", strategy="full")
    assert "Nothing was fine-tuned" in " ".join(short.data["strategy"]["reasons"])
    ample = fit(shapes, start, "2h", tmp_path / "ample", strategy="full", guard="off")
    assert "full alone fits into the budget" in " ".join(ample.data["strategy"]["reasons"])
    assert ample.data["strategy"]["name"] == "full"


# -- choosing ----------------------------------------------------------------------------------------------------------


def test_where_the_metric_is_not_defined_the_loss_chooses() -> None:
    one = Task("y", "single-label", ("a", "b"))
    job: Any = SimpleNamespace(
        few=False, task=one, metric=find_metric("single-label", "auroc"), options=SimpleNamespace(strategy="auto")
    )
    labels = np.zeros(50, dtype=np.int64)  # validation lacks a class
    r = np.random.default_rng(0)
    sure, unsure = (k * np.eye(2)[labels] + 0.1 * r.normal(size=(50, 2)) for k in (0.0, 0.0))
    sure[:, 0] += r.normal(1, 0.1, 50)
    unsure[:, 0] += r.normal(0, 2, 50)
    reasons: list[str] = []
    probe: Any = SimpleNamespace(halves=None)
    choices = [Choice("probe", probe, unsure, None), Choice("lp-ft", probe, sure, None)]
    assert choose(job, choices, labels, reasons).name == "lp-ft"
    assert "too near to tell" in reasons[0]


def test_probabilities_are_compared_as_they_would_be_handed_back() -> None:
    """Too sure, and better all the same once calibrated."""
    job: Any = SimpleNamespace(
        few=False,
        task=Task("y", "single-label", ("a", "b")),
        metric=find_metric("single-label", "log_loss"),
        options=SimpleNamespace(strategy="auto"),
    )
    r = np.random.default_rng(0)
    labels = r.integers(0, 2, 400)
    signs = np.where(np.arange(400) % 8 == 0, -1, 1)[:, None]  # wrong on one of eight
    calm = np.where(np.arange(400) % 5 == 0, -1, 1)[:, None] * np.eye(2)[labels] * 1.4
    loud = signs * np.eye(2)[labels] * 20.0
    probe: Any = SimpleNamespace(halves=None)
    reasons: list[str] = []
    choices = [Choice("probe", probe, calm, None), Choice("lp-ft", probe, loud, None)]
    assert choose(job, choices, labels, reasons).name == "lp-ft"
    assert "log_loss is 0.377 for lp-ft and 0.500 for the probe" in reasons[0]


def test_an_epoch_without_a_metric_is_judged_by_its_loss() -> None:
    undefined = float("nan")
    first, second, defined = Score(undefined, 2.0, undefined), Score(undefined, 1.0, undefined), Score(0.1, 3.0, 0.1)
    assert second.better_than(first)
    assert not first.better_than(second)
    assert defined.better_than(second)
    assert not second.better_than(defined)


def test_a_probe_without_an_error_is_one_that_is_right_about_every_sample() -> None:
    labels = np.array([0, 1, 1, -1])
    right = np.array([[3.0, 0], [0, 1], [0, 0.1], [9, 0]])
    task = Task("y", "single-label", ("a", "b"))
    job: Any = SimpleNamespace(task=task, metric=find_metric("single-label", "auroc"))
    unsure: Any = SimpleNamespace(task=task, metric=find_metric("single-label", "log_loss"))
    # Right everywhere, but not as sure as could be.
    assert not _perfect(unsure, SimpleNamespace(validation=right), labels)  # type: ignore[arg-type]
    assert _perfect(job, SimpleNamespace(validation=right), labels)  # type: ignore[arg-type]
    # All of b lie above all of a, so that AUROC is 1 and yet an answer is wrong.
    assert not _perfect(job, SimpleNamespace(validation=np.add(right, [[0.2, 0]])), labels)  # type: ignore[arg-type]


# -- overfitting -------------------------------------------------------------------------------------------------------


def history(validation: list[float], train: list[float], kept: int, weights: str = "raw") -> History:
    epochs = [
        {"phase": "all", "epoch": i, "validation_loss": v, "train_loss": t}
        for i, (v, t) in enumerate(zip(validation, train, strict=True))
    ]
    return History(epochs, [{"phase": "all", "weights": weights, "epoch": kept}])


@pytest.mark.parametrize(
    ("validation", "kept", "weights", "said"),
    [
        ([0.9, 0.5, 0.7, 0.8], 1, "raw", "the weights of epoch 2 were kept"),
        ([0.9, 0.5, 0.7, 0.8], 3, "average", "the averaged weights of epoch 4 were kept"),
        ([0.9, 0.5, 0.7, 0.8], 3, "raw", "the last weights were kept"),
        ([0.9, 0.7, 0.6, 0.61], 3, "raw", "No overfitting"),
    ],
)
def test_a_loss_that_rises_while_training_goes_on_is_said(
    validation: list[float], kept: int, weights: str, said: str
) -> None:
    assert said in overfitting(history(validation, [0.9, 0.6, 0.3, 0.1], kept, weights))


def test_losses_that_rise_together_are_no_overfitting() -> None:
    said = overfitting(history([0.9, 0.5, 2.0, 9.0], [0.9, 0.6, 3.0, 8.0], 1))
    assert said.startswith("Training did not settle")
    assert "the weights of epoch 2 were kept" in said


def test_out_of_folds_the_mean_of_both_is_watched() -> None:
    falling = [0.9, 0.6, 0.3, 0.1]
    both = [history([0.9, 0.4, 0.7, 0.9], falling, 3), history([0.9, 0.6, 0.7, 0.7], falling, 3)]
    said = overfitting_of_folds(both, 1, "raw")
    assert "Overfitting: the loss out of folds was lowest in epoch 2 (0.500) and 0.800 after epoch 4" in said
    assert "training on all samples was ended after epoch 2" in said
    assert "with averaged weights" in overfitting_of_folds(both, 3, "average")


@pytest.mark.parametrize("given", [False, True], ids=["out of folds", "on a validation part"])
def test_labels_by_chance_are_overfitted_and_it_is_said(given: bool, shapes: ModuleType, tmp_path: Path) -> None:
    r = np.random.default_rng(0)
    x, y = shapes.arrays(30)
    held = shapes.arrays(15, start=100)[0], r.permutation(np.repeat(["box", "disc"], 15))
    data = hs.load_data((x, r.permutation(y)), test=shapes.arrays(12, start=60), **({"valid": held} if given else {}))
    options = {**shapes.QUICK, "strategy": "full", "lr": 0.003, "epochs": 40, "batch_size": 16, "augment": "none"}
    options |= {"guard": "off", "precision": "float32", "engine": "torch", "examples": False}
    run = hs.fit(data, **options, out=tmp_path / "run")
    said = next(reason for reason in run.data["strategy"]["reasons"] if reason.startswith("Overfitting: "))
    assert ("on validation" if given else "out of folds") in said


def test_two_epochs_say_nothing() -> None:
    assert overfitting(history([0.9, 1.5], [0.9, 0.1], 1)) == ""


# -- the model ---------------------------------------------------------------------------------------------------------


def test_of_several_models_the_best_is_taken(shapes: ModuleType, start: Path, tmp_path: Path) -> None:
    options = {**shapes.QUICK, "strategy": "probe", "guard": "off", "examples": False}
    options["model"] = f"scratch:timm:test_resnet, run:{start}"
    run = hs.fit(shapes.arrays(24), **options, out=tmp_path / "run")
    reason = run.data["strategy"]["reasons"][0]
    assert run.data["model"]["reference"] in ("scratch:timm:test_resnet", f"run:{start}")
    assert reason.startswith(f"{run.data['model']['reference']} was chosen by a probe's accuracy")
    again = hs.fit(shapes.arrays(24), **{**options, "model": run.data["model"]["reference"]}, out=tmp_path / "again")
    assert again.metrics["test"]["accuracy"] == run.metrics["test"]["accuracy"]


def test_a_model_of_several_that_cannot_be_opened_is_named(
    shapes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.core.errors import ModelError

    options = {**shapes.QUICK, "model": "scratch:timm:test_resnet,run:nowhere", "out": tmp_path / "run"}
    monkeypatch.setattr("headstart.verbs.model_choice.screened", lambda job: pytest.fail("measured before all opened"))
    with pytest.raises((ModelError, hs.HeadstartError), match="nowhere"):
        hs.fit(shapes.arrays(16), **options)
    assert not (tmp_path / "run").exists()
