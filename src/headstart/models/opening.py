"""Opens any model reference as a backbone."""

from __future__ import annotations

from pathlib import Path

from headstart.core.errors import ConfigError, ModelError
from headstart.models.backbone import Backbone
from headstart.models.reference import Reference, parse_reference
from headstart.models.vision import open_vision
from headstart.models.wanted import Wanted


def open_model(reference: str, wanted: Wanted) -> Backbone:
    """The backbone that a reference names.

    Raises
    ------
    ModelError
        When it cannot be opened; the message says what can.
    """
    parsed = parse_reference(reference)
    if wanted.arch and parsed.kind not in ("own", "file"):
        raise ConfigError(
            f"--arch: {reference} brings its own architecture.", "Leave it out; it is for file: and scratch:gru."
        )
    if parsed.kind != "run":
        return _OPENERS[wanted.modality](parsed, wanted)
    from headstart.models.bundle import find_bundle, load_bundle

    if parsed.scratch:
        raise ModelError("scratch: cannot stand before run:.", "Name the run's own model reference after scratch: .")
    return load_bundle(find_bundle(Path(parsed.name)), wanted).model.backbone


def _open_series(reference: Reference, wanted: Wanted) -> Backbone:
    from headstart.models.own import open_own

    if reference.kind != "own":
        raise ModelError(
            f"{reference} is not a network for series.",
            "Use scratch:gru, scratch:lstm, scratch:inception-time or run: .",
        )
    return open_own(reference, wanted)


def _open_text(reference: Reference, wanted: Wanted) -> Backbone:
    from headstart.models.text_opening import open_text

    return open_text(reference, wanted)


_OPENERS = {"image": open_vision, "text": _open_text, "sequence": _open_series}
