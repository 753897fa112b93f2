"""What we start from: references, backbones, heads."""

from headstart.models.backbone import Backbone, InputSpec, Provenance, StagedBackbone, State
from headstart.models.catalogue import list_models
from headstart.models.reference import Reference, parse_reference
from headstart.models.traced import TracedBackbone
from headstart.models.vision import from_module, open_vision
from headstart.models.wanted import Wanted

__all__ = [
    "Backbone",
    "InputSpec",
    "Provenance",
    "Reference",
    "StagedBackbone",
    "State",
    "TracedBackbone",
    "Wanted",
    "from_module",
    "list_models",
    "open_vision",
    "parse_reference",
]
