"""What every engine is: something that runs the frozen part of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from headstart.features.engines.prefix import Place, Prefix, begun
from headstart.models.backbone import Backbone, State
from headstart.models.token_backbone import mean_of_rows


class EngineError(Exception):
    """An engine cannot run this network; the message says why."""


class Engine(ABC):
    """Runs a frozen backbone up to some places.

    Parameters
    ----------
    backbone, places
        What is run.
    example
        A collated batch as the reader makes it: names, number formats and sizes of what will come.
    dtype
        Number format of the computations.

    Raises
    ------
    EngineError
        When the network cannot be converted.
    """

    name: str
    """As users type it."""

    pays_from: float = 0.0
    """Seconds of remaining work from which it pays to convert the network for it and try."""

    begins = False
    """Whether pictures enter as bytes: scaling and normalising them is then part of what is compiled."""

    def __init__(
        self, backbone: Backbone, places: Sequence[Place], example: State, dtype: torch.dtype = torch.float32
    ) -> None:
        self.backbone, self.places, self.dtype = backbone, tuple(places), dtype
        self.device = next(backbone.parameters()).device
        self._as_bytes = self.begins and set(example) == {"x"} and example["x"].dtype == torch.uint8
        state, _ = self.begin(example)
        self.prefix = Prefix(backbone, places, list(state), begins=self._as_bytes)
        with torch.inference_mode():
            self.prepare(state)

    def prepare(self, state: State) -> None:  # noqa: B027  nothing to prepare is a valid answer
        """Convert and compile for states like this one."""

    def begin(self, inputs: State) -> tuple[State, Tensor | None]:
        """What `compute` takes of a collated batch, and which sample each row belongs to where there are several."""
        inputs = {k: v.to(self.device) for k, v in inputs.items()}
        if not self._as_bytes:
            return begun(self.backbone, inputs)
        x = inputs["x"]
        return {"x": x.expand(-1, self.backbone.input_spec.channels, -1, -1) if x.shape[1] == 1 else x}, None

    @abstractmethod
    def compute(self, state: State) -> Sequence[Tensor]:
        """(R, D) for each place, in any number format, anywhere."""

    @classmethod
    @abstractmethod
    def formats(cls, device: torch.device) -> tuple[torch.dtype, ...]:
        """Number formats that are worth trying there; none where the engine cannot run on that device."""

    @classmethod
    @abstractmethod
    def key(cls, dtype: torch.dtype, device: torch.device) -> str:
        """Everything of the engine that its outputs depend on: version, device and number format."""

    @torch.inference_mode()
    def run(self, inputs: State) -> dict[Place, Tensor]:
        """A collated batch -> place -> (B, D) float32 on the CPU."""
        state, rows = self.begin(inputs)
        made = [x.float().cpu() for x in self.compute(state)]
        if rows is not None:
            made = [mean_of_rows(x, {"rows": rows.cpu()}) for x in made]
        return dict(zip(self.places, made, strict=True))


def first_line(error: Exception) -> str:
    """What a library's error says in short: the first line of its cause."""
    cause = error.__cause__ or error
    lines = str(cause).strip().splitlines()
    return lines[0][:200] if lines else type(cause).__name__
