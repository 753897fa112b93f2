"""The backbone contract: a pretrained network as a fold over ordered stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.core.errors import ModelError, did_you_mean
from headstart.data.augment import Augmentation
from headstart.data.schema import Modality, Sample

State = dict[str, Tensor]
"""What flows between stages, batch first: `x`; optionally `mask`, `position`, `pooled`, `carry.*` (recurrent)."""


@dataclass(frozen=True)
class InputSpec:
    """What a backbone wants to be fed; saved with the model.

    Attributes
    ----------
    size, native_size
        Pictures: side of a square in pixels, as it is fed and as the network was trained. Texts: most tokens at
        once, and how many positions the network has. Series: 0.
    fixed_size
        Whether it takes no other size.
    mean, std
        Of the channels: what pictures and series are standardised by.
    pooling, long
        Texts and series: as `Wanted` describes them, "auto" resolved.
    """

    modality: Modality = "image"
    channels: int = 3
    size: int = 224
    native_size: int = 224
    fixed_size: bool = False
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    pooling: str = "auto"
    long: str = "truncate"


@dataclass(frozen=True)
class Provenance:
    """Where a network comes from: the reference typed, its architecture, source, licence and weights' hash."""

    reference: str
    architecture: str
    library: str
    source: str
    licence: str
    sha256: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Backbone(nn.Module):
    """A network cut into ordered, named stages.

    A subclass registers its tensors once, under their native names, and fills `stages`. Every tensor belongs to
    exactly one stage: its earliest user. All stages can be frozen and given rates; only those in `cuts` can be
    resumed from (`run(state, after=cut)`).

    Attributes
    ----------
    stages
        Name -> module, from input to output.
    cuts
        Names of the stages whose output, kept as a `State`, is enough to compute the rest.
    source_head
        The classifier that the network was pretrained with, or None.
    family
        "cnn", "transformer" or "rnn": selects defaults, never code paths.
    ended_at
        The stage after which the network was cut off; None where it has its full depth.
    augmentations
        View -> how its samples are drawn (pictures).
    by_length
        Whether samples differ in length, so that batches of similar lengths save work.
    length_multiple
        Batches are padded to a multiple of this.
    keeps_settled
        Whether readers may keep settled samples in memory; false where settling is cheap and data are many.
    settles_together
        Whether `settle_all` is faster than one sample after the other.
    """

    stages: Mapping[str, nn.Module]
    cuts: tuple[str, ...]
    source_head: nn.Module | None
    source_classes: Sequence[str] | None
    input_spec: InputSpec
    provenance: Provenance
    family: str
    ended_at: str | None
    by_length = False
    length_multiple = 1
    keeps_settled = True
    settles_together = False

    def __init__(self) -> None:
        super().__init__()
        self.source_head = None
        self.source_classes = None
        self.ended_at = None
        self.augmentations: dict[str, Augmentation] = {}

    def begin(self, inputs: State) -> State:
        """Collated inputs -> the state that the first stage takes. The default passes them on."""
        return dict(inputs)

    def walk(self, s: State, after: str | None = None, upto: str | None = None) -> Iterator[tuple[str, State]]:
        """The fold, one stage at a time: yields (stage name, state after it).

        Raises
        ------
        ModelError
            When `after` is not a cut or either name is not a stage.
        """
        names = list(self.stages)
        for name in (after, upto):
            if name is not None and name not in self.stages:
                raise ModelError(f"The network has no stage {name!r}.", did_you_mean(name, names))
        if after is not None and after not in self.cuts:
            raise ModelError(f"The network cannot resume after stage {after!r}.", f"Cuts: {', '.join(self.cuts)}.")
        first = names.index(after) + 1 if after else 0
        last = names.index(upto) + 1 if upto else len(names)
        return self._walk(s, names[first:last])

    def _walk(self, s: State, names: list[str]) -> Iterator[tuple[str, State]]:
        for name in names:
            s = self.stages[name](s)
            yield name, s

    def run(self, s: State, after: str | None = None, upto: str | None = None) -> State:
        """The state after the stage `upto` (default: the last), starting after the stage `after`."""
        for _, s in self.walk(s, after, upto):  # noqa: B007, B020  the fold's variable is the state itself
            pass
        return s

    def dense(self, s: State) -> tuple[Tensor, Tensor | None]:
        """Positions and their mask: (B, L, D) and (B, L) bool, or None where every position counts."""
        x = s["x"]
        if x.dim() == 4:
            x = x.flatten(2).transpose(1, 2)
        elif x.dim() == 2:
            x = x[:, None]
        return x, s.get("mask")

    def pool(self, s: State, grid: int = 1) -> Tensor:
        """One vector per sample, (B, D·grid²), at any stage.

        Pictures are averaged within the cells of a grid × grid raster, other inputs over unmasked positions. After
        the last stage with grid 1 the network's own pooling is used (`s["pooled"]`).
        """
        if grid == 1 and "pooled" in s:
            return s["pooled"]
        x = s["x"]
        if x.dim() == 4:
            return F.adaptive_avg_pool2d(x, grid).flatten(1)
        if grid != 1:
            raise ModelError("Only pictures can be pooled to a grid.", "Use grid 1.")
        dense, mask = self.dense(s)
        if mask is None:
            return dense.mean(1)
        weight = mask.to(dense.dtype)[..., None]
        return (dense * weight).sum(1) / weight.sum(1).clamp(min=1)

    def settle(self, sample: Sample) -> Sample:
        """The part of preprocessing that is the same at every reading (resizing, tokens); kept by readers."""
        return sample

    def settle_all(self, samples: Sequence[Sample]) -> list[Sample]:
        """`settle` of many samples."""
        return [self.settle(sample) for sample in samples]

    def preprocess(self, sample: Sample, view: str, seed: int) -> State:
        """One settled sample -> tensors; random only through `seed`."""
        raise ModelError(f"{type(self).__name__} does not say how samples become tensors.", "Override preprocess().")

    def collate(self, states: list[State]) -> State:
        """A list of preprocessed samples -> one batch."""
        return {key: torch.stack([s[key] for s in states]) for key in states[0]}

    def length(self, sample: Sample) -> int:
        """How long a settled sample is, in what its cost grows with (tokens, time steps)."""
        return 1

    def batch_size(self) -> int:
        """Samples per batch, without gradients, that keep activations in cache: about 64 pictures of 96 px."""
        return max(8, min(128, round(64 * (96 / self.input_spec.size) ** 2 / 8) * 8))

    def end_at(self, stage: str) -> Backbone:
        """Drop every stage after `stage`, in place; remaining tensors keep their names.

        Raises
        ------
        ModelError
            When there is no such stage, or the network cannot be cut off.
        """
        if stage == list(self.stages)[-1]:
            return self
        raise ModelError(f"A {type(self).__name__} cannot end at {stage!r}.", "Use --stage last.")

    # -- what a bundle keeps --------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor under its native name."""
        return dict(self.state_dict())

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """The inverse of `tensors`; further ones are ignored. Returns the names of those that are lacking."""
        return list(self.load_state_dict(tensors, strict=False).missing_keys)

    def files(self) -> dict[str, bytes]:
        """Further files without which the network cannot be used: name -> content (a tokenizer)."""
        return {}

    def stage_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Stage -> its own parameters; a tensor shared by several stages is owned by the earliest."""
        seen: set[int] = set()
        owned: dict[str, list[nn.Parameter]] = {}
        for name, stage in self.stages.items():
            owned[name] = [p for p in stage.parameters() if id(p) not in seen]
            seen.update(id(p) for p in owned[name])
        return owned


class StagedBackbone(Backbone):
    """A backbone written as stages from the start: each module maps a `State` to a `State`.

    Stage names may contain dots; `nn.ModuleDict` refuses them, so modules are registered with dots replaced.
    """

    def __init__(self, stages: Mapping[str, nn.Module], family: str = "cnn", cuts: Sequence[str] | None = None) -> None:
        super().__init__()
        for name, stage in stages.items():
            self.add_module(name.replace(".", "_"), stage)
        object.__setattr__(self, "stages", dict(stages))
        self.cuts = tuple(stages if cuts is None else cuts)
        self.family = family
        self.input_spec = InputSpec(modality="sequence" if family == "rnn" else "image")
        self.provenance = Provenance("module", type(self).__name__, "own", "given by the caller", "unknown")

    def end_at(self, stage: str) -> StagedBackbone:
        """Drop every stage after `stage`, in place; a stage "pooling" stays the last.

        Raises
        ------
        ModelError
            When there is no such stage.
        """
        names = list(self.stages)
        if stage not in names:
            raise ModelError(f"The network has no stage {stage!r}.", f"Stages: {', '.join(names)}.")
        kept = [*names[: names.index(stage) + 1], *(n for n in names[-1:] if n == "pooling" != stage)]
        if kept == names:
            return self
        for name in names:
            if name not in kept:
                delattr(self, name.replace(".", "_"))
        self.stages = {name: self.stages[name] for name in kept}
        self.cuts = tuple(c for c in self.cuts if c in kept)
        self.ended_at = stage
        return self
