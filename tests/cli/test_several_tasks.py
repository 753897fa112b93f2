"""Several tasks as they are typed."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from headstart.cli import fit as fit_command
from headstart.core.errors import ConfigError


def test_data_sets_are_named_with_repeated_options(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    from headstart import verbs

    seen: dict = {}
    monkeypatch.setattr(verbs, "fit", lambda data, **given: seen.update(data=data, given=given))
    monkeypatch.setattr(fit_command, "print_outcome", lambda run, as_json: None)
    app = typer.Typer()
    app.command()(fit_command.command)
    given = ["--data", "a=one.csv", "--data", "b=two.csv", "--sampling", "2", "--balance", "fixed:1,2"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert seen["data"] == ["a=one.csv", "b=two.csv"]
    assert seen["given"] == {"sampling": "2", "balance": "fixed:1,2"}
    result = CliRunner().invoke(app, ["one.csv", "--data", "a=one.csv"])
    assert isinstance(result.exception, ConfigError)
    assert "named twice" in str(result.exception)
    result = CliRunner().invoke(app, ["--data", "a=one.csv", "--data", "flowers/"])
    assert isinstance(result.exception, ConfigError)
    assert "flowers/ has no name" in result.exception.what
    assert "headstart fit flowers/" in result.exception.hint


def test_a_dry_run_is_printed_by_task(capsys: pytest.CaptureFixture[str]) -> None:
    from headstart.cli.outcome import print_estimate

    tasks = {
        "age": {"kind": "regression", "labelled": {"train": 1200, "test": 200}},
        "hat": {"kind": "single-label", "labelled": {"train": 90}},
    }
    step = {"name": "shared model", "detail": "lp-ft, mmoe: 8 epochs", "seconds": 41.0}
    print_estimate(
        {
            "data": {"name": "people", "parts": {"train": 1300}},
            "model": "small",
            "size": 96,
            "size_unit": "px",
            "device": "cpu",
            "plan": [step],
            "seconds": 41,
            "memory_mb": 900,
            "disk_mb": 20,
            "tasks": tasks,
        }
    )
    said = capsys.readouterr().out
    assert "age: regression, 1,200 labelled for training" in said
    assert "hat: single-label, 90 labelled" in said
    assert "lp-ft, mmoe: 8 epochs" in said
