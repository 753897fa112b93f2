"""Ways of making one vector of many positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.core.errors import ModelError


def pool_positions(x: Tensor, mask: Tensor | None, how: str, directions: int = 1) -> Tensor:
    """One vector per row: (R, L, D) and (R, L) bool -> (R, D), or (R, 3D) for "concat".

    "cls" the first position; "last" the last unmasked one; "mean" and "max" over unmasked ones; "concat" last, max
    and mean side by side (Howard & Ruder 2018, section 3.3). Of two directions, halves of D, the second reads
    backwards: its last position is the first.

    Raises
    ------
    ModelError
        When there is no such way.
    """
    if how == "cls":
        return x[:, 0]
    if mask is None:
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    if how == "mean":
        weight = mask.to(x.dtype)[..., None]
        return (x * weight).sum(1) / weight.sum(1).clamp(min=1)
    if how == "max":
        return x.masked_fill(~mask[..., None], torch.finfo(x.dtype).min).amax(1)
    if how == "last":
        ends = (mask.long() * torch.arange(1, x.shape[1] + 1, device=x.device)).amax(1) - 1
        last = x[torch.arange(len(x), device=x.device), ends.clamp(min=0)]
        half = x.shape[2] // 2
        return last if directions == 1 else torch.cat([last[:, :half], x[:, 0, half:]], dim=1)
    if how == "concat":
        return torch.cat([pool_positions(x, mask, each, directions) for each in ("last", "max", "mean")], dim=1)
    raise ModelError(f"This network cannot pool positions by {how!r}.", "Use another --pooling.")


class AttentionPooling(nn.Module):
    """A weighted mean whose weights are learnt: softmax over positions of w·x (after Yang et al. 2016).

    `w` starts at zero, so that it starts as the mean.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(R, L, D), (R, L) bool -> (R, D)."""
        scores = (x * self.weight).sum(-1).float()
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        return (torch.softmax(scores, dim=1).to(x.dtype)[..., None] * x).sum(1)
