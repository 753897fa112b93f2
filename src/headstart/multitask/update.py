"""The update of multi-task learning: one step in which a balancing method weighs the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from headstart.measure.multitask import cosines
from headstart.multitask.balancing.balancer import Balancer, Seen
from headstart.multitask.gradients import Rows, above, per_task
from headstart.train.batch import Terms
from headstart.train.update import Step

Where = Literal["features", "parameters"]


class Balanced:
    """Weighs the tasks' losses, or their gradients where they meet.

    A method that looks at losses only takes one backward pass. One that looks at gradients takes them

    - with respect to the features that all heads read (`at="features"`): one pass per task through the heads, then
      one through the backbone. Features belong to samples, so of accumulated micro-batches each is weighed by itself;
    - with respect to the parameters that at least two tasks reach (`at="parameters"`): a pass per task through the
      whole network, and a gradient per task in memory. Micro-batches are added up before anything is weighed, so
      that accumulation changes nothing.

    Where weights are of gradients (`Balancer.applies`), heads and whatever else a single task reaches get the
    gradient of their own loss, unweighted. Penalties (`Terms.extra`) are added unweighted. A task without a label in
    the batch takes no part.

    Parameters
    ----------
    balancer
        The method.
    at
        "features" or "parameters".
    watch
        Every how many steps the cosines of the tasks' gradients with respect to the features are measured where the
        method does not need them; 0 is never. Measuring changes no weight of the network.

    Sources
    -------
    Gradients of shared features as an upper bound: O. Sener, V. Koltun, arXiv 1810.04650, section 3.3.
    """

    def __init__(self, balancer: Balancer, at: Where = "features", watch: int = 0) -> None:
        self.balancer, self.at, self.watch = balancer, at, watch
        self._steps = 0
        self._cosines: dict[int, dict[str, Tensor]] = {}

    def __call__(self, step: Step) -> dict[str, float]:
        # The loop seeds every step.
        seed = torch.initial_seed()
        if self.balancer.needs == "losses":
            seen, names = self._weigh_losses(step, seed)
        elif self.at == "features":
            seen, names = self._weigh_at_features(step, seed)
        else:
            seen, names = self._weigh_at_parameters(step, seed)
        step.apply()
        after = _losses_again(step, names, seed) if self.balancer.looks_back else None
        moved = "skipped" not in step.logs and all(map(_finite, (seen.losses, seen.gramian, after)))
        if moved and (self.balancer.needs == "losses" or seen.gramian is not None):
            self.balancer.learn(seen, after)
            self._remember(seen)
        self._steps += 1
        return step.logs

    def cosines(self) -> dict[int, Tensor]:
        """Epoch -> (T, T) mean cosines of the tasks' gradients; NaN where a pair never met."""
        return {epoch: c["sum"] / c["count"] for epoch, c in self._cosines.items()}

    def state(self) -> dict[str, Any]:
        return {"balancer": self.balancer.state(), "steps": self._steps, "cosines": self._cosines}

    def load_state(self, state: dict[str, Any]) -> None:
        self.balancer.load_state(state["balancer"])
        self._steps, self._cosines = state["steps"], state["cosines"]

    # -- one backward pass ----------------------------------------------------------------------------------------

    def _weigh_losses(self, step: Step, seed: int) -> tuple[Seen, list[str]]:
        record = _Record(step, seed)
        for i, share in enumerate(step.shares):
            terms = step.terms(i, None)
            watched = bool(self.watch) and self._steps % self.watch == 0
            gramian = _feature_rows(terms).gramian() if watched and _trains_features(terms) else None
            weights = self._weights(record.see(terms, share, gramian), share, step, terms)
            weighted = [w * loss for w, loss in zip(weights, terms.tasks.values(), strict=True)]
            (torch.stack([*weighted, *terms.extra.values()]).sum() * share).backward()
        return record.seen(), record.names

    # -- gradients of the features --------------------------------------------------------------------------------

    def _weigh_at_features(self, step: Step, seed: int) -> tuple[Seen, list[str]]:
        record = _Record(step, seed)
        for i, share in enumerate(step.shares):
            terms = step.terms(i, None)
            if terms.shared is None:
                raise ValueError("the objective gives no shared representation: Terms.shared")
            if not terms.shared.requires_grad:
                # Nothing is shared that is trained: every head learns by itself.
                (terms.total() * share).backward()
                record.see(terms, share, None)
                step.note(terms, share)
                continue
            own = above([*terms.tasks.values()], terms.shared)
            rows = per_task([*terms.tasks.values()], [terms.shared, *own], keep=True)
            shared = rows.only(0)
            weights = self._weights(record.see(terms, share, shared.gramian()), share, step, terms)
            heads = weights if self.balancer.applies == "losses" else [1.0] * len(weights)
            for k, parameter in enumerate(own, start=1):
                _add(parameter, rows.combine(heads, k), share)
            direction = shared.combine(weights, 0)
            assert direction is not None
            terms.shared.backward(direction * share, retain_graph=bool(terms.extra))
            if terms.extra:
                (torch.stack([*terms.extra.values()]).sum() * share).backward()
        return record.seen(), record.names

    # -- gradients of the parameters ------------------------------------------------------------------------------

    def _weigh_at_parameters(self, step: Step, seed: int) -> tuple[Seen, list[str]]:
        record = _Record(step, seed)
        parameters = [p for p in step.parameters() if p.requires_grad]
        rows: Rows | None = None
        for i, share in enumerate(step.shares):
            terms = step.terms(i, None)
            found = per_task([*terms.tasks.values()], parameters, keep=bool(terms.extra)).scaled(share)
            rows = found if rows is None else rows.plus(found)
            if terms.extra:
                (torch.stack([*terms.extra.values()]).sum() * share).backward()
            record.see(terms, share, None)
            step.note(terms, share)
        assert rows is not None
        shared = rows.shared()
        seen = record.seen(rows.only(*shared).gramian() if shared else None)
        weights = [1.0] * len(record.names)
        if shared:
            weights = self._checked(seen)
            step.logs.update({f"weight.{n}": w for n, w in zip(record.names, weights, strict=True)})
        weighed = range(len(parameters)) if self.balancer.applies == "losses" else set(shared)
        each = [weights if k in weighed else [1.0] * len(weights) for k in range(len(parameters))]
        for parameter, gradient in zip(parameters, rows.combine_each(each), strict=True):
            _add(parameter, gradient, 1.0)
        return seen, record.names

    # -- common ---------------------------------------------------------------------------------------------------

    def _weights(self, seen: Seen, share: float, step: Step, terms: Terms) -> list[float]:
        """Weights of a micro-batch; they and its losses are logged."""
        weights = self._checked(seen)
        step.note(terms, share)
        for name, weight in zip(terms.tasks, weights, strict=True):
            step.logs[f"weight.{name}"] = step.logs.get(f"weight.{name}", 0.0) + share * weight
        return weights

    def _checked(self, seen: Seen) -> list[float]:
        """Where something is not finite there is nothing to weigh: the step will move nothing (`Step.apply`)."""
        if not (_finite(seen.losses) and _finite(seen.gramian)):
            return [1.0] * len(seen.losses)
        weights: list[float] = self.balancer(seen).tolist()
        return weights

    def _remember(self, seen: Seen) -> None:
        if seen.gramian is None:
            return
        found = torch.from_numpy(cosines(seen.gramian.numpy()))
        blank = {"sum": torch.zeros_like(found), "count": torch.zeros_like(found)}
        epoch = self._cosines.setdefault(seen.epoch, blank)
        epoch["sum"] += found.nan_to_num(0.0)
        epoch["count"] += ~found.isnan()


class _Record:
    """What the micro-batches of a step showed: means over those in which a task took part."""

    def __init__(self, step: Step, seed: int) -> None:
        self.epoch, self.seed = step.clock.epoch, seed
        self.names: list[str] = []
        self._seen: list[tuple[float, Seen]] = []

    def see(self, terms: Terms, share: float, gramian: Tensor | None) -> Seen:
        self.names = list(terms.tasks)
        seen = Seen(_values(terms), gramian, self.epoch, self.seed)
        self._seen.append((share, seen))
        return seen

    def seen(self, gramian: Tensor | None = None) -> Seen:
        """The whole step; `gramian` where it was measured over all micro-batches at once."""
        shares = torch.tensor([share for share, _ in self._seen], dtype=torch.float64)
        losses = _mean_where_present([seen.losses for _, seen in self._seen], shares)
        measured = [seen.gramian for _, seen in self._seen if seen.gramian is not None]
        if gramian is None and len(measured) == len(self._seen):
            gramian = (torch.stack(measured) * shares[:, None, None]).sum(0)
        return Seen(losses, gramian, self.epoch, self.seed)


def _mean_where_present(losses: Sequence[Tensor], shares: Tensor) -> Tensor:
    table = torch.stack([*losses])
    weights = shares[:, None] * (table != 0)
    return (weights * table).sum(0) / weights.sum(0).clamp(min=torch.finfo(torch.float64).tiny)


def _values(terms: Terms) -> Tensor:
    return torch.stack([loss.detach().to(torch.float64) for loss in terms.tasks.values()]).cpu()


def _feature_rows(terms: Terms) -> Rows:
    assert terms.shared is not None
    return per_task([*terms.tasks.values()], [terms.shared], keep=True)


def _trains_features(terms: Terms) -> bool:
    return terms.shared is not None and terms.shared.requires_grad


def _losses_again(step: Step, names: Sequence[str], seed: int) -> Tensor:
    """(T,) losses of the same batches after the step, with the same dropout; statistics of norms stay as they are."""
    buffers = {name: buffer.clone() for name, buffer in step.model.named_buffers()}
    torch.manual_seed(seed)
    with torch.no_grad():
        found = [_values(step.terms(i, frozenset(names))) for i in range(len(step.shares))]
        for name, buffer in step.model.named_buffers():
            buffer.copy_(buffers[name])
    return _mean_where_present(found, torch.tensor(list(step.shares), dtype=torch.float64))


def _add(parameter: Tensor, gradient: Tensor | None, share: float) -> None:
    if gradient is not None:
        gradient = (gradient if share == 1.0 else gradient * share).to(parameter.dtype)
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _finite(values: Tensor | None) -> bool:
    return values is None or bool(torch.isfinite(values).all())
