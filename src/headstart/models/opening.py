"""Opens any model reference as a backbone."""

from __future__ import annotations

from pathlib import Path

from headstart.core.errors import ModelError
from headstart.models.backbone import Backbone
from headstart.models.reference import parse_reference
from headstart.models.vision import Wanted, open_vision


def open_model(reference: str, wanted: Wanted) -> Backbone:
    """The backbone that a reference names.

    Raises
    ------
    ModelError
        When it cannot be opened; the message says what can.
    """
    parsed = parse_reference(reference)
    if parsed.kind != "run":
        return open_vision(parsed, wanted)
    from headstart.models.bundle import find_bundle, load_bundle

    if parsed.scratch:
        raise ModelError("scratch: cannot stand before run:.", "Name the run's own model reference after scratch: .")
    return load_bundle(find_bundle(Path(parsed.name)), wanted).model.backbone
