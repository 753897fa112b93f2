"""Blending with a linear model without a network, and falling back on a baseline: held-out samples decide."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tests.verbs.words_and_curves import table

import headstart as hs
from headstart.data.schema import Task
from headstart.measure import find_metric
from headstart.models.bundle import load_bundle
from headstart.verbs.fallback import fall_back
from headstart.verbs.mixture import Mixture, constant_logits, mixed, settle_mixture

THREE = Task("y", "single-label", ("a", "b", "c"))
NUMBER = Task("y", "regression")
SEVERAL = Task("y", "multi-label", ("red", "round"))
ACCURACY = find_metric("single-label", "accuracy")
Y = np.arange(600) % 3


def logits(strength: float, seed: int) -> np.ndarray:
    """Noise, and a lead of the right class."""
    return np.random.default_rng(seed).normal(size=(600, 3)) + strength * np.eye(3)[Y]


def test_two_models_with_errors_of_their_own_are_blended() -> None:
    a, b = logits(1.5, 0), logits(1.3, 1)
    found, why = settle_mixture(THREE, ACCURACY, Y, a, b, "pixels")
    assert 0.2 <= found.weight <= 0.6
    assert why.startswith("Blended: with")
    apart = [(Mixture(found.temperature).outputs(THREE, z).argmax(1) == Y).mean() for z in (a, b)]
    assert (found.outputs(THREE, a, b).argmax(1) == Y).mean() > max(apart)


@pytest.mark.parametrize("beside", [logits(0.0, 1), logits(3.0, 0)], ids=["knows nothing", "makes the same errors"])
def test_a_model_that_adds_nothing_is_not_carried_along(beside: np.ndarray) -> None:
    found, why = settle_mixture(THREE, ACCURACY, Y, logits(3.0, 0), beside, "pixels")
    assert found.weight == 0
    assert why.startswith("Not blended: with")


def test_samples_never_held_out_and_those_without_a_label_are_left_out() -> None:
    a, b, y = logits(1.5, 0), logits(1.3, 1), Y.copy()
    whole, _ = settle_mixture(THREE, ACCURACY, y[50:], a[50:], b[50:], "pixels")
    a[:30], y[30:50] = np.nan, -1
    assert settle_mixture(THREE, ACCURACY, y, a, b, "pixels")[0].weight == whole.weight


def test_numbers_are_averaged_as_they_are() -> None:
    truth = np.linspace(-1, 1, 300)
    a, b = (truth[:, None] + np.random.default_rng(s).normal(0, 0.3, (300, 1)) for s in (0, 1))
    found, _ = settle_mixture(NUMBER, find_metric("regression", "mae"), truth, a, b, "pixels")
    assert found.temperature == 1
    np.testing.assert_allclose(
        found.outputs(NUMBER, a, b), (1 - found.weight) * a[:, 0] + found.weight * b[:, 0], rtol=1e-6
    )
    assert 0.3 <= found.weight <= 0.7


def test_a_constant_answer_has_the_shares_of_training() -> None:
    z = constant_logits(THREE, np.array([0, 0, 0, 1, -1]))
    p = np.exp(z) / np.exp(z).sum()
    np.testing.assert_allclose(p, [0.75, 0.25, 0], atol=1e-5)
    sets = np.array([[1, 0], [1, 1], [np.nan, 0]], dtype=np.float32)
    np.testing.assert_allclose(1 / (1 + np.exp(-constant_logits(SEVERAL, sets))), [1, 1 / 3], atol=1e-5)
    assert constant_logits(NUMBER, np.array([1.0, 3.0, np.nan])).tolist() == [2.0]


# -- falling back ------------------------------------------------------------------------------------------------------


def job(metric: str = "accuracy") -> SimpleNamespace:
    words = SimpleNamespace(raw_words="a linear model on raw pixels")
    return SimpleNamespace(task=THREE, metric=find_metric("single-label", metric), few=False, modality=words)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_best_of_clearly_better_baselines_takes_the_place(metric: str) -> None:
    baselines = {"raw_features": logits(2.0, 1), "linear_probe": logits(3.0, 2), "majority": logits(0.0, 3)}
    found, said = fall_back(job(metric), "full", logits(1.0, 0), baselines, Y)  # type: ignore[arg-type]
    assert found is not None
    assert found.name == "linear_probe"
    assert "is not handed back" in found.text
    assert found.logits is baselines["linear_probe"]
    assert said == found.text


def test_doubt_is_in_favour_of_the_network() -> None:
    baselines = {"raw_features": logits(1.05, 1), "majority": logits(0.0, 3)}
    found, said = fall_back(job(), "full", logits(1.0, 0), baselines, Y)  # type: ignore[arg-type]
    assert found is None
    # The decision not to act is said with its numbers, beside the best of the baselines.
    assert said.startswith("The guard keeps the network: on validation, accuracy is ")
    assert "for a linear model on raw pixels, the best baseline (95% interval of the difference" in said


# -- in a fit ----------------------------------------------------------------------------------------------------------


def opinions(path: Path, count: int = 240) -> Path:
    """Texts of many rare telling words: TF-IDF adds them up, random recurrent features see some of it."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        own = [f"{'good' if i % 2 else 'poor'}{rng.integers(40)}" for _ in range(2)]
        rows.append((" ".join(rng.permutation([*own, *(f"plain{rng.integers(30)}" for _ in range(10))])), i % 2))
    return table(path, ("text", "label"), rows)


def test_a_blended_bundle_predicts_with_both_and_starts_another_fit(tmp_path: Path) -> None:
    data = opinions(tmp_path / "t.csv")
    net = {"model": "scratch:gru", "arch": "layers=1,width=24,embedding=24", "max_length": 16, "stage": "last"}
    options = {"strategy": "probe", "guard": "off", "label": "label", "text": "text"}
    run = hs.fit(data, **net, **options, blend=True, out=tmp_path / "run")
    blend = run.data["blend"]
    assert blend["with"] == "TF-IDF + logistic regression"
    assert f"{blend['weight']:.0%} of its answers come from a second model" in (run.path / "report.html").read_text()
    bundle = load_bundle(run.path / "bundle")
    assert bundle.beside is not None
    assert bundle.weight == blend["weight"] > 0
    kept = pd.read_parquet(run.path / "predictions.parquet").query("part == 'test'")
    texts = pd.read_csv(data).text[kept.id.astype(int)].tolist()
    said, own, beside = (
        np.array([row["top"][0]["probability"] if row["predicted"] == "1" else 1 - row["confidence"] for row in rows])
        for rows in (hs.predict(path, texts) for path in (run.path, _alone(run.path, tmp_path), _beside(run.path)))
    )
    np.testing.assert_allclose(said, kept.p_1, atol=1e-5)
    np.testing.assert_allclose(said, (1 - bundle.weight) * own + bundle.weight * beside, atol=1e-5)
    again = hs.fit(data, model=f"run:{run.path}", **options, out=tmp_path / "again")
    assert again.data["blend"] is None


def _beside(run: Path) -> Path:
    return run / "bundle" / "beside"


def _alone(run: Path, tmp_path: Path) -> Path:
    """A copy of the run's bundle that is said to stand alone."""
    copy = shutil.copytree(run / "bundle", tmp_path / "alone")
    about = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps(about | {"beside": None}))
    return copy


def test_mixed_is_a_plain_average() -> None:
    np.testing.assert_allclose(mixed(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), 0.25), [[0.75, 0.25]])


def test_a_blended_or_linear_model_is_not_exported(shapes: ModuleType, tmp_path: Path) -> None:
    from headstart.core.errors import ModelError

    rng = np.random.default_rng(0)
    y = np.arange(240) % 2
    x = rng.integers(0, 255, (240, 16, 16, 1), dtype=np.uint8)
    x[:, 2:4, 2:4] = (200 * y)[:, None, None, None]
    run = hs.fit((x, y), **shapes.QUICK, strategy="probe", out=tmp_path / "run")
    assert run.data["fallback"]["to"] == "raw_features"
    with pytest.raises(ModelError, match="without a network"):
        hs.export(run.path, format="onnx")
