"""What one method made of the two domains."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.models.bundle import load_bundle
from headstart.models.model import Model
from headstart.store.tensors import load_tree, save_tree
from headstart.train.inference import outputs
from headstart.verbs.domain.pair import TARGET, Pair
from headstart.verbs.frozen import FrozenProbe
from headstart.verbs.start import build_model


@dataclass
class Seen:
    """A model's logits and features of one part."""

    logits: np.ndarray
    features: np.ndarray

    def none(self) -> Seen:
        """Of no samples."""
        return Seen(self.logits[:0], self.features[:0])


@dataclass
class Attempt:
    """One method, tried.

    Attributes
    ----------
    name, kind
        Of the method; "shallow" (on frozen features) or "deep" (the network moves).
    source, target
        Of the model on the source's validation part (of no samples, where there are no source data) and on the target.
    curve
        Of training: a record per epoch.
    facts, notes
        What the method reports, and what was decided on the way.
    """

    name: str
    kind: str
    source: Seen
    target: Seen
    curve: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_tree(self) -> dict[str, Any]:
        def seen(s: Seen) -> dict[str, Any]:
            return {"logits": torch.from_numpy(s.logits), "features": torch.from_numpy(s.features)}

        return {
            "name": self.name,
            "kind": self.kind,
            "source": seen(self.source),
            "target": seen(self.target),
            "curve": self.curve,
            "facts": self.facts,
            "notes": self.notes,
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any], seconds: float) -> Attempt:
        def seen(t: dict[str, Any]) -> Seen:
            return Seen(t["logits"].numpy(), t["features"].numpy())

        return cls(
            tree["name"],
            tree["kind"],
            seen(tree["source"]),
            seen(tree["target"]),
            tree["curve"],
            tree["facts"],
            tree["notes"],
            seconds,
        )


def weights_path(pair: Pair, name: str) -> Path:
    return pair.job.folder.steps / f"{name}-weights.safetensors"


def keep_model(pair: Pair, name: str, model: Model) -> None:
    """Keep the trained weights of an attempt."""
    pair.job.folder.steps.mkdir(exist_ok=True)
    tensors = {k: v for k, v in model.state_dict().items() if not k.startswith(("backbone.source_head.", "parts."))}
    save_tree(weights_path(pair, name), tensors)


def blank_model(pair: Pair, start: FrozenProbe | None) -> Model:
    """A model of the kind that this adaptation makes: one that ends at the probe's place, or the given one."""
    if pair.model is None:
        assert start is not None
        return build_model(pair.job, start, "probe")
    model = load_bundle(pair.model.folder).model
    model.backbone.augmentations = {}
    if model.backbone.family == "cnn":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.to(pair.job.device)


def load_model(pair: Pair, name: str, start: FrozenProbe | None) -> Model:
    """The model of an attempt."""
    model = blank_model(pair, start)
    model.load_state_dict(load_tree(weights_path(pair, name)), strict=False)
    return model.eval()


def see(pair: Pair, model: Model, part: str) -> Seen:
    """Logits and features of a part."""
    job = pair.job
    found = outputs(model, job.reader(model.backbone), part, dtype=job.dtype, features=True)
    assert found.features is not None
    return Seen(found.logits[job.task.name], found.features)


def on_both(pair: Pair, model: Model) -> tuple[Seen, Seen]:
    """On the source's validation part and on the target."""
    target = see(pair, model, TARGET)
    return target.none() if pair.model is not None else see(pair, model, "validation"), target
