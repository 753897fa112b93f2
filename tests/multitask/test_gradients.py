"""The rows of the Jacobian: inner products over inputs of any size, of whichever tasks reach them."""

from __future__ import annotations

import torch

from headstart.multitask.gradients import CHUNK, SMALL, Rows


def test_inner_products_are_those_of_the_dense_jacobian() -> None:
    """Small inputs are put end to end, large ones cut in pieces; neither may mix up tasks or lose a rest."""
    random = torch.Generator().manual_seed(0)
    shapes = [(3,), (2 * CHUNK + 5,), (4, 4), (SMALL,), (7,), (SMALL + 1,), (2, 3), (CHUNK,)]
    reached = [(0, 1, 2), (0, 1, 2), (0, 2), (0, 1, 2), (0, 2), (1,), (), (1, 2)]
    parts = [
        [
            torch.randn(shape, generator=random) if t in there else None
            for shape, there in zip(shapes, reached, strict=True)
        ]
        for t in range(3)
    ]
    dense = torch.stack(
        [
            torch.cat(
                [(torch.zeros(shape) if g is None else g).flatten() for g, shape in zip(row, shapes, strict=True)]
            )
            for row in parts
        ]
    ).double()
    torch.testing.assert_close(Rows(parts).gramian(), dense @ dense.T, rtol=1e-12, atol=1e-9)


def test_all_inputs_combined_at_once_are_those_combined_one_by_one() -> None:
    random = torch.Generator().manual_seed(0)
    reached = [(0, 1, 2), (1, 2), (2,), ()]
    parts = [[torch.randn(5, generator=random) if t in there else None for there in reached] for t in range(4)]
    kept = [[None if part is None else part.clone() for part in row] for row in parts]
    weights = torch.randn(4, 4, generator=random).tolist()
    rows = Rows(parts)
    together = rows.combine_each(weights)
    for k in range(4):
        one = rows.combine(weights[k], k)
        assert (together[k] is None) == (one is None)
        if one is not None:
            torch.testing.assert_close(together[k], one)
    for row, before in zip(rows.parts, kept, strict=True):
        for part, original in zip(row, before, strict=True):
            assert part is None or torch.equal(part, original)
