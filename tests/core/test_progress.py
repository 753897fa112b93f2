"""Progress: on standard error, sparse lines off a terminal, silent unless asked."""

from __future__ import annotations

import time

import pytest

from headstart.core.progress import Bars, Lines, Silent, best_progress, progress, reporting_to


def test_silent_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(progress(), Silent)
    progress().say("nothing")
    with progress().task("work", 3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_reporting_to_is_undone_after_errors() -> None:
    lines = Lines()

    def fail() -> None:
        with reporting_to(lines):
            assert progress() is lines
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert isinstance(progress(), Silent)


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines(every=0.0).task("training", 4) as advance:
        advance(0)
        time.sleep(0.01)
        advance(3, "loss 0.1")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["training: 3/4, about 0 s left  loss 0.1"]
    with Lines(every=60.0).task("training", 4) as advance:
        for _ in range(4):
            advance(1)
    assert capsys.readouterr().err == ""


def test_bars_write_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    bars = Bars()
    bars.say("[bold]not markup[/bold]")
    with bars.task("work", 2) as advance:
        advance(1, "half")
        advance(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert "[bold]not markup[/bold]" in err


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(best_progress(), Lines)
