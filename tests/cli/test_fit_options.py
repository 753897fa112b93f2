"""The table of options is in step with `FitOptions`, and what is typed reaches it."""

from __future__ import annotations

import pytest
import typer
from pydantic_core import PydanticUndefined
from typer.testing import CliRunner

from headstart.cli import fit_options
from headstart.verbs.options import FitOptions, make_options


def collect(*arguments: str) -> dict:
    """The options that `fit` would hand on."""
    seen: dict = {}
    app = typer.Typer()

    @app.command()
    @fit_options.with_fit_options
    def command(**options: object) -> None:
        seen.update(fit_options.typed(options))

    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return seen


def test_every_field_is_an_option_and_every_option_a_field() -> None:
    assert sorted(row.name for row in fit_options.ROWS) == sorted(FitOptions.model_fields)


@pytest.mark.parametrize("row", fit_options.ROWS, ids=lambda row: row.name)
def test_the_default_that_help_says_is_the_default(row: fit_options.Row) -> None:
    default = FitOptions.model_fields[row.name].default
    assert default is not PydanticUndefined
    if isinstance(default, bool):
        assert row.default == ("yes" if default else "no")
    elif default not in (None, ()):
        assert row.default == f"{default:g}" if isinstance(default, float) else row.default == str(default)


def test_nothing_typed_is_nothing_handed_on() -> None:
    assert collect() == {}


def test_what_is_typed_is_handed_on_in_its_type() -> None:
    given = collect(
        *(
            "--labels",
            "age, smiling,",
            "--image-size",
            "96",
            "--lr",
            "1e-3",
            "--epochs",
            "3",
            "--mixup",
            "0.2",
        ),
        *("--no-examples", "--no-ema", "--split-by", "day", "--out", "runs/x"),
    )
    options = make_options(given)
    assert options.labels == ("age", "smiling")
    assert (options.image_size, options.lr, options.epochs, options.mixup) == (96, 1e-3, 3, 0.2)
    assert (options.examples, options.ema, options.split_by) == (False, False, "day")
    assert str(options.out) == "runs/x"


@pytest.mark.parametrize(("flag", "value"), [("--ema", True), ("--no-ema", False)])
def test_a_switch_has_three_states(flag: str, value: bool) -> None:
    assert collect(flag) == {"ema": value}
