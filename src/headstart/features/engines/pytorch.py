"""PyTorch itself, and its compiler."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from headstart.core.registry import register
from headstart.features.engines.engine import Engine, EngineError, first_line
from headstart.models.backbone import State
from headstart.train.folding import SettledNorms
from headstart.train.precision import autocast, choose_precision, format_name


@register(
    "engine",
    "torch",
    summary="PyTorch without recording for gradients; channels-last, bfloat16 where the hardware computes in it",
    source="docs.pytorch.org, torch.inference_mode and torch.autocast",
)
class Torch(Engine):
    """The network as it is; in float32 convolutions do the work of the batch norms after them.

    Not in shorter formats, which lose more that way: in a trial on 64 digits, EfficientNet-Lite0's features in bfloat16
    had a least cosine of .994 to those in float32, and of .997 with the norms' own passes.
    """

    name = "torch"

    def prepare(self, state: State) -> None:
        self._norms = SettledNorms(self.backbone if self.dtype == torch.float32 else None, self.prefix.deepest)

    def compute(self, state: State) -> Sequence[Tensor]:
        with autocast(self.dtype, self.device), self._norms.used():
            return self.prefix(*state.values())

    @classmethod
    def formats(cls, device: torch.device) -> tuple[torch.dtype, ...]:
        half = (torch.float16,) if device.type == "cuda" else ()
        return tuple(dict.fromkeys((torch.float32, choose_precision("auto", device), *half)))

    @classmethod
    def key(cls, dtype: torch.dtype, device: torch.device) -> str:
        return f"{cls.name} {torch.__version__} on {device.type}, {format_name(dtype)}"


@register(
    "engine",
    "torch-compile",
    summary="PyTorch's compiler (TorchInductor); tried on CUDA, where compiling pays after some ten thousand samples",
    source="Ansel et al. 2024 (doi 10.1145/3620665.3640366)",
    needs={"cuda"},
)
class TorchCompile(Torch):
    """The network compiled at its first batch, once for batches of any size."""

    name = "torch-compile"
    pays_from = 120.0

    def prepare(self, state: State) -> None:
        self._compiled: Callable[..., tuple[Tensor, ...]] = torch.compile(self.prefix, dynamic=True)
        try:
            self.compute(state)
        except Exception as error:  # the compiler's own errors have no common class
            raise EngineError(f"torch.compile: {first_line(error)}") from error

    def compute(self, state: State) -> Sequence[Tensor]:
        with autocast(self.dtype, self.device):
            return self._compiled(*state.values())

    @classmethod
    def formats(cls, device: torch.device) -> tuple[torch.dtype, ...]:
        return super().formats(device) if device.type == "cuda" else (torch.float32,)
