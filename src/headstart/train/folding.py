"""Frozen batch norms are folded into the convolutions before them.

A batch norm that keeps its statistics is an affine map of channels: norm(conv(x; W, b)) = conv(x; a W, a (b - m) + β)
with a = γ / √(v + ε), mean m and variance v. So the convolution computes both, from the same parameters in every step;
gradients of W, γ and β are those of the two layers one after the other (chain rule), up to rounding. What is saved are
the norm's passes over the activations, forward and backward, and keeping its input: of EfficientNet-Lite0's training
step at 96 px on a processor, about a quarter.

Only in float32: in shorter formats the norm's input would be rounded at another place. Only where gradients are
recorded: networks are validated as they will be used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from headstart.models.backbone import Backbone

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]


@contextmanager
def folded_norms(backbone: Backbone) -> Iterator[list[Pair]]:
    """Within the block, frozen norms of a network of pictures cost nothing where gradients are recorded.

    Parameters and buffers stay where they are and keep their names; norms in train mode work as ever.
    """
    pairs = find_pairs(backbone)
    for conv, norm in pairs:
        # In a list, so that it is not registered; a copy of the network finds its own norm there.
        object.__setattr__(conv, "_norm", [norm])
    try:
        with _as_other_kinds(pairs, _Folding, _folded):
            yield pairs
    finally:
        for conv, _ in pairs:
            object.__delattr__(conv, "_norm")


class SettledNorms:
    """The norms of a frozen network, folded once; parameters and buffers stay as they are.

    Parameters
    ----------
    backbone
        Nothing of it may change as long as this is used. None: nothing is folded.
    upto
        The last stage that will be run.
    """

    def __init__(self, backbone: Backbone | None, upto: str | None = None) -> None:
        self.pairs = find_pairs(backbone, upto) if backbone else []
        self._made = [_product(conv, norm) for conv, norm in self.pairs]

    @contextmanager
    def used(self) -> Iterator[None]:
        """Within the block, the network in eval mode runs without its folded norms."""
        for (conv, _), made in zip(self.pairs, self._made, strict=True):
            object.__setattr__(conv, "_made", made)
        try:
            with _as_other_kinds(self.pairs, _Settled, _passed):
                yield
        finally:
            for conv, _ in self.pairs:
                object.__delattr__(conv, "_made")


@contextmanager
def _as_other_kinds(
    pairs: list[Pair], conv_kind: type[nn.Conv2d], norm_kind: Callable[[Any], type[nn.BatchNorm2d]]
) -> Iterator[None]:
    """Convolutions and norms of other classes for a while."""
    kinds = [type(norm) for _, norm in pairs]
    for conv, norm in pairs:
        _become(conv, conv_kind)
        _become(norm, norm_kind(type(norm)))
    try:
        yield
    finally:
        for (conv, norm), kind in zip(pairs, kinds, strict=True):
            _become(conv, nn.Conv2d)
            _become(norm, kind)


def _become(module: nn.Module, kind: type[nn.Module]) -> None:
    module.__class__ = kind


def _product(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weights and shift of one convolution that computes both."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    shift = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
    return conv.weight * scale.view(-1, 1, 1, 1), norm.bias + shift * scale


class _Folding(nn.Conv2d):
    """A convolution that does the work of the norm after it, while that is frozen."""

    _norm: list[nn.BatchNorm2d]

    def forward(self, x: Tensor) -> Tensor:
        norm = self._norm[0]
        if norm.training or not torch.is_grad_enabled():
            return super().forward(x)
        return self._conv_forward(x, *_product(self, norm))


class _Settled(nn.Conv2d):
    """A convolution that does the work of the norm after it, computed before."""

    _made: tuple[Tensor, Tensor]

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, *self._made)


@cache
def _folded(kind: Any) -> type[nn.BatchNorm2d]:
    """The class of norms whose convolution does their work; what timm's do besides stays."""

    def forward(self: Any, x: Tensor) -> Tensor:
        if self.training or not torch.is_grad_enabled():
            return kind.forward(self, x)
        return _after(kind, self, x)

    return type(f"Folded{kind.__name__}", (kind,), {"forward": forward})


@cache
def _passed(kind: Any) -> type[nn.BatchNorm2d]:
    """The class of norms that do only what timm's do besides."""
    return type(f"Passed{kind.__name__}", (kind,), {"forward": lambda self, x: _after(kind, self, x)})


def _after(kind: type[nn.Module], norm: Any, x: Tensor) -> Tensor:
    return x if kind is nn.BatchNorm2d else norm.act(norm.drop(x))


def find_pairs(backbone: Backbone, upto: str | None = None) -> list[Pair]:
    """Convolutions each followed by one batch norm, which alone reads what it computes; none but in networks of
    pictures.

    Found by watching one picture go through: of each the norm's input must be the very tensor that the convolution
    returned, both are called once, and the graph that autograd records has one edge to that tensor.
    """
    if backbone.family != "cnn" or backbone.input_spec.modality != "image":
        return []
    times: Counter[nn.Module] = Counter()
    made: dict[int, tuple[nn.Conv2d, Tensor, int, Any]] = {}
    heard: list[tuple[nn.BatchNorm2d, nn.Conv2d, Any]] = []

    def watch(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        times[module] += 1
        if isinstance(module, nn.Conv2d):
            made[id(out)] = module, out, out._version, out.grad_fn
        elif isinstance(module, nn.BatchNorm2d) and id(args[0]) in made:
            conv, tensor, unchanged, node = made[id(args[0])]
            if tensor._version == unchanged:
                heard.append((module, conv, node))

    watched = [m for m in backbone.modules() if type(m) is nn.Conv2d or type(m) in _norm_kinds()]
    if not {type(m) for m in watched} & _norm_kinds():
        return []
    training = {m: m.training for m in backbone.modules()}
    handles = [m.register_forward_hook(watch) for m in watched]
    backbone.eval()  # norms compute by what they have, dropout does nothing
    try:
        with torch.inference_mode(False), torch.enable_grad():
            seen = _everything(backbone, upto)
    finally:
        for handle in handles:
            handle.remove()
        for module, was in training.items():
            module.training = was
    readers = _readers(seen)
    return [
        (conv, norm)
        for norm, conv, node in heard
        if times[conv] == times[norm] == readers[node] == 1 and norm.affine and norm.running_var is not None
    ]


@cache
def _norm_kinds() -> frozenset[type[nn.Module]]:
    from headstart.models.torchvision_import import import_timm

    return frozenset({nn.BatchNorm2d, import_timm().layers.BatchNormAct2d})


def _everything(backbone: Backbone, upto: str | None) -> list[Tensor]:
    """What every stage (up to one) makes of one grey picture, with the graph that leads there."""
    spec = backbone.input_spec
    first = next(backbone.parameters())
    x = torch.full((1, spec.channels, spec.size, spec.size), 0.5, device=first.device, dtype=first.dtype)
    frozen = [p for p in backbone.parameters() if not p.requires_grad]
    for p in frozen:
        p.requires_grad_(True)
    try:
        return [value for _, s in backbone.walk(backbone.begin({"x": x}), upto=upto) for value in s.values()]
    finally:
        for p in frozen:
            p.requires_grad_(False)


def _readers(ends: list[Tensor]) -> Counter[Any]:
    """How many edges lead to each node of the graphs that end there; what is an end itself has one more."""
    found: Counter[Any] = Counter()
    todo = [t.grad_fn for t in {id(t): t for t in ends}.values() if t.grad_fn is not None]
    found.update(todo)
    done = set()
    while todo:
        node = todo.pop()
        if node in done:
            continue
        done.add(node)
        for after, _ in node.next_functions:
            if after is not None:
                found[after] += 1
                todo.append(after)
    return found
