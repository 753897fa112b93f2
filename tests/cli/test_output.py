"""Numbers, intervals, JSON and tables as they are printed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.cli import output

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_what_is_printed_is_strict_json(value: object) -> None:
    plain = output._plain(value)
    text = json.dumps(plain, allow_nan=False)
    assert json.loads(text) == plain


def test_what_json_has_not_is_made_plain(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    output.print_json({"a": np.float32(0.5), "b": np.array([1, 2]), "c": tmp_path, "d": (math.nan, math.inf), 3: "ü"})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"a": 0.5, "b": [1, 2], "c": str(tmp_path), "d": [None, None], "3": "ü"}
    assert "ü" in shown


def test_what_libraries_print_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with output.working():
        print("a library says hello")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "hello" in shown.err


def test_tables_wrap_at_80_columns_and_keep_every_word(capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"word{i}" for i in range(60)]
    output.print_table(["name", "text", "n"], [("[red]x[/red]", " ".join(words), "7"), ("y:smile:", "–", "8")], ["n"])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert [w for w in shown.split() if w.startswith("word")] == words
    assert "[red]x[/red]" in shown
    assert "y:smile:" in shown


def test_a_command_to_copy_is_never_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_command("headstart predict " + "x" * 200)
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    ("metric", "shown"),
    [(None, "–"), ({"value": 0.5}, "–"), ({"value": 1, "low": 0.5, "high": None}, "–")],
)
def test_an_interval_that_is_not_there_is_a_dash(metric: dict | None, shown: str) -> None:
    assert output.interval(metric) == shown
