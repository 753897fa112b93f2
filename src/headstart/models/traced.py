"""A backbone made of somebody else's network: stages are views on its modules, tensors keep their native names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from headstart.core.errors import ModelError
from headstart.data.schema import Sample
from headstart.models.backbone import Backbone, InputSpec, Provenance, State
from headstart.models.pictures import collate_pictures, picture_state, square, to_network
from headstart.models.tracing import Unit, find_units, first_tensor, trace


@dataclass
class Native:
    """How to call a network of some library.

    Attributes
    ----------
    features
        (net, x) -> final features before pooling.
    pooled
        (net, features) -> (B, D), the network's own pooling; None where plain averaging is meant.
    tail
        Names of modules used by `pooled` only.
    prefix_tokens
        Tokens before the raster of a Transformer's patches.
    """

    features: Callable[[nn.Module, Tensor], Tensor]
    pooled: Callable[[nn.Module, Tensor], Tensor] | None = None
    tail: Sequence[str] = ()
    prefix_tokens: int = 0
    channels_last_maps: bool = False


class Stage(nn.Module):
    """A view on modules of a network: it registers nothing anew, it groups what is frozen and trained together.

    Parameters
    ----------
    units
        Modules called one after the other on `state["x"]`.
    also
        Modules that belong to the stage but are called by the network's own pooling.
    loose
        Parameters that belong to the stage but hang directly on the network (position embeddings).
    """

    def __init__(
        self, units: Sequence[nn.Module], also: Sequence[nn.Module] = (), loose: Sequence[nn.Parameter] = ()
    ) -> None:
        super().__init__()
        self.units = nn.ModuleList(units)
        self.also = nn.ModuleList(also)
        self.loose = nn.ParameterList(loose)

    def forward(self, s: State) -> State:
        x = s["x"]
        for unit in self.units:
            x = first_tensor(unit(x))  # type: ignore[assignment]
        return {**s, "x": x}


class _Stop(Exception):
    """Ends a native forward pass at the start of the chain."""


class TracedBackbone(Backbone):
    """Stages found by `tracing.trace` on a network's own modules.

    Parameters
    ----------
    net
        The network, without its classifier.
    native
        How to call it.
    groups
        Parameter name -> group; a stage is a group.
    """

    def __init__(
        self,
        net: nn.Module,
        native: Native,
        groups: dict[str, object],
        input_spec: InputSpec,
        provenance: Provenance,
    ) -> None:
        super().__init__()
        self.net = net
        self.native = native
        self.input_spec = input_spec
        self.provenance = provenance
        self._find_stages(groups)

    # -- finding stages ------------------------------------------------------------------------------------------

    def _find_stages(self, groups: dict[str, object]) -> None:
        was_training = self.net.training
        self.net.eval()
        spec = self.input_spec
        example = torch.randn(1, spec.channels, spec.size, spec.size, generator=torch.Generator().manual_seed(0))
        units = find_units(self.net, groups)
        found = trace(units, lambda x: self.native.features(self.net, x), example)
        self.net.train(was_training)

        called = found.before + found.chain
        runs: list[list[Unit]] = []
        for unit in called:
            # Norms and activations stay with the weights before them: a stage of norms alone is no stage.
            if not runs or (_weighty([unit]) and _weighty(runs[-1]) and _group(runs[-1]) != unit.group):
                runs.append([])
            runs[-1].append(unit)
        runs = _joined(runs)
        also = [u for u in units if u not in called and u.name.startswith(tuple(self.native.tail))]
        stages: dict[str, Stage] = {}
        self._calls: dict[str, int] = {}  # stage -> how often its last module is called
        for i, run in enumerate(runs):
            name = next((u.name for u in run if _weighty([u])), run[0].name)
            loose = _loose_parameters(self.net, units) if i == 0 else []
            # What is called several times stands where it is called last.
            stages[name] = Stage([u.module for n, u in enumerate(run, 1) if u not in run[n:]], [], loose)
            self._calls[name] = run.count(run[-1])
        if _weighty(also):
            stages[next(u.name for u in also if _weighty([u]))] = Stage([], [u.module for u in also])
        else:
            stages[list(stages)[-1]].also.extend(u.module for u in also)

        self.stages = stages
        # Stages up to the start of the chain are run natively: something happens between their modules.
        self._opaque = sum(any(u in found.before for u in run) for run in runs)
        gate = next((u.module for run in runs[self._opaque :] for u in run), None)
        self._gate = [gate]  # in a list, so that it is not registered a second time
        resumable = list(stages)[self._opaque - 1 :] if self._opaque else list(stages)
        self.cuts = tuple(resumable) if gate is not None or not self._opaque else (list(stages)[-1],)
        self.family = "transformer" if _attends(self.net) else "cnn"

    # -- running ---------------------------------------------------------------------------------------------------

    def begin(self, inputs: State) -> State:
        return to_network(inputs, self.input_spec, channels_last=self.family == "cnn")

    def _walk(self, s: State, names: list[str]) -> Iterator[tuple[str, State]]:
        opaque = [n for n in names if n in list(self.stages)[: self._opaque]]
        for name, x in self._run_opaque(s["x"], opaque) if opaque else ():
            s = self._finish(name, {**s, "x": x})
            yield name, s
        for name in names[len(opaque) :]:
            s = self._finish(name, self.stages[name](s))
            yield name, s

    def _finish(self, name: str, s: State) -> State:
        """Adds the network's own pooling after the last stage of a network that was not cut off."""
        if self.ended_at is None and name == list(self.stages)[-1] and self.native.pooled is not None:
            return {**s, "pooled": self.native.pooled(self.net, s["x"])}
        return s

    def _run_opaque(self, x: Tensor, names: list[str]) -> list[tuple[str, Tensor]]:
        """Run the network natively, catching the outputs of stages, no further than the last stage named."""
        caught: dict[str, Tensor] = {}
        calls: Counter[str] = Counter()
        handles = []
        order = list(self.stages)
        last = names[-1]
        gate = self._gate[0] if last == order[self._opaque - 1] else None

        def catch(name: str, value: object) -> None:
            caught[name] = first_tensor(value)  # type: ignore[assignment]
            calls[name] += 1
            ended = name == last and (gate is not None or calls[name] == self._calls[name])
            # An exporter cannot follow the exception; what is run in vain there is left out of its graph.
            if ended and not torch.compiler.is_exporting():
                raise _Stop

        for name in names:
            if name == last and gate is not None:
                handles.append(gate.register_forward_pre_hook(lambda _, args, name=name: catch(name, args)))
            elif name != last or self.ended_at is not None or order.index(last) < self._opaque - 1:
                end: nn.Module = self.stages[name].units[-1]  # type: ignore[index,assignment]
                handles.append(end.register_forward_hook(lambda _, __, out, name=name: catch(name, out)))
        try:
            end_of_all = self.native.features(self.net, x)
            caught.setdefault(last, end_of_all)
        except _Stop:
            pass
        finally:
            for handle in handles:
                handle.remove()
        return [(name, caught[name]) for name in names]

    # -- shapes ------------------------------------------------------------------------------------------------------

    def _map(self, x: Tensor) -> Tensor:
        """Features as (B, D, h, w) where they lie on a raster, (B, L, D) otherwise."""
        if x.dim() == 4:
            return x.permute(0, 3, 1, 2) if self.native.channels_last_maps else x
        if x.dim() == 3:
            for skip in dict.fromkeys((self.native.prefix_tokens, 0)):  # a class token may join half-way
                patches = x[:, skip:]
                side = math.isqrt(int(patches.shape[1]))
                if side and side * side == patches.shape[1]:
                    return patches.transpose(1, 2).reshape(x.shape[0], -1, side, side)
        return x

    def dense(self, s: State) -> tuple[Tensor, Tensor | None]:
        return super().dense({**s, "x": self._map(s["x"])})

    def pool(self, s: State, grid: int = 1) -> Tensor:
        if grid == 1 and "pooled" in s:
            return s["pooled"]
        return super().pool({"x": self._map(s["x"])}, grid)

    # -- inputs ------------------------------------------------------------------------------------------------------

    def settle(self, sample: Sample) -> Sample:
        spec = self.input_spec
        return replace(sample, inputs=square(sample.inputs, spec.size, spec.interpolation))

    def preprocess(self, sample: Sample, view: str, seed: int) -> State:
        return picture_state(sample.inputs, self.input_spec, self.augmentations.get(view), seed)

    def collate(self, states: list[State]) -> State:
        return collate_pictures(states)

    # -- what a bundle keeps --------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.net.state_dict())

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> list[str]:
        return list(self.net.load_state_dict(tensors, strict=False).missing_keys)

    # -- ending early ------------------------------------------------------------------------------------------------

    def end_at(self, stage: str) -> TracedBackbone:
        """Drop every stage after `stage`, in place. Remaining tensors keep their native names.

        Raises
        ------
        ModelError
            When there is no such stage.
        """
        names = list(self.stages)
        if stage not in names:
            raise ModelError(f"The network has no stage {stage!r}.", f"Stages: {', '.join(names)}.")
        if stage == names[-1]:
            return self
        later = names[names.index(stage) + 1 :]
        kept = {id(m) for n in names[: names.index(stage) + 1] for m in self.stages[n].modules()}
        if names.index(stage) < self._opaque - 1:
            self._gate = [None]
        for name in later:
            for unit in (*self.stages[name].units, *self.stages[name].also):  # type: ignore[misc]
                if id(unit) not in kept:
                    empty = nn.Identity()
                    _replace(self.net, unit, empty)
                    if unit is self._gate[0]:
                        self._gate = [empty]
        for unit in self.stages[stage].also:  # type: ignore[union-attr]
            _replace(self.net, unit, nn.Identity())
        self.stages = {n: s for n, s in self.stages.items() if n not in later}
        self._opaque = min(self._opaque, len(self.stages))
        self.cuts = tuple(c for c in self.cuts if c in self.stages) or (stage,)
        self.ended_at = stage
        self.source_head = None
        self.source_classes = None
        return self


def _replace(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in net.modules():
        for name, child in list(parent.named_children()):
            if child is old:
                setattr(parent, name, new)


def _weighty(run: list[Unit]) -> bool:
    """Whether a run holds more than norms and biases; a stage of norms alone would be no stage worth freezing."""
    return any(p.dim() > 1 for u in run for p in u.module.parameters())


def _joined(runs: list[list[Unit]]) -> list[list[Unit]]:
    """Runs between two calls of one module made one: no stage can end before its modules are called for the last time.

    >>> a, b, c = (Unit(name, nn.Identity(), name) for name in "abc")
    >>> [[u.name for u in run] for run in _joined([[a], [b], [a], [c]])]
    [['a', 'b', 'a'], ['c']]
    """
    joined: list[list[Unit]] = []
    for run in runs:
        first = next((i for i, earlier in enumerate(joined) if any(u in earlier for u in run)), len(joined))
        joined[first:] = [[*(u for earlier in joined[first:] for u in earlier), *run]]
    return joined


def _group(run: list[Unit]) -> object | None:
    return next((u.group for u in reversed(run) if u.group is not None), None)


def _loose_parameters(net: nn.Module, units: Sequence[Unit]) -> list[nn.Parameter]:
    inside = {id(p) for u in units for p in u.module.parameters()}
    return [p for p in net.parameters() if id(p) not in inside]


def _attends(net: nn.Module) -> bool:
    """Whether attention blocks hold most of the weights' modules: what calls for a Transformer's defaults."""
    attention = sum(
        "attention" in type(m).__name__.lower() or type(m).__name__ in ("WindowAttention", "MultiheadAttention")
        for m in net.modules()
    )
    convolutions = sum(isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1) for m in net.modules())
    return attention > convolutions
