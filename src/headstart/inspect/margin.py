"""What is explained of an answer: by how much it leads."""

from __future__ import annotations

from torch import Tensor


def margin(logits: Tensor) -> Tensor:
    """(B, K) -> (B,): by how much the answer leads the mean of the others; what all logits share decides nothing.

    Of a single output (regression) the output itself.
    """
    if logits.shape[1] == 1:
        return logits[:, 0]
    best = logits.amax(1)
    return best - (logits.sum(1) - best) / (logits.shape[1] - 1)
