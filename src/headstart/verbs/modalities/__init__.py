"""Pictures, texts and series, each with what a fit has to know about it."""

from __future__ import annotations

import importlib

from headstart.data.schema import Modality as ModalityName
from headstart.verbs.modalities.base import Modality, RawBaseline

__all__ = ["Modality", "RawBaseline", "modality_of"]

_WHERE = {"image": ("pictures", "Pictures"), "text": ("texts", "Texts"), "sequence": ("series", "Series")}


def modality_of(name: ModalityName) -> Modality:
    """The modality of that name; imported when it is first used."""
    module, cls = _WHERE[name]
    return getattr(importlib.import_module(f"headstart.verbs.modalities.{module}"), cls)()
