"""Cuts any network into ordered stages by watching it run once.

The stages of a network are groups of its parameters (timm says which; otherwise repeated blocks are found). Two
things are then learnt from one forward pass with hooks, without knowing any architecture by name:

* the order in which the modules of those groups are called, and
* the longest tail of calls in which each module's only input *is* the output of the one before. Within it the
  network is a plain chain, so it can be resumed anywhere; replaying it must give the recorded output.

What comes before the chain (adding position embeddings, say) is run natively and stopped at the chain's start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Unit:
    """A module that is called as a whole, and the group that its parameters belong to (None: it has none)."""

    name: str
    module: nn.Module
    group: object | None


@dataclass
class Trace:
    """What one run showed. `chain` are the units of the verified tail; `before` those called earlier."""

    before: list[Unit]
    chain: list[Unit]
    widths: dict[str, int]


def first_tensor(value: Any) -> Tensor | None:
    """The tensor a module returned, or the first of a tuple of them."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (tuple, list)) and value and isinstance(value[0], Tensor):
        return value[0]
    return None


def block_groups(net: nn.Module) -> dict[str, object]:
    """Parameter name -> group where nobody says: each entry of the longest list of blocks is a group of its own.

    Everything called outside that list is grouped by top-level child.
    """
    lists = {
        name: len(module)
        for name, module in net.named_modules()
        if isinstance(module, (nn.ModuleList, nn.Sequential)) and len(module) > 1 and name
    }
    blocks = (
        max(lists, key=lambda n: (sum(p.numel() for p in net.get_submodule(n).parameters()), -n.count(".")))
        if lists
        else ""
    )
    groups: dict[str, object] = {}
    for name, _ in net.named_parameters():
        inside = re.match(rf"{re.escape(blocks)}\.(\d+)\.", name) if blocks else None
        groups[name] = f"{blocks}.{inside.group(1)}" if inside else name.split(".")[0]
    return groups


def find_units(net: nn.Module, groups: dict[str, object]) -> list[Unit]:
    """The largest modules whose parameters all lie in one group, in registration order, and loose ones between."""

    def inside(prefix: str, module: nn.Module) -> Iterator[Unit]:
        for child_name, child in module.named_children():
            name = f"{prefix}{child_name}"
            own = {groups[f"{name}.{p}"] for p, _ in child.named_parameters() if f"{name}.{p}" in groups}
            if len(own) > 1:
                yield from inside(name + ".", child)
            else:
                yield Unit(name, child, next(iter(own), None))

    return list(inside("", net))


class _Call:
    def __init__(self, unit: Unit, given: Tensor | None, alone: bool, returned: Tensor | None) -> None:
        self.unit, self.given, self.alone, self.returned = unit, given, alone, returned


def trace(units: list[Unit], forward: Callable[[Tensor], Tensor], example: Tensor) -> Trace:
    """Run `forward(example)` once and find the chain.

    Parameters
    ----------
    units
        From `find_units`.
    forward
        Input -> final features (before pooling).
    example
        (1, C, H, W).
    """
    calls: list[_Call] = []
    handles = []
    for unit in units:

        def note(_: nn.Module, args: tuple, kwargs: dict, output: Any, unit: Unit = unit) -> None:
            # Masks, positions, switches or sizes come from elsewhere: what takes them cannot be replayed by itself.
            others = [*args[1:], *kwargs.values()]
            alone = all(v is None or v is False for v in others)
            calls.append(
                _Call(
                    unit,
                    args[0] if args and isinstance(args[0], Tensor) else None,
                    alone,
                    first_tensor(output),
                )
            )

        handles.append(unit.module.register_forward_hook(note, with_kwargs=True))
    try:
        with torch.no_grad():
            final = forward(example)
    finally:
        for handle in handles:
            handle.remove()

    # What is called after the final features were made is the network's own pooling, no part of the way to them.
    made = [i for i, c in enumerate(calls) if c.returned is final]
    calls = calls[: made[-1] + 1] if made else calls

    repeated = {id(c.unit) for c in calls if sum(d.unit is c.unit for d in calls) > 1}
    start = len(calls)
    expected: Tensor | None = final
    for i in range(len(calls) - 1, -1, -1):
        call = calls[i]
        if call.returned is not expected or not call.alone or call.given is None or id(call.unit) in repeated:
            break
        start, expected = i, call.given
    if start < len(calls) and not _replays(calls[start:], final):
        start = len(calls)
    widths = {
        c.unit.name: c.returned.shape[-1] if c.returned.dim() != 4 else c.returned.shape[1]
        for c in calls
        if c.returned is not None
    }
    return Trace([c.unit for c in calls[:start]], [c.unit for c in calls[start:]], widths)


def _replays(chain: list[_Call], final: Tensor) -> bool:
    x: Any = chain[0].given
    with torch.no_grad():
        for call in chain:
            try:
                x = first_tensor(call.unit.module(x))
            except TypeError:  # an argument without a default
                return False
            if x is None:
                return False
    scale = float(final.abs().max()) or 1.0
    return x.shape == final.shape and float((x - final).abs().max()) <= 1e-4 * scale
