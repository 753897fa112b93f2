"""The Hugging Face hub and its cache: the cache first, and no long waiting for a hub that does not answer."""

from __future__ import annotations

import re

from headstart.core.errors import ModelError
from headstart.models.reference import Reference

_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_PATIENCE = 10.0


def is_cached(repository: str) -> bool:
    """Whether the hub's cache holds weights of a repository."""
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in _WEIGHTS)


def hub_answers() -> bool:
    """Whether the hub answers at all: one attempt, where its own client would try for most of a minute per file."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HTTPError  # of whichever library the client is built on
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except (HTTPError, OSError):  # OSError: switched off by HF_HUB_OFFLINE
        return False
    return True


def is_hub_error(error: BaseException) -> bool:
    """Whether an error means that the hub, rather than the model, is at fault."""
    text = f"{type(error).__name__} {error}".lower()
    pattern = r"connect|offline|resolve|localentrynotfound|timed? ?out|unreachable|hub|cached files|401|403|404"
    return bool(re.search(pattern, text))


def out_of_reach(reference: Reference, why: object) -> ModelError:
    """The error that says what can be had instead."""
    from headstart.models.catalogue import offline_references

    reason = (str(why).strip().splitlines() or [""])[0][:160].rstrip(".")
    return ModelError(
        f"The weights of {reference} are not on this machine and the Hugging Face hub did not give them ({reason}).",
        "Available offline: " + ", ".join(offline_references()) + ".",
    )
