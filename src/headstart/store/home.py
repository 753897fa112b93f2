"""Where Headstart keeps things: fetched samples and weights, and what can be computed again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home_dir() -> Path:
    """Folder of fetched samples and weights: `HEADSTART_HOME`, else the platform's user data folder.

    The environment is read at every call; nothing is created.
    """
    return _from_environment("HEADSTART_HOME") or Path(platformdirs.user_data_dir("headstart", appauthor=False))


def cache_dir() -> Path:
    """Folder of what can be computed again: `HEADSTART_CACHE`, else the platform's user cache folder.

    The environment is read at every call; nothing is created.
    """
    return _from_environment("HEADSTART_CACHE") or Path(platformdirs.user_cache_dir("headstart", appauthor=False))


def _from_environment(name: str) -> Path | None:
    value = os.environ.get(name, "").strip()
    return Path(value).expanduser().absolute() if value else None
