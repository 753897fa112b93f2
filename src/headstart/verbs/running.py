"""What every verb that makes a run folder does around its work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from headstart.core.errors import ConfigError, HeadstartError
from headstart.data.load import named_sources
from headstart.models.backbone import Backbone
from headstart.store.runfolder import RunFolder
from headstart.verbs.run import Interrupted


def absolute(data: str | Path) -> str:
    """A path that means the same from every folder, so that a run can be resumed from anywhere; samples as they are."""
    return str(data) if str(data).startswith("sample:") else str(Path(os.path.expanduser(data)).absolute())


def take_model(model: Any, options: dict[str, Any]) -> Backbone | None:
    """Put a network's reference into the options; one that was given as an object is returned, and called "module".

    Raises
    ------
    ConfigError
        For anything else.
    """
    if model is not None:
        options["model"] = model if isinstance(model, str) else "module"
    if model is None or isinstance(model, str):
        return None
    if not isinstance(model, Backbone):
        raise ConfigError(
            f"model is a {type(model).__name__}, not a reference or a Backbone.",
            "Make one of your module: headstart.models.from_module(module, stages, InputSpec(...)).",
        )
    return model


def named_paths(data: Any) -> list[str] | None:
    """Several data sets as texts NAME=PATH, by which a run finds them again; None where one is an object."""
    several = named_sources(data)
    if several is None or not all(isinstance(source, str | Path) for source in several.values()):
        return None
    return [f"{name}={absolute(source)}" for name, source in several.items()]


@contextmanager
def tidy(folder: RunFolder, there: Collection[Path]) -> Iterator[None]:
    """Write to a new folder, alone; a run that fails before it has measured anything leaves nothing of it behind.

    Raises
    ------
    StoreError
        When another process writes to the folder: what it has written stays.
    """
    try:
        with folder.locked():
            try:
                yield
            except BaseException as error:
                measured = folder.steps.exists() or folder.metrics.exists() or any(folder.path.glob("seed-*"))
                refused = isinstance(error, HeadstartError) and not measured
                if refused or not folder.config.exists():
                    _clear(folder)
                raise
    except BaseException:
        _remove_empty(folder, there)
        raise


def _clear(folder: RunFolder) -> None:
    for path in folder.path.glob("*"):
        if path != folder.lock:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _remove_empty(folder: RunFolder, there: Collection[Path]) -> None:
    """The folder and those above it, up to one that was there before."""
    with suppress(OSError):  # what went wrong before is what has to be said
        for path in (folder.path, *folder.path.parents):
            if path in there or any(path.iterdir()):
                break
            path.rmdir()


@contextmanager
def interruptible(folder: RunFolder) -> Iterator[None]:
    """Ctrl-C says how to go on, once there is something to go on with."""
    try:
        yield
    except KeyboardInterrupt:
        if not folder.config.exists():
            raise
        raise Interrupted(folder.path) from None
