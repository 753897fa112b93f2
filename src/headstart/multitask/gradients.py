"""Gradients of every task apart: the rows of the Jacobian, one backward pass each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

SMALL, CHUNK = 2**14, 2**16
"""Numbers of a gradient up to which several are put end to end; and those that are multiplied at a time on a CPU."""

_NARROW = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Rows:
    """A gradient per task and input.

    Attributes
    ----------
    parts
        Task -> input -> gradient; None where the task does not reach the input.
    """

    parts: list[list[Tensor | None]]

    def only(self, *inputs: int) -> Rows:
        """The same with respect to some of the inputs."""
        return Rows([[row[k] for k in inputs] for row in self.parts])

    def shared(self) -> list[int]:
        """Inputs that at least two tasks reach (one, where there is one task)."""
        least = min(2, len(self.parts))
        counts = [sum(part is not None for part in column) for column in zip(*self.parts, strict=True)]
        return [k for k, count in enumerate(counts) if count >= least]

    def gramian(self) -> Tensor:
        """(T, T) float64 inner products, summed over inputs."""
        count = len(self.parts)
        total = torch.zeros(count, count, dtype=torch.float64)
        for there, rows in self._blocks():
            at = torch.tensor(there)
            total[at[:, None], at[None]] += _products(rows).cpu()
        return total

    def _blocks(self) -> Iterator[tuple[tuple[int, ...], list[Tensor]]]:
        """Tasks that reach an input, and their gradients; small ones of the same tasks are put end to end.

        A network has a hundred norms with a few numbers each, and a product costs more in calling than in computing.
        """
        small: dict[tuple[int, ...], list[list[Tensor]]] = {}
        for column in zip(*self.parts, strict=True):
            there = tuple(t for t, part in enumerate(column) if part is not None)
            rows = [part.flatten() for part in column if part is not None]
            if rows and rows[0].numel() > SMALL:
                yield there, rows
            elif rows:
                small.setdefault(there, []).append(rows)
        for there, columns in small.items():
            yield there, [torch.cat(pieces) for pieces in zip(*columns, strict=True)]

    def combine(self, weights: Sequence[float], k: int) -> Tensor | None:
        """Sum over tasks of weight times gradient with respect to input k."""
        total: Tensor | None = None
        for weight, row in zip(weights, self.parts, strict=True):
            part = row[k]
            if part is not None:
                total = part * weight if total is None else total.add_(part, alpha=weight)
        return total

    def combine_each(self, weights: Sequence[Sequence[float]]) -> list[Tensor | None]:
        """`combine` for every input, with weights of its own: a few calls instead of one per task and input."""
        totals: list[Tensor | None] = [None] * len(weights)
        for t, row in enumerate(self.parts):
            there = [(k, part) for k, part in enumerate(row) if part is not None]
            if not there:
                continue
            scales: list[complex] = [weights[k][t] for k, _ in there]
            found = torch._foreach_mul([part for _, part in there], scales)
            sums = [
                (total, part) for (k, _), part in zip(there, found, strict=True) if (total := totals[k]) is not None
            ]
            if sums:
                torch._foreach_add_([total for total, _ in sums], [part for _, part in sums])
            for (k, _), part in zip(there, found, strict=True):
                totals[k] = part if totals[k] is None else totals[k]
        return totals

    def scaled(self, factor: float) -> Rows:
        if factor == 1.0:
            return self
        return Rows([[None if part is None else part * factor for part in row] for row in self.parts])

    def plus(self, other: Rows) -> Rows:
        pairs = zip(self.parts, other.parts, strict=True)
        return Rows([[_sum(a, b) for a, b in zip(mine, its, strict=True)] for mine, its in pairs])


def _products(rows: Sequence[Tensor]) -> Tensor:
    """(n, n) float64 inner products of n vectors."""
    # Piece by piece through one buffer that stays in a processor's cache: millions of numbers would be written out and
    # read in again as float64.
    length, device = rows[0].numel(), rows[0].device
    size = max(1, min(CHUNK, length) if device.type == "cpu" else length)
    buffer = torch.empty(len(rows), size, dtype=torch.float64, device=device)
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=device)
    for pieces in zip(*(row.split(size) for row in rows), strict=True):
        part = buffer[:, : len(pieces[0])]
        torch._foreach_copy_([*part], [*pieces])
        total.addmm_(part, part.T)
    return total


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def per_task(losses: Sequence[Tensor], inputs: Sequence[Tensor], keep: bool) -> Rows:
    """Gradients of each loss, one pass after the other.

    One after the other and not batched, because batched passes fail under autocast with norms, and for recurrent
    layers on CUDA (TorchJD issues 699 and 220).

    Parameters
    ----------
    losses
        (T,) scalars.
    inputs
        With respect to what; gradients come in their dtypes, or in float32 where those are narrower.
    keep
        Whether the graph is used again afterwards.
    """
    parts: list[list[Tensor | None]] = []
    for t, loss in enumerate(losses):
        again = keep or t + 1 < len(losses)
        found: Sequence[Tensor | None] = torch.autograd.grad(loss, [*inputs], retain_graph=again, allow_unused=True)
        parts.append([None if g is None else g.float() if g.dtype in _NARROW else g for g in found])
    return Rows(parts)


def above(losses: Sequence[Tensor], shared: Tensor) -> list[nn.Parameter]:
    """Parameters that the losses reach without passing through `shared`: heads, and what methods put beside them."""
    found: dict[int, nn.Parameter] = {}
    visited = {shared.grad_fn}
    waiting = [loss.grad_fn for loss in losses]
    while waiting:
        node = waiting.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and leaf is not shared:
            found[id(leaf)] = leaf
        waiting += [following for following, _ in node.next_functions]
    return list(found.values())
