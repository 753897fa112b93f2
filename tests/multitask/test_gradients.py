"""The rows of the Jacobian: inner products over inputs of any size, of whichever tasks reach them."""

from __future__ import annotations

import torch

from headstart.multitask.gradients import CHUNK, Rows


def test_inner_products_are_those_of_the_dense_jacobian() -> None:
    """Small inputs are put end to end, large ones cut in pieces; neither may mix up tasks or lose a rest."""
    random = torch.Generator().manual_seed(0)
    shapes = [(3,), (2 * CHUNK + 5,), (4, 4), (CHUNK,), (7,), (CHUNK + 1,), (2, 3)]
    reached = [(0, 1, 2), (0, 1, 2), (0, 2), (0, 1, 2), (0, 2), (1,), ()]
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
