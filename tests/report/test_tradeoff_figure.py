"""The picture of the trade-off: a panel for every two tasks, top right best for both."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from headstart.report.figures.tradeoff import tradeoff_figure
from headstart.report.schema.tasks import Tradeoff
from headstart.report.words import MetricWords, metric_words

SVG = "{http://www.w3.org/2000/svg}"
ACCURACY, RMSE = metric_words("accuracy"), metric_words("rmse")


def shown(points: list[dict[str, Any]], alone: dict[str, Any], metrics: dict[str, MetricWords]) -> list[Any]:
    """Texts of the figure with their places, from left to right as they are drawn."""
    svg = tradeoff_figure(Tradeoff(points=points, alone=alone), metrics, "fig")
    assert svg is not None
    return list(ET.fromstring(svg).iter(f"{SVG}text"))


def point(a: float, x: float | None, y: float | None) -> dict[str, Any]:
    return {"weights": {"a": a, "b": 1 - a}, "values": {"a": x, "b": y}}


def texts(found: list[Any]) -> list[str]:
    return ["".join(t.itertext()) for t in found]


def test_points_have_their_weights_and_lines_their_tasks() -> None:
    points = [point(0.25, 0.7, 2.0), point(0.75, 0.9, 3.0)]
    found = texts(shown(points, {"a": 0.95, "b": 1.5}, {"a": ACCURACY, "b": RMSE}))
    for text in ("0.25 : 0.75", "0.75 : 0.25", "a alone", "b alone", "a: Accuracy", f"b: {RMSE.title}", "90%"):
        assert text in found, text


def test_up_is_better_also_where_lower_is() -> None:
    found = shown([point(0.2, 0.7, 2.0), point(0.8, 0.9, 3.0)], {}, {"a": ACCURACY, "b": RMSE})
    ticks = [t for t in found if re.fullmatch(r"[\d.]+", "".join(t.itertext())) and "transform" in t.attrib]
    numbers = sorted(
        (float("".join(t.itertext())), float(re.findall(r"[\d.]+", t.attrib["transform"])[1])) for t in ticks
    )
    assert len(numbers) >= 2
    assert [y for _, y in numbers] == sorted(y for _, y in numbers)  # SVG's y grows downwards


@pytest.mark.parametrize("count", [2, 3])
def test_a_panel_for_every_pair(count: int) -> None:
    names = ["a", "b", "c"][:count]
    points = [{"weights": dict.fromkeys(names, 1 / count), "values": dict.fromkeys(names, 0.5)}]
    found = texts(shown(points, {}, dict.fromkeys(names, ACCURACY)))
    assert sum(": Accuracy" in text for text in found) == 2 * (1 if count == 2 else 3)


def test_points_that_coincide_have_all_their_weights() -> None:
    points = [point(0.25, 0.7, 0.5), point(0.75, 0.7, 0.5), point(0.5, 0.9, 0.9)]
    found = " ".join(texts(shown(points, {}, {"a": ACCURACY, "b": ACCURACY})))
    for text in ("0.25 : 0.75", "0.75 : 0.25", "0.5 : 0.5"):
        assert text in found


def test_what_is_not_known_is_not_drawn() -> None:
    found = texts(shown([point(0.2, None, 0.5), point(0.8, 0.9, 0.5)], {"a": None}, {"a": ACCURACY, "b": ACCURACY}))
    assert "0.8 : 0.2" in found
    assert "0.2 : 0.8" not in found
    assert "a alone" not in found
    nothing = Tradeoff(points=[point(0.5, None, 0.1)])  # type: ignore[list-item]
    assert tradeoff_figure(nothing, {"a": ACCURACY, "b": ACCURACY}, "fig") is None


def test_texts_of_points_close_together_do_not_cover_each_other() -> None:
    shares = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
    first = (0.88, 0.912, 0.918, 0.922, 0.923, 0.924, 0.9245)
    points = [point(a, x, y) for a, x, y in zip(shares, first, reversed(first), strict=True)]
    found = shown(points, {"a": 0.926, "b": 0.93}, {"a": ACCURACY, "b": ACCURACY})
    boxes = []
    for t in found:
        text = "".join(t.itertext())
        if " : " in text:
            x, y = float(t.attrib["x"]), float(t.attrib["y"])
            size = float(re.findall(r"font-size: ([\d.]+)px", t.attrib["style"])[0])
            width = 0.5 * size * len(text)
            left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[_anchor(t)] * width
            boxes.append((left, left + width, y - 0.7 * size, y))
    assert len(boxes) == 7
    for i, (a, b, c, d) in enumerate(boxes):
        for e, f, g, h in boxes[:i]:
            assert min(b, f) <= max(a, e) or min(d, h) <= max(c, g)


def _anchor(text: Any) -> str:
    return str((re.findall(r"text-anchor: (\w+)", text.attrib["style"]) or ["start"])[0])
