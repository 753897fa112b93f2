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
