"""What is raised inside a command, as message and exit code."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import typer

from headstart.cli import failures
from headstart.core.errors import DataError


def raiser(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


def test_a_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert failures.guard(raiser(DataError("No picture in x.", "Look in y.")), []) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "Error: No picture in x.\nLook in y.\n"


def test_a_mistake_without_a_hint_has_no_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert failures.guard(raiser(DataError("No picture in x.")), []) == 2
    assert capsys.readouterr().err == "Error: No picture in x.\n"


def test_json_after_two_dashes_is_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    failures.guard(raiser(DataError("No.")), ["predict", "run", "--", "--json"])
    assert capsys.readouterr().out == ""
    failures.guard(raiser(DataError("No.")), ["predict", "--json", "run", "--", "x"])
    assert json.loads(capsys.readouterr().out) == {"error": {"what": "No.", "hint": ""}}


def test_a_bug_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert failures.guard(raiser(ZeroDivisionError("oh")), ["fit", "--json"]) == 1
    shown = capsys.readouterr()
    assert "Traceback" in shown.err
    assert "ZeroDivisionError: oh" in shown.err
    assert shown.err.rstrip().endswith(failures.BUG)
    assert json.loads(shown.out)["error"]["what"] == "ZeroDivisionError: oh"


@pytest.mark.parametrize(
    ("stop", "says"),
    [
        (failures.Stopped("runs/my flowers"), "headstart resume 'runs/my flowers'"),
        (failures.Stopped(), "Nothing had been started"),
        (KeyboardInterrupt(), "Nothing had been started"),
        (typer.Abort(), "Nothing had been started"),
    ],
)
def test_ctrl_c_says_how_to_go_on(stop: BaseException, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert failures.guard(raiser(stop), []) == 130
    assert says in capsys.readouterr().err
