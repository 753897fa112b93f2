"""The exact probe: L2-regularised linear models for many strengths and folds, solved together as one batch.

The objective of strength s and fold f, on standardised features x, is

    (1 / sum_n w_fn) * sum_n w_fn * loss(W x_n + b, y_n)  +  (s / 2) * ||W||^2          (b is not penalised)

with loss the softmax cross-entropy (single-label), the sigmoid cross-entropy (multi-label) or half the
squared error (regression). So it equals scikit-learn's `LogisticRegression(C=1 / (s * sum_n w_fn))` for three
classes or more and for every label of a multi-label task, and `Ridge(alpha=s * sum_n w_fn)`. scikit-learn
writes two classes as one sigmoid, whose penalty is half that of a softmax: there `C = 2 / (s * sum_n w_fn)`.

Regression has a closed form. The others go to an L-BFGS that is made for this batch:

- the features are rotated once into the eigenbasis of their Gram matrix, which changes nothing (the penalty
  does not see rotations) and makes the diagonal of the Hessian a good preconditioner;
- all problems advance together, so one iteration costs two matrix products for the whole batch; the line
  search moves along a line in the space of logits and needs none;
- the objective is convex along that line, so the line search looks at slopes only: no differences of nearly
  equal float32 losses.

Source of the diagonal scaling by a curvature bound or estimate: D. Böhning, "Multinomial logistic regression
algorithm", Annals of the Institute of Statistical Mathematics 44 (1992). L-BFGS: J. Nocedal, S. Wright,
"Numerical Optimization", 2nd edition (2006), algorithm 7.4.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from headstart.core.errors import ModelError
from headstart.features.lbfgs import LINKS, MOST_STEPS, solve_in_chunks

MOST_KEPT = 2**26
"""Bytes of a design that is kept to be used again."""

Kind = Literal["single-label", "multi-label", "regression"]


@dataclass(frozen=True)
class ProbePath:
    """Linear models of S strengths and F folds over D features with K outputs.

    Attributes
    ----------
    kind
        The task.
    strengths
        The S regularisation strengths.
    weights, biases
        (S, F, K, D) and (S, F, K), for standardised features (x - mean) / scale.
    mean, scale
        (D,), of all rows that were given to `fit_paths`.
    converged, iterations
        (S, F): whether the tolerance was reached, and after how many iterations.
    """

    kind: Kind
    strengths: tuple[float, ...]
    weights: Tensor
    biases: Tensor
    mean: Tensor
    scale: Tensor
    converged: Tensor
    iterations: Tensor

    def linear(self, strength: int, fold: int) -> tuple[Tensor, Tensor]:
        """Weight (K, D) and bias (K,) of one model for features as they come (not standardised)."""
        return fold_into_linear(self.weights[strength, fold], self.biases[strength, fold], self.mean, self.scale)


@dataclass(frozen=True)
class Design:
    """Features made ready for the solver, to be used for several paths over the same samples.

    Attributes
    ----------
    matrix
        (N, R + 1): standardised features in the eigenbasis of their Gram matrix, and a column of ones.
    basis
        (D, R): that basis.
    mean, scale
        (D,): standardised features are (x - mean) / scale.
    """

    matrix: Tensor
    basis: Tensor
    mean: Tensor
    scale: Tensor


@torch.no_grad()
def design_of(x: Tensor) -> Design:
    """Standardise and rotate features (N, D).

    Raises
    ------
    ModelError
        If features are not finite.
    ValueError
        If they are not a matrix with rows.
    """
    if x.ndim != 2 or not len(x):
        raise ValueError(f"x {tuple(x.shape)} must be (N, D)")
    x = x.float()
    bad = ~torch.isfinite(x).all(dim=1)
    if bad.any():
        raise ModelError(
            f"The features of {int(bad.sum())} of {len(x)} samples are not finite.",
            "The model overflows on them or is damaged; try --precision float32 or another model.",
        )
    mean, scale = standardisation(x)
    rotated, basis = _rotate((x - mean) / scale)
    return Design(torch.cat([rotated, torch.ones_like(rotated[:, :1])], dim=1), basis, mean, scale)


_kept: MutableMapping[Tensor, tuple[int, Design]] = WeakTensorKeyDictionary()


def shared_design(x: Tensor) -> Design:
    """`design_of`, kept as long as the features are (and are not changed), where it is small."""
    version = 0 if x.is_inference() else x._version
    kept = _kept.get(x)
    if kept is not None and kept[0] == version:
        return kept[1]
    design = design_of(x)
    if design.matrix.nbytes <= MOST_KEPT:
        _kept[x] = version, design
    return design


@torch.no_grad()
def fit_paths(
    x: Tensor | Design,
    y: Tensor,
    kind: Kind,
    outputs: int,
    strengths: Sequence[float],
    fold_weights: Tensor,
    tolerance: float = 1e-4,
    max_iterations: int = MOST_STEPS,
    start: tuple[Tensor, Tensor] | None = None,
) -> ProbePath:
    """Fit one linear model per strength and fold.

    Parameters
    ----------
    x
        (N, D) features, float32, as they come, or what `design_of` made of them. They are standardised with the
        statistics of all N rows, those held out included: inputs may be looked at, labels may not.
    y
        (N,) class indices, -1 where missing (single-label); (N, K) zeros and ones, NaN where missing
        (multi-label); (N,) or (N, K) numbers, NaN where missing (regression).
    kind, outputs
        The task, and K.
    strengths
        S positive numbers, in any order.
    fold_weights
        (F, N) weight of each sample in each fold, 0 where it is held out; class weights multiply.
    tolerance
        A model is done when its squared Newton decrement g' H^-1 g, by the Hessian H that L-BFGS estimates,
        is below this share of its objective (or of 1e-4, where that is more); the objective is then within a
        few times that share of the optimum. Separable data have tiny objectives, and only a relative measure
        makes their predictions for held-out samples settle.
    max_iterations
        Models that are not done by then are returned as they are and marked not converged.
    start
        Weights (F, K, D) and biases (F, K), for the same standardised features, near the solution: those of a
        neighbouring strength. Zero if not given; what is found does not depend on it.

    Returns
    -------
    ProbePath

    Raises
    ------
    ModelError
        If features are not finite.
    ValueError
        For shapes that do not fit, strengths that are not positive, or a fold without samples.
    """
    design = x if isinstance(x, Design) else design_of(x)
    matrix = design.matrix
    targets, weights = solver_inputs(design, y, kind, outputs, strengths, fold_weights)
    s = torch.tensor(strengths, dtype=matrix.dtype, device=matrix.device)
    if kind == "regression":
        solution, iterations, converged = _solve_squared(matrix, targets, weights, s)
    else:
        first = None if start is None else torch.cat([start[0] @ design.basis, start[1][..., None]], dim=-1)
        solution, iterations, converged = solve_in_chunks(
            matrix, targets, weights, s, LINKS[kind], tolerance, max_iterations, first
        )
    return as_path(design, kind, strengths, solution, iterations, converged)


def solver_inputs(
    design: Design, y: Tensor, kind: Kind, outputs: int, strengths: Sequence[float], fold_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Targets (K, N), and weights (F, 1 or K, N) that are 0 where a label is missing and sum to 1 over N.

    Raises
    ------
    ValueError
        As `fit_paths`.
    """
    y = y.to(design.matrix.device)
    _check(design.matrix, y, kind, outputs, strengths, fold_weights)
    return _targets(y, kind, outputs, fold_weights.to(design.matrix))


def as_path(
    design: Design, kind: Kind, strengths: Sequence[float], solution: Tensor, iterations: Tensor, converged: Tensor
) -> ProbePath:
    """Solutions (S, F, K, R + 1) in the design's basis as models of standardised features."""
    return ProbePath(
        kind=kind,
        strengths=tuple(float(v) for v in strengths),
        weights=solution[..., :-1] @ design.basis.T,
        biases=solution[..., -1],
        mean=design.mean,
        scale=design.scale,
        converged=converged,
        iterations=iterations,
    )


def predict(path: ProbePath, x: Tensor) -> Tensor:
    """Logits (regression: values) of every model for features (N, D): (S, F, N, K)."""
    return torch.einsum("nd,sfkd->sfnk", (x - path.mean) / path.scale, path.weights) + path.biases[:, :, None]


def out_of_fold(path: ProbePath, x: Tensor, assignment: Tensor) -> Tensor:
    """Logits of each sample by the models of the fold that held it out.

    Parameters
    ----------
    path
        Models of at least `assignment.max() + 1` folds.
    x
        (N, D) features.
    assignment
        (N,) the fold that holds each sample out; -1 gives NaN.

    Returns
    -------
    Tensor
        (S, N, K).
    """
    z = (x - path.mean) / path.scale
    logits = z.new_full((len(path.strengths), len(z), path.biases.shape[-1]), torch.nan)
    for fold in range(int(assignment.max()) + 1):
        rows = (assignment == fold).nonzero().squeeze(1)
        logits[:, rows] = z[rows] @ path.weights[:, fold].mT + path.biases[:, fold, None]
    return logits


def fold_weights_of(assignment: Tensor, folds: int, sample_weight: Tensor | None = None) -> Tensor:
    """Weights (F, N) for `fit_paths`: fold f trains on every sample that it does not hold out.

    >>> fold_weights_of(torch.tensor([0, 1, 1]), 2).tolist()
    [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
    """
    inside = (assignment[None] != torch.arange(folds, device=assignment.device)[:, None]).float()
    return inside if sample_weight is None else inside * sample_weight.to(inside)


def fold_into_linear(weights: Tensor, bias: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (K, D) and bias (K,) for plain features that equal `weights` and `bias` on standardised ones."""
    folded = weights.double() / scale.double()
    return folded.to(weights.dtype), (bias.double() - folded @ mean.double()).to(bias.dtype)


def standardisation(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale (D,) of features (N, D).

    The scale is the standard deviation, but at least 1e-3 of the median deviation of the columns that vary:
    networks have constant outputs (deviation 1e-33 to 1e-9), and dividing by those gives weights of 1e27.

    >>> standardisation(torch.tensor([[0.0, 5.0], [2.0, 5.0]]))[1].tolist()
    [1.0, 0.0010000000474974513]
    """
    variance, mean = torch.var_mean(x, dim=0, correction=0)
    deviation = variance.sqrt()
    varies = deviation > 1e-6 * deviation.max()
    if not varies.any():
        return mean, torch.ones_like(mean)
    return mean, deviation.clamp(min=1e-3 * deviation[varies].median())


def _check(x: Tensor, y: Tensor, kind: Kind, outputs: int, strengths: Sequence[float], fold_weights: Tensor) -> None:
    if fold_weights.ndim != 2 or {len(y), fold_weights.shape[1]} != {len(x)}:
        raise ValueError(f"x {tuple(x.shape)}, y {tuple(y.shape)}, fold weights {tuple(fold_weights.shape)}")
    if kind == "single-label" and (y.ndim != 1 or int(y.max()) >= outputs):
        raise ValueError(f"labels must be (N,) indices below {outputs}")
    if kind != "single-label" and y.reshape(len(y), -1).shape[1] != outputs:
        raise ValueError(f"labels {tuple(y.shape)} for {outputs} outputs")
    if not strengths or min(strengths) <= 0:
        raise ValueError("strengths must be positive")


def _rotate(z: Tensor) -> tuple[Tensor, Tensor]:
    """Features in the eigenbasis of their Gram matrix, (N, R), and that basis, (D, R), R = min(N, D).

    With fewer samples than features, QR first finds the space that the samples span; unlike the eigenvectors
    of the N x N Gram matrix it keeps directions of small variance in float32.
    """
    basis = None
    if z.shape[0] < z.shape[1]:
        basis, triangle = torch.linalg.qr(z.T)
        z = triangle.T
    vectors = _eigenvectors(z.T @ z)
    return z @ vectors, vectors if basis is None else basis @ vectors


def _eigenvectors(gram: Tensor) -> Tensor:
    """(R, R) orthonormal; LAPACK's divide and conquer may fail in float32 where most eigenvalues are nearly 0."""
    try:
        return torch.linalg.eigh(gram).eigenvectors
    except torch.linalg.LinAlgError:
        return torch.linalg.svd(gram.double())[0].to(gram)


def _targets(y: Tensor, kind: Kind, outputs: int, fold_weights: Tensor) -> tuple[Tensor, Tensor]:
    if kind == "single-label":
        present = (y >= 0)[None]
        targets = torch.nn.functional.one_hot(y.long().clamp(min=0), outputs).T.to(fold_weights)
    else:
        rows = y.reshape(len(y), outputs).T.to(fold_weights)
        present, targets = ~rows.isnan(), rows.nan_to_num(nan=0.0)
    weights = fold_weights[:, None] * present
    total = weights.sum(dim=2, keepdim=True, dtype=torch.float64)
    if (total.sum(dim=1) <= 0).any():
        raise ValueError("a fold has no labelled samples")
    return targets, (weights / total.clamp(min=1e-30)).to(fold_weights)


def _solve_squared(design: Tensor, targets: Tensor, weights: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Closed form in float64: (S, F, K, R + 1), iterations and converged (S, F)."""
    design, targets, weights, s = design.double(), targets.double(), weights.double(), s.double()
    penalty = torch.ones_like(design[0])
    penalty[-1] = 0
    solution = design.new_zeros(len(s), len(weights), len(targets), design.shape[1])
    for fold, of_fold in enumerate(weights):
        for output, w in enumerate(of_fold):
            if not w.any():
                continue
            gram, moment = design.T @ (w[:, None] * design), design.T @ (w * targets[output])
            for i, strength in enumerate(s):
                factor = torch.linalg.cholesky(gram + torch.diag(strength * penalty))
                solution[i, fold, output] = torch.cholesky_solve(moment[:, None], factor)[:, 0]
    counts = torch.ones(solution.shape[:2], dtype=torch.long, device=s.device)
    return solution.float(), counts, counts.bool()
