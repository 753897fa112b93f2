"""Probes along strengths, each begun where the stronger ones lead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from headstart.features.lbfgs import LINKS, solve_along
from headstart.features.solver import Design, Kind, ProbePath, as_path, design_of, fit_paths, solver_inputs


def follow(
    x: Tensor | Design,
    y: Tensor,
    kind: Kind,
    outputs: int,
    strengths: Sequence[float],
    fold_weights: Tensor,
    tolerance: float = 1e-4,
) -> Iterator[ProbePath]:
    """`fit_paths` for one strength after the other, each begun where the path leads, which takes far fewer steps.

    Parameters and errors are those of `fit_paths`. Strengths come strongest first and evenly spaced on a logarithmic
    scale. Whoever has seen enough of them takes no more.
    """
    design = x if isinstance(x, Design) else design_of(x)
    if kind == "regression":  # a closed form, most of which serves every strength
        whole = fit_paths(design, y, kind, outputs, strengths, fold_weights, tolerance)
        yield from (_of_strength(whole, i) for i in range(len(strengths)))
        return
    targets, weights = solver_inputs(design, y, kind, outputs, strengths, fold_weights)
    found = solve_along(design.matrix, targets, weights, strengths, LINKS[kind], tolerance)
    for s, solved in zip(strengths, found, strict=True):
        yield as_path(design, kind, [s], *solved)


def joined(paths: Iterable[ProbePath]) -> ProbePath:
    """Paths over the same samples as one."""
    paths = list(paths)
    return replace(
        paths[0],
        strengths=tuple(s for p in paths for s in p.strengths),
        weights=torch.cat([p.weights for p in paths]),
        biases=torch.cat([p.biases for p in paths]),
        converged=torch.cat([p.converged for p in paths]),
        iterations=torch.cat([p.iterations for p in paths]),
    )


def _of_strength(path: ProbePath, i: int) -> ProbePath:
    one = slice(i, i + 1)
    return replace(
        path,
        strengths=path.strengths[one],
        weights=path.weights[one],
        biases=path.biases[one],
        converged=path.converged[one],
        iterations=path.iterations[one],
    )
