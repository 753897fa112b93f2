"""Batched L-BFGS for the probe's logistic problems: all strengths and folds advance together, or all folds from
strength to strength.

Source of the diagonal scaling by a curvature bound or estimate: D. Böhning, "Multinomial logistic regression
algorithm", Annals of the Institute of Statistical Mathematics 44 (1992). L-BFGS: J. Nocedal, S. Wright, "Numerical
Optimization", 2nd edition (2006), algorithm 7.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

HISTORY = 10
"""Pairs of steps and gradient changes that L-BFGS remembers."""

LEAST = 8
"""Steps from a start other than zero before a problem may count as solved: near the solution the gradient is small in
all directions that the start knew, and only steps show how flat the others are."""

LEAST_ALONG = 4
"""The same along a path of strengths, where the steps of the stronger ones have shown the curvature already."""

EXTRAPOLATED = 0.8
"""The models of a weaker penalty are sought this far along the last change: 1 overshoots, since changes shrink."""

MOST_STEPS = 200
"""Of a problem that does not converge, unless more are allowed."""

BATCH_BYTES = 2**29
"""Problems are solved in chunks of about this much memory."""


class _Softmax:
    """Classes exclude each other; logits are (P, K, N)."""

    @staticmethod
    def mean(logits: Tensor) -> Tensor:
        return _without_subnormals(logits.softmax(dim=1))

    @staticmethod
    def of_truth(p: Tensor, targets: Tensor) -> Tensor:
        """Probability (P, 1, N) of the label."""
        return (p * targets).sum(dim=1, keepdim=True)

    @staticmethod
    def curvature(p: Tensor, weights: Tensor, along: Tensor) -> Tensor:
        """Second derivative (P,) of the loss along a direction in the space of logits."""
        first = (p * along).sum(dim=1)
        second = (p * along).mul_(along).sum(dim=1)
        return ((second - first * first) * weights[:, 0]).sum(dim=1)

    @staticmethod
    def average(p: Tensor, weights: Tensor) -> Tensor:
        """Average eigenvalue (P, 1, 1) of the Hessian with respect to the logits."""
        spread = 1 - (p * p).sum(dim=1, keepdim=True)
        return (spread * weights).sum(dim=2, keepdim=True) / max(p.shape[1] - 1, 1)


class _Sigmoid:
    """Labels are independent of each other; logits are (P, K, N)."""

    @staticmethod
    def mean(logits: Tensor) -> Tensor:
        return _without_subnormals(logits.sigmoid())

    @staticmethod
    def of_truth(p: Tensor, targets: Tensor) -> Tensor:
        """Probability (P, K, N) of each label."""
        return 1 - (p - targets).abs()

    @staticmethod
    def curvature(p: Tensor, weights: Tensor, along: Tensor) -> Tensor:
        return (p * (1 - p) * along).mul_(along).mul_(weights).sum(dim=(1, 2))

    @staticmethod
    def average(p: Tensor, weights: Tensor) -> Tensor:
        return (p * (1 - p) * weights).sum(dim=2, keepdim=True)


Link = type[_Softmax] | type[_Sigmoid]
LINKS: dict[str, Link] = {"single-label": _Softmax, "multi-label": _Sigmoid}


def solve_in_chunks(
    design: Tensor,
    targets: Tensor,
    weights: Tensor,
    s: Tensor,
    link: Link,
    tolerance: float,
    max_iterations: int,
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Solution (S, F, K, R + 1), iterations and converged (S, F); neighbours in strength share a chunk.

    `start` (F, K, R + 1) is where the folds begin, at every strength; zero if not given.
    """
    (_, columns), outputs, folds = design.shape, len(targets), len(weights)
    parts = []
    for problems in torch.arange(len(s) * folds, device=s.device).split(_chunk(design, targets)):
        batch = _Batch(design, targets, weights[problems % folds], s[problems // folds], link)
        if start is not None:
            batch.begin_at(start[problems % folds])
        parts.append(batch.minimise(tolerance, max_iterations))
    solution, iterations, converged = (torch.cat(part) for part in zip(*parts, strict=True))
    shape = (len(s), folds)
    return solution.reshape(*shape, outputs, columns), iterations.reshape(shape), converged.reshape(shape)


def solve_along(
    design: Tensor,
    targets: Tensor,
    weights: Tensor,
    strengths: Sequence[float],
    link: Link,
    tolerance: float,
    max_iterations: int = MOST_STEPS,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """What `solve_in_chunks` gives, for one strength after the other, each begun where the path leads.

    Where all folds make one batch, it goes from strength to strength with its memory of steps.
    """
    every = design.new_tensor(strengths)[:, None].expand(-1, len(weights))
    together = len(weights) <= _chunk(design, targets)
    batch = _Batch(design, targets, weights, every[0], link) if together else None
    start: Tensor | None = None
    before: Tensor | float = 0.0
    for s in every:
        if batch is None:
            found = solve_in_chunks(design, targets, weights, s[:1], link, tolerance, max_iterations, start)
        else:
            if start is not None:
                batch.move_to(start, s)
            solution, iterations, converged = batch.minimise(tolerance, max_iterations, keep=True)
            found = solution[None], iterations[None], converged[None]
        yield found
        here = found[0][0]
        start, before = here + EXTRAPOLATED * (here - before), here


def _chunk(design: Tensor, targets: Tensor) -> int:
    """Problems that are solved at once."""
    samples, columns = design.shape
    return max(1, BATCH_BYTES // (4 * len(targets) * ((2 * HISTORY + 6) * columns + 8 * samples)))


class _Batch:
    """P problems that are minimised together by preconditioned L-BFGS."""

    def __init__(self, design: Tensor, targets: Tensor, weights: Tensor, s: Tensor, link: Link) -> None:
        self.design, self.targets, self.weights, self.link = design, targets, weights, link
        self.penalty = self._penalty(s)
        self.squares = design.square().mean(dim=0)
        self.x = design.new_zeros(len(s), len(targets), design.shape[1])
        self.logits = design.new_zeros(len(s), len(targets), len(design))
        self.p = link.mean(self.logits)
        self.gradient = self._gradient()
        self.memory: list[tuple[Tensor, Tensor, Tensor]] = []
        self.least = 0

    def begin_at(self, x: Tensor) -> None:
        """Start from (P, K, R + 1) instead of zero."""
        self.least = LEAST
        self.x = x.clone()
        self.logits = (x.flatten(0, 1) @ self.design.T).view_as(self.logits)
        self.p = self.link.mean(self.logits)
        self.gradient = self._gradient()

    def move_to(self, x: Tensor, s: Tensor) -> None:
        """Start from (P, K, R + 1) with other strengths (P,); what is known of the curvature changes with them.

        A change of the gradient along a step has two parts. That of the penalty is known exactly. That of the loss
        becomes what the average curvature of the loss becomes, which falls as outputs grow surer; new steps will tell
        more.
        """
        old, curvature = self.penalty, self.link.average(self.p, self.weights)
        self.penalty = self._penalty(s)
        self.begin_at(x)
        self.least = LEAST_ALONG
        flatter = self.link.average(self.p, self.weights) / curvature.clamp(min=1e-30)
        moved = [(step, (change - old * step) * flatter + self.penalty * step) for step, change, _ in self.memory]
        self.memory = [(step, change, _inverse_product(step, change)) for step, change in moved]

    def minimise(self, tolerance: float, max_iterations: int, keep: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Solution (P, K, R + 1), iterations (P,) and converged (P,).

        Problems that are done are dropped on the way, or with `keep` go on until all are, to be moved on together.
        """
        solution = torch.empty_like(self.x)
        iterations = torch.full((len(self.x),), max_iterations, device=self.x.device)
        converged = torch.zeros_like(iterations, dtype=torch.bool)
        active = torch.arange(len(self.x), device=self.x.device)
        for iteration in range(max_iterations):
            direction, slope = self._direction()
            done = -slope < tolerance * self._objective().clamp(min=1e-4)
            if iteration < self.least:
                done = torch.zeros_like(done)
            iterations[active[done & ~converged[active]]] = iteration
            converged[active[done]] = True
            if converged[active].all():
                break
            if not keep and done.float().mean() >= 0.2:  # dropping problems copies the others: not for each single one
                solution[active[done]] = self.x[done]
                active = active[~done]
                self._keep(~done)
                direction, slope = direction[~done], slope[~done]
            self._step(direction, slope)
        solution[active] = self.x
        return solution, iterations, converged

    def _objective(self) -> Tensor:
        losses = self.link.of_truth(self.p, self.targets).clamp_(min=1e-30).log_().neg_()
        return (losses * self.weights).sum(dim=(1, 2)) + 0.5 * _dot(self.x, self.penalty * self.x)

    def _gradient(self) -> Tensor:
        residual = (self.p - self.targets).mul_(self.weights)
        return (residual.flatten(0, 1) @ self.design).view_as(self.x).addcmul_(self.penalty, self.x)

    def _direction(self) -> tuple[Tensor, Tensor]:
        """Descent direction (P, K, R + 1) by the two-loop recursion, and the slope (P,) along it."""
        inverse = 1 / (self.link.average(self.p, self.weights).clamp(min=1e-4) * self.squares + self.penalty)
        q = self.gradient.clone()
        shares = []
        for step, change, rho in reversed(self.memory):
            share = rho * _dot(step, q)
            q -= share[:, None, None] * change
            shares.append(share)
        if self.memory:
            step, change, rho = self.memory[-1]
            size = torch.where(rho > 0, _dot(step, change) / _dot(change, inverse * change), 1.0)
            inverse = inverse * size[:, None, None]
        q *= inverse
        for (step, change, rho), share in zip(self.memory, reversed(shares), strict=True):
            q += (share - rho * _dot(change, q))[:, None, None] * step
        slope = -_dot(q, self.gradient)
        lost = ~(slope < 0)  # rounding can spoil the recursion at the very end of the way
        if lost.any():
            q[lost] = (inverse * self.gradient)[lost]
            slope = -_dot(q, self.gradient)
        return q.neg_(), slope

    def _step(self, direction: Tensor, slope: Tensor) -> None:
        along = (direction.flatten(0, 1) @ self.design.T).view_as(self.logits)
        t = self._line_search(direction, along, slope)[:, None, None]
        step = t * direction
        self.x += step
        self.logits += t * along
        self.p = self.link.mean(self.logits)
        before, self.gradient = self.gradient, self._gradient()
        change = self.gradient - before
        self.memory.append((step, change, _inverse_product(step, change)))
        del self.memory[:-HISTORY]

    def _line_search(self, direction: Tensor, along: Tensor, slope: Tensor) -> Tensor:
        """Step sizes (P,) where the slope has fallen to between -0.5 and 0.1 of what it was.

        Newton's method on the slope, kept inside a bracket. The slope only grows with the step (convexity),
        so the low end of the bracket always descends; it is returned where no step was accepted.
        """
        bend = _dot(direction, self.penalty * direction)
        fixed = _dot(direction, self.penalty * self.x)
        low, high = torch.zeros_like(slope), torch.full_like(slope, torch.inf)
        t = torch.ones_like(slope)
        accepted = torch.zeros_like(slope, dtype=torch.bool)
        for _ in range(8):
            p = self.link.mean(self.logits + t[:, None, None] * along)
            now = ((p - self.targets) * self.weights).mul_(along).sum(dim=(1, 2)) + fixed + t * bend
            accepted |= (now >= 0.5 * slope) & (now <= -0.1 * slope)
            if accepted.all():
                return t
            low, high = torch.where(now < 0, t, low), torch.where(now < 0, high, t)
            newton = t - now / (self.link.curvature(p, self.weights, along) + bend)
            widest = torch.where(high.isinf(), 4 * t, high)
            inside = (newton > low) & (newton < widest)
            middle = torch.where(high.isinf(), widest, (low + high) / 2)
            t = torch.where(accepted, t, torch.where(inside, newton, middle))
        return torch.where(accepted, t, torch.where(low > 0, low, t))

    def _penalty(self, s: Tensor) -> Tensor:
        """(P, 1, R + 1): the strengths, and 0 for the bias."""
        penalty = s[:, None, None].repeat(1, 1, self.design.shape[1])
        penalty[:, :, -1] = 0
        return penalty

    def _keep(self, rows: Tensor) -> None:
        for name in ("weights", "penalty", "x", "logits", "p", "gradient"):
            setattr(self, name, getattr(self, name)[rows])
        self.memory = [(step[rows], change[rows], rho[rows]) for step, change, rho in self.memory]


def _without_subnormals(p: Tensor) -> Tensor:
    """Probabilities, the tiniest as 0: numbers below 1e-38 make matrix products ten times slower on CPUs."""
    return torch.nn.functional.threshold(p, 1e-20, 0.0, inplace=True)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product (P,) of two (P, K, R + 1) tensors."""
    return torch.linalg.vecdot(a.flatten(1), b.flatten(1))


def _inverse_product(step: Tensor, change: Tensor) -> Tensor:
    """1 / (step . change) (P,), or 0 where rounding has spoilt it: such a pair is not used."""
    product = _dot(step, change)
    usable = product > 1e-7 * _dot(step, step).sqrt() * _dot(change, change).sqrt()
    return torch.where(usable, 1 / product, 0.0)
