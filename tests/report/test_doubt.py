from __future__ import annotations

from typing import Any

import pytest

from headstart.report.schema.report import Report
from headstart.report.sections.confidence import _was
from headstart.report.sections.doubt import doubts


def report(n: int, accuracy: float, classes: dict[str, int], metric: str = "accuracy") -> Report:
    around = {"value": accuracy, "low": accuracy - 0.05, "high": min(1.0, accuracy + 0.02)}
    content: dict[str, Any] = {
        "schema": 1,
        "metric": metric,
        "metrics": {"test": {"accuracy": around, "macro_f1": around, "balanced_accuracy": around}},
        "data": {"parts": {"test": n}},
        "per_class": [{"class": name, "n": k} for name, k in classes.items()],
    }
    return Report.model_validate(content)


def test_nothing_is_said_where_simulations_hold() -> None:
    assert doubts(report(1000, 0.9, {"a": 500, "b": 500})) == []
    assert doubts(report(500, 0.97, {"a": 250, "b": 250}, "macro_f1")) == []


def test_few_samples_are_said_with_the_width() -> None:
    said = doubts(report(150, 0.9, {"a": 75, "b": 75}))[0]
    assert said == (
        "The interval of accuracy (85.0% to 92.0%, 5.0 points down and 2.0 up) is approximate, because the test part "
        "has only 150 labelled samples."
    )


def test_of_few_samples_the_gap_is_as_doubtful() -> None:
    few = report(150, 0.9, {"a": 75, "b": 75})
    gap = {"verdict": "positive", "gap": {"value": 0.1, "low": 0.02, "high": 0.18}}
    said = doubts(Report.model_validate({**few.model_dump(by_alias=True), "guard": gap}))
    assert "gap to the best baseline (+2.0 points to +18.0 points) is approximate, too, because" in said[-1]
    many = report(1000, 0.9, {"a": 500, "b": 500})
    assert doubts(Report.model_validate({**many.model_dump(by_alias=True), "guard": gap})) == []


def test_confidence_that_is_off_is_not_praised() -> None:
    assert "almost no correction" in _was(1.0, 0.02, "the test part")
    assert "off by 11 points more than by chance: do not rely on it" in _was(1.0, 0.11, "the test part")


def test_macro_f1_asks_for_more_samples_and_for_enough_of_every_class() -> None:
    assert "only 400 labelled samples" in doubts(report(400, 0.9, {"a": 200, "b": 200}, "macro_f1"))[0]
    rare = doubts(report(1000, 0.9, {"a": 991, "b": 9}))
    assert [s.split(" (")[0] for s in rare] == ["The interval of macro F1", "The interval of balanced accuracy"]
    assert all("the class b has only 9 samples" in s for s in rare)


@pytest.mark.parametrize(
    ("accuracy", "why"), [(0.98, "only 20 of 1,000 samples are wrong"), (1.0, "none of 1,000 samples is wrong")]
)
def test_nearly_no_errors(accuracy: float, why: str) -> None:
    assert doubts(report(1000, accuracy, {"a": 500, "b": 500}))[0].endswith(f"is approximate, because {why}.")


def test_numbers_have_units_of_their_own() -> None:
    content = {
        "schema": 1,
        "task": {"kind": "regression"},
        "metric": "rmse",
        "metrics": {"test": {"rmse": {"value": 2.0, "low": 1.5, "high": 2.75}}},
        "data": {"parts": {"test": 60}},
    }
    assert "(1.5 to 2.75, 0.5 down and 0.75 up)" in doubts(Report.model_validate(content))[0]
    content["metrics"] = {"test": {"rmse": {"value": 2.0}}}
    assert "has no interval, because" in doubts(Report.model_validate(content))[0]


def test_it_stands_under_the_table(pages: Any) -> None:
    run, html = pages("digits")
    assert doubts(run.report)
    assert "is approximate, because" in html
