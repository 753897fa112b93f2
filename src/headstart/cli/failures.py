"""What goes wrong, as a message and an exit code: one place for every command."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from headstart.cli.output import print_json
from headstart.core.errors import HeadstartError, did_you_mean

# Typer keeps its own copy of click in newer versions and uses the installed one in older ones; the classes
# are reached through a name that both have.
_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]

INTERRUPTED = 130
BUG = "This is a bug in Headstart, not a mistake of yours: please report it with the lines above."


class Stopped(Exception):
    """The user pressed Ctrl-C; `run` is the run folder that can be resumed, where there is one."""

    def __init__(self, run: str | Path | None = None) -> None:
        self.run = run
        super().__init__("stopped")


class NobodyReads(Exception):
    """Standard output was closed by its reader (`| head`)."""


def guard(work: Callable[[], int], arguments: Sequence[str]) -> int:
    """Run `work` and turn what it raises into a message and an exit code.

    Parameters
    ----------
    work
        Parses the arguments and runs the command; returns its exit code.
    arguments
        What the user typed; `--json` among them puts the error on standard output as an object too.
    """
    as_json = "--json" in arguments[: list(arguments).index("--")] if "--" in arguments else "--json" in arguments
    try:
        return work()
    except HeadstartError as error:
        return _say(error.what, error.hint, error.exit_code, as_json)
    except _USAGE_ERROR as error:
        return _say(*_usage(error), 2, as_json)
    except typer.Abort:
        return _stopped(None, as_json)
    except (Stopped, KeyboardInterrupt) as stop:
        return _stopped(getattr(stop, "run", None), as_json)
    except (NobodyReads, BrokenPipeError):
        # Python would complain once more when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        traceback.print_exc()
        print(BUG, file=sys.stderr)
        if as_json:
            print_json({"error": {"what": f"{type(error).__name__}: {error}", "hint": BUG}})
        return 1


def _say(what: str, hint: str, code: int, as_json: bool) -> int:
    if as_json:
        print_json({"error": {"what": what, "hint": hint}})
    else:
        print(f"Error: {what}", file=sys.stderr)
        if hint:
            print(hint, file=sys.stderr)
    return code


def _stopped(run: str | Path | None, as_json: bool) -> int:
    if run is None:
        return _say("Stopped.", "Nothing had been started that could be resumed.", INTERRUPTED, as_json)
    return _say("Stopped.", f"Go on with: headstart resume {shlex.quote(str(run))}", INTERRUPTED, as_json)


def _usage(error: Any) -> tuple[str, str]:
    """What and hint of a mistake in the arguments."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "headstart"
    hint = f"See {command} --help."
    wrong = getattr(error, "option_name", None)
    if wrong and "no such option" in error.message.lower():
        known = [o for p in context.command.params for o in (*p.opts, *p.secondary_opts)] if context else []
        near = did_you_mean(wrong, [*known, "--help"]) if known else ""
        return f"{command} has no option {wrong}.", " ".join(filter(None, [near if "mean" in near else "", hint]))
    return error.format_message().rstrip(".") + ".", hint
