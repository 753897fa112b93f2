from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.report.figures.confusion import confusion_matrix, most_confused_block
from headstart.report.figures.curves import learning_curves, learning_rates
from headstart.report.figures.intervals import intervals
from headstart.report.figures.regression import predicted_against_true, residuals
from headstart.report.figures.reliability import reliability
from headstart.report.figures.scatter import feature_maps, numeric_maps
from headstart.report.history import Curve, Rates
from headstart.report.schema.answers import Bin
from headstart.report.schema.part import Estimate
from headstart.report.words import metric_words

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return ["".join(t.itertext()) for t in ET.fromstring(svg).iter(f"{SVG}text")]


def test_figures_are_well_formed_named_and_follow_the_page():
    rows = [("This model", Estimate(value=0.9, low=0.85, high=0.95)), ("<b>&", Estimate(value=0.7))]
    svg = intervals(rows, metric_words("accuracy"), "fig", "On <test>")
    root = ET.fromstring(svg)
    assert root.attrib["role"] == "img"
    assert root.find(f"{SVG}title").text == "Accuracy beside the baselines"
    assert "On <test>: This model 90.0% (85.0% to 95.0%); <b>& 70.0%" in root.find(f"{SVG}desc").text
    assert root.attrib["aria-labelledby"] == "fig-title fig-desc"
    assert "90.0%" in texts(svg)
    assert "<b>&" in texts(svg)
    assert "var(--ink)" in svg
    assert "#1b1f24" not in svg


def test_a_far_baseline_becomes_an_arrow_but_keeps_its_number():
    rows = [("a", Estimate(value=0.98)), ("b", Estimate(value=0.95)), ("guess", Estimate(value=0.1))]
    shown = texts(intervals(rows, metric_words("accuracy"), "fig", ""))
    assert "10.0%" in shown
    ticks = [float(t) for t in shown if re.fullmatch(r"[\d.]+", t)]
    assert min(ticks) > 90


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e6])
def test_one_value_alone_can_be_drawn(value):
    assert "<svg" in intervals([("a", Estimate(value=value))], metric_words("mae"), "fig", "")


def test_cells_show_the_counts_and_empty_ones_nothing():
    matrix = np.array([[8, 2], [0, 10]])
    svg = confusion_matrix(most_confused_block(["cat", "dog"], matrix), matrix.sum(1), "fig")
    assert sorted(t for t in texts(svg) if t.isdigit()) == ["10", "2", "8"]


def test_a_block_of_many_classes_holds_the_strongest_confusions():
    matrix = np.diag(np.full(60, 10))
    matrix[7, 41], matrix[41, 3], matrix[50, 51] = 9, 5, 1
    block = most_confused_block([f"c{i}" for i in range(60)], matrix, block=4)
    assert {"c3", "c7", "c41"} <= set(block.classes)
    assert block.of == 60
    assert block.matrix[block.classes.index("c7"), block.classes.index("c41")] == 9


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_a_block_is_a_part_of_the_matrix_in_order(n, block_size, seed):
    matrix = np.random.default_rng(seed).integers(0, 5, (n, n))
    names = [str(i) for i in range(n)]
    block = most_confused_block(names, matrix, most=1, block=min(block_size, n))
    index = [int(c) for c in block.classes]
    assert index == sorted(set(index))
    assert len(index) == min(block_size, n)
    assert (block.matrix == matrix[np.ix_(index, index)]).all()


def test_curves_draw_what_is_known():
    run = Curve("lp-ft", None, "accuracy", [1, 2, 3], [0.5, None, 0.3], [None] * 3, [0.9, 0.95, None], [None] * 3)
    shown = texts(learning_curves([run], metric_words("accuracy"), "fig"))
    assert "training" in shown
    assert "validation" not in shown
    assert "weights as trained" in shown
    assert "averaged weights (EMA)" not in shown


def test_names_of_phases_stand_above_the_curves():
    run = Curve("gradual", 0, "accuracy", [1, 2], [1.0, 0.5], [1.0, 0.5], [0.5, 0.6], [None, None])
    run.phases = [(1, "head $only$"), (2, "top")]
    shown = texts(learning_curves([run], metric_words("accuracy"), "fig"))
    assert shown.count("head $only$") == 2
    assert shown.count("top") == 2


def test_rates_stand_on_a_logarithmic_axis_with_every_stage_named():
    lines = {"_stem": [(0, 1e-5), (1, 2e-5)], "head": [(0, 1e-3), (1, 1e-12)]}
    shown = [t.strip("\u200b") for t in texts(learning_rates(Rates("lp-ft", lines), "fig"))]
    assert {"_stem", "head", "10⁻³", "10⁻⁵"} <= set(shown)
    assert "10⁻¹²" not in shown


def test_empty_bins_have_no_dot():
    bins = [Bin(low=0, high=0.5, n=0), Bin(low=0.5, high=1, n=4, confidence=0.8, accuracy=0.75)]
    description = ET.fromstring(reliability(bins, "fig")).find(f"{SVG}desc").text
    assert description == "4 answers at 80.0% are right 75.0%."


@pytest.mark.parametrize("n", [1, 3, 1500])
def test_regressions_of_any_size_can_be_drawn(n):
    true = np.linspace(0, 1, n)
    svg = predicted_against_true(true, true + 0.1, "fig")
    assert f"{n:,} samples" in ET.fromstring(svg).find(f"{SVG}desc").text
    assert svg.count("<use") < 1200
    assert "<svg" in residuals(true, true, "fig")


def test_residuals_of_a_constant_truth_can_be_drawn():
    assert "<svg" in residuals(np.zeros(40), np.ones(40), "fig")


def test_maps_draw_every_sample_in_both_panels():
    places = np.random.default_rng(0).normal(size=(30, 2))
    groups = [-1] * 10 + [0] * 10 + [1] * 10
    svg = feature_maps(places, places, groups, [("#0072b2", "o"), ("#e69f00", "s")], "fig")
    assert svg.count("<use") == 60
    ET.fromstring(numeric_maps(places, places, np.arange(30.0), "num"))


@pytest.mark.parametrize("name", ["$\\frac{", "翡翠", "🦉", "עורב", "a\x00b\nc", "\ud800", "हिन्दी", "x" * 500])
def test_any_name_can_be_drawn_without_warnings(name):
    matrix = np.array([[3, 1], [0, 2]])
    root = ET.fromstring(confusion_matrix(most_confused_block([name, "b"], matrix), matrix.sum(1), "fig"))
    assert root.tag.endswith("svg")
