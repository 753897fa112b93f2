from __future__ import annotations

import json
import math

import numpy as np
import pytest

from headstart.core.errors import ConfigError
from headstart.measure import compute_all, find_metric, metrics_for

REPORTED = {
    "single-label": {"accuracy", "balanced_accuracy", "macro_f1", "auroc", "log_loss", "ece"},
    "multi-label": {"map", "micro_f1", "macro_f1", "subset_accuracy", "log_loss"},
    "regression": {"mae", "rmse", "r2"},
}


@pytest.mark.parametrize("kind", REPORTED)
def test_each_kind_has_the_metrics_that_the_report_promises(kind: str) -> None:
    assert set(metrics_for(kind)) == REPORTED[kind]
    assert all(name == metric.name for name, metric in metrics_for(kind).items())


def test_which_metric_decides() -> None:
    decides = {kind: find_metric(kind).name for kind in REPORTED}
    assert decides == {"single-label": "accuracy", "multi-label": "map", "regression": "rmse"}
    assert find_metric("single-label", "log_loss").higher_is_better is False


def test_a_perfect_model_is_better_by_every_metric() -> None:
    rng = np.random.default_rng(0)
    y, many, number = rng.integers(3, size=60), (rng.random((60, 3)) < 0.5).astype(float), rng.normal(size=60)
    cases = {
        "single-label": (y, np.eye(3)[y], rng.dirichlet(np.ones(3) / 3, size=60)),
        "multi-label": (many, many, rng.random((60, 3))),
        "regression": (number, number, rng.normal(size=60)),
    }
    for kind, (labels, perfect, random) in cases.items():
        for name, metric in metrics_for(kind).items():
            assert metric.better(compute_all(kind, labels, perfect)[name], compute_all(kind, labels, random)[name])


def test_undefined_is_never_better() -> None:
    for metric in (find_metric("single-label"), find_metric("regression")):
        assert metric.better(0.1, None)
        assert metric.better(0.1, math.nan)
        assert not metric.better(None, 0.1)
        assert not metric.better(math.nan, None)
        assert not metric.better(0.1, 0.1)


def test_undefined_is_null_in_json() -> None:
    values = compute_all("single-label", [1, 1], [[0.2, 0.8], [0.4, 0.6]])
    assert values["auroc"] is None
    assert json.loads(json.dumps(values, allow_nan=False))["accuracy"] == 1.0
    assert set(compute_all("multi-label", np.zeros((0, 2)), np.zeros((0, 2))).values()) == {None}


def test_unknown_metric_names_what_is_near() -> None:
    with pytest.raises(ConfigError) as error:
        find_metric("single-label", "acuracy")
    assert "'accuracy'" in error.value.hint
    with pytest.raises(ConfigError, match=r"rmse.*single-label"):
        find_metric("single-label", "rmse")
