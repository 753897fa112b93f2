"""Number format of training: float32, or bfloat16 autocast where the hardware computes in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

CLEARLY = 1.1
"""How many times faster a format must be than float32 to be worth its rounding."""

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def choose_precision(asked: str, device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware has it (CUDA from Ampere on; CPUs with AVX512-BF16 or AMX), else float32."""
    if asked != "auto":
        return getattr(torch, asked)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return torch.bfloat16
    return torch.float32


def format_name(dtype: torch.dtype) -> str:
    """As people write it.

    >>> format_name(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """The autocast context for a dtype; nothing for float32."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


@contextmanager
def norms_in_float32(module: nn.Module, dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Within the block, normalisation layers get float32 inputs.

    PyTorch's CPU kernels sum the bias gradient of a LayerNorm in the dtype of its input: in bfloat16, thousands of
    rows add up to a fraction of their sum.
    """
    if dtype == torch.float32 or device.type != "cpu":
        yield
        return

    def to_float(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0].float(), *args[1:])

    handles = [m.register_forward_pre_hook(to_float) for m in module.modules() if isinstance(m, NORMS)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
