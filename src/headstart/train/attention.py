"""Attention on processors, a few samples at a time.

PyTorch computes attention with dropout on a processor over the whole batch at once and in float32, whatever the format
of training; its kernel for attention without dropout is slow backwards in bfloat16. Here the weights of some samples
are made, dropped, used and left while they are in the processor's cache, in the format of training (as transformers'
own "eager" attention has them). Softmax sums in float32. Random numbers of dropout, within attention and elsewhere, are
drawn four at a time.

    w = softmax(scale q kᵀ + mask)      out = (w ⊙ d) v      d = 0 with probability p, else 1 / (1 - p)

Gradients, with g that of out: v: (w ⊙ d)ᵀ g; of the scores s: w ⊙ (h - Σ w ⊙ h) with h = (g vᵀ) ⊙ d; q: scale ∂s k;
k: scale ∂sᵀ q (Vaswani et al. 2017, arXiv 1706.03762; the softmax's Jacobian).

Only where gradients are recorded: networks are validated as they will be used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from headstart.models.backbone import Backbone

AT_ONCE = 2**20
"""Attention weights that are worked on together: two megabytes in bfloat16."""

LONG = 2**22
"""Attention weights of one sample from which PyTorch's kernel without dropout is left at it: it keeps none of them."""

LEVELS = 2**16
"""Values of a random number: the probability of dropout is rounded to a multiple of 1 / LEVELS."""


@contextmanager
def attention_in_parts(backbone: Backbone, device: torch.device) -> Iterator[None]:
    """Within the block, a Transformer that is trained on a processor attends a few samples at a time.

    Whatever this does not cover (causal or weighted masks, float32 without dropout, long sequences without dropout) is
    left to PyTorch, and so is everything on other devices.
    """
    if device.type != "cpu" or backbone.family != "transformer":
        yield
        return
    with _InParts():
        yield


class _InParts(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        if func is F.dropout:
            return _dropout(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`scaled_dot_product_attention`, in parts where that is faster."""
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (x.to(torch.get_autocast_dtype("cpu")) for x in (query, key, value))
    if is_causal or enable_gqa or not _suits(query, key, value, attn_mask, dropout_p):
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    bias = None
    if attn_mask is not None and not attn_mask.all():
        bias = torch.zeros(attn_mask.shape, dtype=query.dtype).masked_fill_(~attn_mask, -torch.inf)
    with torch.autocast("cpu", enabled=False):
        return _Parts.apply(query, key, value, bias, query.shape[-1] ** -0.5 if scale is None else scale, dropout_p)


def _suits(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> bool:
    if not (torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))):
        return False
    if query.dim() != 4 or query.shape[:2] != key.shape[:2] or query.shape[1] * query.shape[2] * key.shape[2] == 0:
        return False
    if query.device.type != "cpu" or not query.dtype == key.dtype == value.dtype:
        return False
    if not 0 <= _levels(dropout) < LEVELS:
        return False
    # Without dropout PyTorch keeps no weights: in float32 its kernel is the faster one, and over long sequences the
    # smaller one.
    if dropout == 0 and (query.dtype == torch.float32 or query[0, :, :, 0].numel() * key.shape[2] > LONG):
        return False
    # A row without any key has no softmax.
    return mask is None or (mask.dtype == torch.bool and mask.dim() == 4 and bool(mask.any(-1).all()))


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout`; where it is to drop, elements are zero with probability p and else divided by 1 - p."""
    drops = training and not inplace and 0 < _levels(p) < LEVELS and input.requires_grad and torch.is_grad_enabled()
    if not drops or input.device.type != "cpu" or not input.dtype.is_floating_point:
        return F.dropout(input, p, training, inplace)
    return input * _kept(torch.empty_like(input, memory_format=torch.contiguous_format), p).mul_(_factor(p))


class _Parts(torch.autograd.Function):
    """Softmax attention with dropout; all of shape (B, H, L, D), a bias that broadcasts to (B, H, L, S)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, p: float) -> Tensor:
        b, heads, length, _ = q.shape
        shape = (b, heads, length, k.shape[2])
        q, k, v = (x.flatten(0, 1) for x in (q, k, v))
        bias = None if bias is None else bias.expand(b, -1, -1, -1)
        weights = torch.empty((b * heads, *shape[2:]), dtype=q.dtype)
        kept = torch.empty_like(weights) if p else None
        out = torch.empty((b * heads, length, v.shape[2]), dtype=q.dtype)
        for some in _parts(b, heads, weights[0].numel()):
            scores = torch.bmm(q[some] * scale, k[some].transpose(1, 2))
            if bias is not None:
                scores.view(-1, *shape[1:]).add_(bias[some.start // heads : some.stop // heads])
            torch.softmax(scores, -1, out=weights[some])
            used = weights[some]
            if kept is not None:
                _kept(kept[some], p)
                used = torch.mul(used, kept[some], out=scores)
            torch.bmm(used, v[some], out=out[some])
        ctx.save_for_backward(q, k, v, weights, kept)
        ctx.scale, ctx.heads, ctx.factor = scale, heads, _factor(p)
        return out.mul_(ctx.factor).unflatten(0, (b, heads)) if p else out.unflatten(0, (b, heads))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, kept = ctx.saved_tensors
        b = len(q) // ctx.heads
        g = gradient.flatten(0, 1) * ctx.factor
        of_q, of_k, of_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for some in _parts(b, ctx.heads, weights[0].numel()):
            w = weights[some]
            h = torch.bmm(g[some], v[some].transpose(1, 2))
            if kept is not None:
                torch.bmm((w * kept[some]).transpose(1, 2), g[some], out=of_v[some])
                h.mul_(kept[some])
            else:
                torch.bmm(w.transpose(1, 2), g[some], out=of_v[some])
            of_scores = torch._softmax_backward_data(h, w, -1, w.dtype)
            torch.bmm(of_scores, k[some], out=of_q[some])
            torch.bmm(of_scores.transpose(1, 2), q[some], out=of_k[some])
        made = (of_q.mul_(ctx.scale), of_k.mul_(ctx.scale), of_v)
        return (*(x.unflatten(0, (b, ctx.heads)) for x in made), None, None, None)


def _parts(samples: int, heads: int, size: int) -> Iterator[slice]:
    """Rows (sample and head) of a few samples at a time, whose weights (`size` a row) are at most AT_ONCE."""
    step = max(1, AT_ONCE // (heads * size))
    return (slice(i * heads, min(i + step, samples) * heads) for i in range(0, samples, step))


def _kept(out: Tensor, p: float) -> Tensor:
    """Fills `out` with zeros, each with probability p (see LEVELS), and ones; four from each draw of 64 bits."""
    count = out.numel()
    drawn = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    return torch.ge(drawn.view(out.shape), _levels(p) - LEVELS // 2, out=out)


def _levels(p: float) -> int:
    return round(p * LEVELS)


def _factor(p: float) -> float:
    return 1 / (1 - _levels(p) / LEVELS)
