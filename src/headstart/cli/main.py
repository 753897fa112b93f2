"""The entry point: which commands there are, and the quiet environment that they run in."""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import sys
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from headstart import __version__
from headstart.cli import (
    adapt,
    cache,
    check,
    compare,
    demo,
    doctor,
    evaluate,
    export,
    failures,
    fit,
    methods,
    models,
    predict,
    pretrain,
    rank,
    report,
    resume,
    samples,
    shift,
)
from headstart.core.errors import ConfigError, did_you_mean

QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "true",
}
"""Keeps the libraries' own bars and notices off the terminal; what the user has set stays as it is."""


class _Commands(TyperGroup):
    """The group of all commands; it knows the names near a typo."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if name not in self.commands:
            raise ConfigError(f"There is no command {name!r}.", did_you_mean(name, self.commands))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        # Typer turns a KeyboardInterrupt into a silent exit and a closed pipe into exit code 1, so they are
        # caught before it sees them.
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise failures.Stopped(getattr(stop, "run", None)) from None
        except BrokenPipeError:
            raise failures.NobodyReads from None


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)


@app.callback()
def _start(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Fine-tune pretrained networks on your own pictures, texts or series, with evidence.

    First use: [bold]headstart demo[/bold], then [bold]headstart fit FOLDER[/bold] on a folder that has one
    subfolder of pictures (or text files) per class, or [bold]headstart fit TABLE.csv[/bold].
    """
    if version:
        print(f"headstart {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


_TRAIN, _USE, _LOOK = "Train", "Use a model", "Look around"
app.command("demo", rich_help_panel=_TRAIN)(demo.command)
app.command("check", rich_help_panel=_TRAIN)(check.command)
app.command("fit", rich_help_panel=_TRAIN)(fit.command)
app.command("rank", rich_help_panel=_TRAIN)(rank.command)
app.command("shift", rich_help_panel=_TRAIN)(shift.command)
app.command("adapt", rich_help_panel=_TRAIN)(adapt.command)
app.command("pretrain", rich_help_panel=_TRAIN)(pretrain.command)
app.command("resume", rich_help_panel=_TRAIN)(resume.command)
app.command("predict", rich_help_panel=_USE)(predict.command)
app.command("evaluate", rich_help_panel=_USE)(evaluate.command)
app.command("export", rich_help_panel=_USE)(export.command)
app.command("compare", rich_help_panel=_USE)(compare.command)
app.command("report", rich_help_panel=_USE)(report.command)
app.command("models", rich_help_panel=_LOOK)(models.command)
app.command("methods", rich_help_panel=_LOOK)(methods.command)
app.command("samples", rich_help_panel=_LOOK)(samples.command)
app.command("cache", rich_help_panel=_LOOK)(cache.command)
app.command("doctor", rich_help_panel=_LOOK)(doctor.command)


def _be_quiet() -> None:
    """Keep the libraries' warnings, logs and bars off the terminal; `python -W` still shows warnings."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # for worker processes
    # Without a handler, Python's logging of last resort prints every library's warnings.
    logging.getLogger().addHandler(logging.NullHandler())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 is success, 2 a mistake of the user, 1 a bug, 130 Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 gets "?", not a traceback
    _be_quiet()
    sys.exit(failures.guard(lambda: _run(arguments), arguments))


def command() -> None:
    """The console script: `main`, and then out at once.

    Taking the modules of PyTorch and OpenVINO apart one by one costs a second. What libraries want to do at exit they
    register later than this, so it has been done when `leave` is called. Python looks for garbage after every 700 new
    objects; importing libraries makes hundreds of thousands that stay, and most of a second goes into looking.
    """
    gc.set_threshold(50_000)
    code = 1

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)

    atexit.register(leave)
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        raise


def _run(arguments: list[str]) -> int:
    code = typer.main.get_command(app).main(args=arguments, prog_name="headstart", standalone_mode=False)
    sys.stdout.flush()  # here, so that a closed pipe is noticed while it can still be handled
    return code if isinstance(code, int) else 0
