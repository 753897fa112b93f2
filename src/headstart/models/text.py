"""Encoders of transformers for text as backbones: the native forward pass, watched and entered where wanted.

No architecture is known by name. The longest list of modules gives the blocks; one run with hooks tells which other
modules are called before, between and after them. The state after a stage is what enters the next block, and a
network is resumed by running it natively with the earlier blocks bypassed and the kept state put in the place of
what they would have returned: masks, positions and rotations are the network's own. Every such cut is tried before
it is offered.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from headstart.core.errors import ModelError
from headstart.models.backbone import InputSpec, Provenance, State
from headstart.models.pooling import AttentionPooling
from headstart.models.token_backbone import TokenBackbone
from headstart.models.tokens import Tokenizer
from headstart.models.traced import Stage

_POOLING = "headstart.pooling."
_TOLERANCE = 1e-4


class TextBackbone(TokenBackbone):
    """An encoder of transformers.

    Parameters
    ----------
    net
        Maps `input_ids` and `attention_mask` to an object with `last_hidden_state`.
    tokenizer
        Its tokenizer.

    Raises
    ------
    ModelError
        When the network has no list of blocks that are called one after the other.
    """

    def __init__(self, net: Any, tokenizer: Tokenizer, input_spec: InputSpec, provenance: Provenance) -> None:
        super().__init__()
        self.net = net
        self.tokenizer = tokenizer
        self.input_spec = input_spec
        self.provenance = provenance
        self.family = "transformer"
        self._takes_types = int(getattr(net.config, "type_vocab_size", 0) or 0) > 1
        self.pooling = None
        self._find_stages()
        if input_spec.pooling == "attention":
            self.pooling = AttentionPooling(net.config.hidden_size)
            self.stages = {**self.stages, "pooling": Stage([], [self.pooling])}
        self.cuts = self._verified_cuts() if input_spec.long == "truncate" else ()

    # -- finding stages ------------------------------------------------------------------------------------------

    def _find_stages(self) -> None:
        self._list = _longest_list(self.net)
        blocks = list(self.net.get_submodule(self._list)) if self._list else []
        followers = self._watch(blocks)
        if followers is None:
            raise ModelError(
                f"{type(self.net).__name__} is not a chain of blocks.",
                "Use an encoder such as BERT, RoBERTa, DistilBERT, DeBERTa, MPNet, ELECTRA or ModernBERT.",
            )
        later = {id(p) for m in (*blocks, *itertools.chain(*followers)) for p in m.parameters()}
        rest = [p for p in self.net.parameters() if id(p) not in later]
        first = [m for n, m in self.net.named_children() if n == "embeddings"]
        stages = {"embeddings": Stage([], first, rest)}
        for i, block in enumerate(blocks):
            stages[f"{self._list}.{i}"] = Stage([block], followers[i])
        self.stages = stages
        self._blocks = blocks

    @torch.no_grad()
    def _watch(self, blocks: list[Any]) -> list[list[nn.Module]] | None:
        """For each block the modules with weights that are first called after it; None if blocks are left out."""
        order: list[nn.Module] = []

        def note(module: nn.Module, _: object, output: Any) -> None:
            order.append(module)
            if module in blocks:
                self._arity[blocks.index(module)] = None if isinstance(output, Tensor) else len(output)

        self._arity: dict[int, int | None] = {}
        handles = [m.register_forward_hook(note) for m in self.net.modules() if not list(m.children()) or m in blocks]
        was_training = self.net.training
        self.net.eval()
        try:
            self._native(*self._example())
        finally:
            for handle in handles:
                handle.remove()
            self.net.train(was_training)
        if not blocks or len(self._arity) != len(blocks):
            return None
        inside = {id(m) for block in blocks for m in block.modules()}
        followers: list[list[nn.Module]] = [[] for _ in blocks]
        current: int | None = None
        for module in dict.fromkeys(order):
            if module in blocks:
                current = blocks.index(module)
            elif id(module) not in inside and current is not None and next(module.parameters(), None) is not None:
                followers[current].append(module)
        return followers

    def _example(self) -> tuple[Tensor, Tensor]:
        """Two rows of six and four tokens."""
        ids = torch.arange(12).reshape(2, 6) % max(1, int(self.net.config.vocab_size))
        mask = torch.ones(2, 6, dtype=torch.bool)
        mask[1, 4:] = False
        pad = self.tokenizer.special.pad or 0
        return ids.masked_fill(ids == pad, (pad + 1) % int(self.net.config.vocab_size)).masked_fill(~mask, pad), mask

    @torch.no_grad()
    def _verified_cuts(self) -> tuple[str, ...]:
        """Stages after which a resumed run gives what a whole run gives."""
        was_training = self.training
        self.eval()
        ids, mask = self._example()
        batch: State = {"ids": ids, "mask": mask}
        try:
            states = dict(self.walk(batch))
            names = list(self.stages)
            whole = states[names[-1]]["x"][mask]
            scale = float(whole.abs().max()) or 1.0
            good = []
            for name in names[:-1]:
                resumed = whole
                for _, s in self._walk(states[name], names[names.index(name) + 1 :]):
                    resumed = s["x"][mask]
                if float((resumed - whole).abs().max()) <= _TOLERANCE * scale:
                    good.append(name)
        finally:
            self.train(was_training)
        if len(good) < len(names) - 1:
            note = "It can be resumed after few of its stages; frozen ones are computed again."
            self.provenance = replace(self.provenance, notes=(*self.provenance.notes, note))
        return (*good, names[-1])

    # -- running ---------------------------------------------------------------------------------------------------

    def _native(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
        extra = {"token_type_ids": types} if types is not None and self._takes_types else {}
        return self.net(input_ids=ids, attention_mask=mask.long(), **extra).last_hidden_state

    def _walk(self, s: State, names: list[str]) -> Iterator[tuple[str, State]]:
        order = list(self.stages)
        native = [n for n in names if n != "pooling" or self.pooling is None]
        if native:
            first, last = order.index(native[0]), order.index(native[-1])
            for name, x in zip(native, self._between(s, first, last), strict=True):
                s = {**s, "x": x}
                yield name, s
        if len(native) < len(names):
            yield "pooling", self.attend(s)

    def _between(self, s: State, first: int, last: int) -> list[Tensor]:
        """Outputs of the stages first..last; stage 0 are the embeddings, stage i the block i - 1.

        The output of a stage is what enters the next block; that of the last is the network's.
        """
        caught: dict[int, Tensor] = {}
        handles = []

        def enter(block: int) -> Callable[..., Any]:
            def hook(_: nn.Module, args: tuple, kwargs: dict) -> Any:
                if block in caught:  # a block used several times: its first turn is meant
                    return None
                if block == first - 1:
                    caught[block] = s["x"]
                    return _with_hidden(args, kwargs, s["x"])
                caught[block] = _hidden(args, kwargs)
                if block == last:
                    raise _Stop
                return None

            return hook

        whole = last == len(self._blocks)
        for i in range(max(0, first - 1), min(last + 1, len(self._blocks))):
            handles.append(self._blocks[i].register_forward_pre_hook(enter(i), with_kwargs=True))
        try:
            with self._bypassed(max(0, first - 1)):
                final = self._native(s["ids"], s["mask"], s.get("types"))
                if whole:
                    caught[last] = final
        except _Stop:
            pass
        finally:
            for handle in handles:
                handle.remove()
        return [caught[i] for i in range(first, last + 1)]

    @contextmanager
    def _bypassed(self, count: int) -> Iterator[None]:
        """Within it the first blocks hand on what they are given, in the form that they return."""
        for i, block in enumerate(self._blocks[:count]):

            def forward(*args: Any, arity: int | None = self._arity[i], **kwargs: Any) -> Any:
                x = _hidden(args, kwargs)
                return x if arity is None else (x, *[None] * (arity - 1))

            block.forward = forward
        try:
            yield
        finally:
            for block in self._blocks[:count]:
                del block.forward

    # -- ending early ------------------------------------------------------------------------------------------------

    def end_at(self, stage: str) -> TextBackbone:
        """Drop every block after `stage`, and whatever is called after the blocks, in place.

        Raises
        ------
        ModelError
            When there is no such stage.
        """
        names = list(self.stages)
        if stage not in names:
            raise ModelError(f"The network has no stage {stage!r}.", f"Stages: {', '.join(names)}.")
        if stage == names[-1] or (self.pooling is not None and stage == names[-2]):
            return self
        keep = names.index(stage)
        for later in names[keep + 1 : len(self._blocks) + 1]:
            for module in self.stages[later].also:  # type: ignore[union-attr]
                _replace(self.net, module, nn.Identity())
        # The first block dropped stays, emptied of its weights: the pass ends where it would be entered.
        gate = self._blocks[keep]
        for child, _ in list(gate.named_children()):
            delattr(gate, child)
        for parameter, _ in list(gate.named_parameters()):
            delattr(gate, parameter)
        self._blocks = self._blocks[: keep + 1]
        parent, _, name = self._list.rpartition(".")
        setattr(self.net.get_submodule(parent), name, nn.ModuleList(self._blocks))
        tail = {"pooling": self.stages["pooling"]} if self.pooling is not None else {}
        self.stages = {n: self.stages[n] for n in names[: keep + 1]} | tail
        self.cuts = tuple(c for c in self.cuts if c in self.stages)
        self.ended_at = stage
        return self

    # -- what a bundle keeps --------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        own = {} if self.pooling is None else {_POOLING + k: v for k, v in self.pooling.state_dict().items()}
        return dict(self.net.state_dict()) | own

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> list[str]:
        missing = list(self.net.load_state_dict(tensors, strict=False).missing_keys)
        if self.pooling is not None:
            own = {k.removeprefix(_POOLING): v for k, v in tensors.items() if k.startswith(_POOLING)}
            missing += [_POOLING + k for k in self.pooling.load_state_dict(own, strict=False).missing_keys]
        return missing

    def files(self) -> dict[str, bytes]:
        """The tokenizer; of a network of full depth a configuration with which plain transformers opens the weights."""
        if self.ended_at is not None:
            return super().files()
        config = {**self.net.config.to_diff_dict(), "architectures": [type(self.net).__name__]}
        return super().files() | {"config.json": json.dumps(config, default=str).encode()}

    def token_embedding(self) -> nn.Embedding:
        """The embedding of tokens."""
        return self.net.get_input_embeddings()


class _Stop(Exception):
    """Ends a native forward pass."""


def _hidden(args: tuple, kwargs: dict) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


def _with_hidden(args: tuple, kwargs: dict, x: Tensor) -> tuple[tuple, dict]:
    return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})


def _longest_list(net: nn.Module) -> str:
    """The list of modules that holds most parameters; of equal ones the outermost."""
    lists = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in net.named_modules()
        if isinstance(module, (nn.ModuleList, nn.Sequential)) and len(module) and name
    }
    return max(lists, key=lambda n: (lists[n], -n.count(".")), default="")


def _replace(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in net.modules():
        for name, child in list(parent.named_children()):
            if child is old:
                setattr(parent, name, new)
